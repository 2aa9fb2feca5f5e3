package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/breakwater/breakwater/admin/adminpb"
)

// printBreakers has one row a service.
func printBreakers(w io.Writer, breakers []*adminpb.Breaker, now time.Time) error {
	if len(breakers) == 0 {
		_, err := fmt.Fprintln(w, "no service is served")
		return err
	}
	return breakerGrid(breakers, now).print(w)
}

// breakerGrid has one row a service: its worst proxy's, with the attempts of all.
func breakerGrid(breakers []*adminpb.Breaker, now time.Time) *grid {
	g := &grid{headers: []string{"SERVICE", "STATE", "WINDOW", "EJECTED", "ATTEMPTS", "ERRORS", "UNTIL", "SUMMARY"}}
	for _, b := range breakers {
		var attempts, errors uint64
		for _, p := range b.GetProxies() {
			attempts += p.GetRequests()
			errors += p.GetErrors()
		}
		worst := worstProxy(b)
		g.row(b.GetService(), b.GetState(), window(worst), ejected(worst), strconv.FormatUint(attempts, 10), strconv.FormatUint(errors, 10),
			orDash(timeLeft(worst.GetUntil(), now)), summaryOf(b))
	}
	return g
}

// summaryOf is the summary with the worst proxy's cause.
func summaryOf(b *adminpb.Breaker) string {
	summary := b.GetSummary()
	if cause := causeOf(worstProxy(b)); cause != "" {
		summary += ": " + cause
	}
	return summary
}

// worstProxy is the first of those with the service's own state that has the most
// hosts ejected. It is nil if no proxy has that state.
func worstProxy(b *adminpb.Breaker) *adminpb.ProxyBreaker {
	var worst *adminpb.ProxyBreaker
	for _, p := range b.GetProxies() {
		if p.GetState() == b.GetState() && (worst == nil || p.GetEjectedHosts() > worst.GetEjectedHosts()) {
			worst = p
		}
	}
	return worst
}

// causeOf is why a breaker is in its state, and what else is to be known of it.
func causeOf(p *adminpb.ProxyBreaker) string {
	var out []string
	if p.GetCause() != "" {
		out = append(out, p.GetCause())
	}
	if n := p.GetSuccesses(); n > 0 {
		out = append(out, count(int(n), "probe has", "probes have")+" succeeded")
	}
	if p.GetShadow() {
		text := "shadow"
		if s := p.GetShadowState(); s != "" {
			text += ": it would be " + s
		}
		out = append(out, text)
	}
	// In half-open the few probes are the limit.
	if p.GetOverloaded() && p.GetState() != "half_open" {
		out = append(out, "a limit is hit")
	}
	return strings.Join(out, "; ")
}

func ejected(p *adminpb.ProxyBreaker) string {
	if p.GetTotalHosts() == 0 {
		return "?"
	}
	return fmt.Sprintf("%d of %d", p.GetEjectedHosts(), p.GetTotalHosts())
}

// window is the failures of the attempts in the window.
func window(p *adminpb.ProxyBreaker) string {
	return fmt.Sprintf("%d/%d", p.GetRecentErrors(), p.GetRecentAttempts())
}

// timeLeft is the time until t; empty for no time.
func timeLeft(t *timestamppb.Timestamp, now time.Time) string {
	if t == nil {
		return ""
	}
	return remaining(t.AsTime(), now)
}

// printProxyBreakers has one row a proxy, and then one a host.
func printProxyBreakers(w io.Writer, breakers []*adminpb.Breaker, now time.Time) error {
	for _, b := range breakers {
		if _, err := fmt.Fprintf(w, "%s: %s\n\n", b.GetService(), oneLine(b.GetSummary())); err != nil {
			return err
		}
		proxies := grid{headers: []string{"PROXY", "STATE", "WINDOW", "EJECTED", "ATTEMPTS", "ERRORS", "SINCE", "UNTIL", "CAUSE"}}
		hosts := grid{headers: []string{"PROXY", "HOST", "ROTATION", "ATTEMPTS", "ERRORS"}}
		for _, p := range b.GetProxies() {
			proxies.row(p.GetProxy(), p.GetState(), window(p), ejected(p), strconv.FormatUint(p.GetRequests(), 10), strconv.FormatUint(p.GetErrors(), 10),
				formatTime(p.GetSince()), orDash(timeLeft(p.GetUntil(), now)), causeOf(p))
			for _, h := range p.GetHosts() {
				hosts.row(p.GetProxy(), h.GetAddress(), rotation(h), strconv.FormatUint(h.GetRequests(), 10), strconv.FormatUint(h.GetErrors(), 10))
			}
		}
		if len(proxies.rows) > 0 {
			if err := proxies.print(w); err != nil {
				return err
			}
		}
		if len(hosts.rows) > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
			if err := hosts.print(w); err != nil {
				return err
			}
		}
	}
	return nil
}

func rotation(h *adminpb.Host) string {
	var out []string
	if h.GetEjected() {
		out = append(out, "ejected")
	}
	if h.GetUnhealthy() {
		out = append(out, "unhealthy")
	}
	if len(out) == 0 {
		return "in"
	}
	return strings.Join(out, ", ")
}
