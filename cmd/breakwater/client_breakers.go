package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/breaker"
)

// gravity is the place of a breaker in a list: trouble first, and a half-open one that waits for traffic, which is none,
// just before those that are closed.
func gravity(b *adminpb.Breaker) int {
	if b.GetOverview().GetWaiting() {
		return 2*len(breaker.Gravity) - 3
	}
	return 2 * slices.Index(breaker.Gravity, breaker.State(b.GetState()))
}

// isTrouble reports whether something has gone wrong that no operator wanted.
func isTrouble(b *adminpb.Breaker) bool {
	return gravity(b) < 2*slices.Index(breaker.Gravity, breaker.ForcedOpen)
}

// compareBreakers orders breakers by gravity, and then by service.
func compareBreakers(a, b *adminpb.Breaker) int {
	return cmp.Or(cmp.Compare(gravity(a), gravity(b)), cmp.Compare(a.GetService(), b.GetService()))
}

// statesText is how many breakers are in which state, such as "2 open, 1 half_open (1 waiting for traffic), 297 closed".
func statesText(breakers []*adminpb.Breaker) string {
	in, waiting := map[string]int{}, 0
	for _, b := range breakers {
		in[b.GetState()]++
		if b.GetOverview().GetWaiting() {
			waiting++
		}
	}
	var out []string
	for _, state := range breaker.Gravity {
		n := in[string(state)]
		if n == 0 {
			continue
		}
		text := fmt.Sprintf("%d %s", n, state)
		if state == breaker.HalfOpen && waiting > 0 {
			text += fmt.Sprintf(" (%d waiting for traffic)", waiting)
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// printBreakers has one row a service, trouble first.
func printBreakers(w io.Writer, breakers []*adminpb.Breaker, now time.Time) error {
	return breakerGrid(slices.SortedFunc(slices.Values(breakers), compareBreakers), now).print(w)
}

// breakerGrid has one row a service: its overview.
func breakerGrid(breakers []*adminpb.Breaker, now time.Time) *grid {
	g := &grid{headers: []string{"SERVICE", "STATE", "WINDOW", "EJECTED", "ATTEMPTS", "ERRORS", "UNTIL", "SUMMARY"}}
	for _, b := range breakers {
		o := b.GetOverview()
		g.row(b.GetService(), b.GetState(), window(o), ejected(o), strconv.FormatUint(o.GetAttempts(), 10), strconv.FormatUint(o.GetFailures(), 10),
			orDash(timeLeft(o.GetUntil(), now)), summaryOf(b))
	}
	return g
}

// summaryOf is the summary with the gravest proxy's cause.
func summaryOf(b *adminpb.Breaker) string {
	summary := b.GetSummary()
	if cause := causeOf(b.GetOverview()); cause != "" {
		summary += ": " + cause
	}
	return summary
}

// breakerView is what an Overview and a ProxyBreaker have in common.
type breakerView interface {
	GetCause() string
	GetSuccesses() uint64
	GetWaiting() bool
	GetShadow() bool
	GetShadowState() string
	GetOverloaded() bool
	GetEjectedHosts() uint32
	GetTotalHosts() uint32
	GetRecentErrors() uint64
	GetRecentAttempts() uint64
}

// causeOf is why a breaker is in its state, and what else is to be known of it.
func causeOf(v breakerView) string {
	var out []string
	if v.GetCause() != "" {
		out = append(out, v.GetCause())
	}
	if v.GetWaiting() {
		out = append(out, "it waits for traffic")
	}
	if n := v.GetSuccesses(); n > 0 {
		out = append(out, count(int(n), "probe has", "probes have")+" succeeded")
	}
	if v.GetShadow() {
		text := "shadow"
		if s := v.GetShadowState(); s != "" {
			text += ": it would be " + s
		}
		out = append(out, text)
	}
	if v.GetOverloaded() {
		out = append(out, "a limit is hit")
	}
	return strings.Join(out, "; ")
}

func ejected(v breakerView) string {
	if v.GetTotalHosts() == 0 {
		return "?"
	}
	return fmt.Sprintf("%d of %d", v.GetEjectedHosts(), v.GetTotalHosts())
}

// window is the failures of the attempts in the window.
func window(v breakerView) string {
	return fmt.Sprintf("%d/%d", v.GetRecentErrors(), v.GetRecentAttempts())
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
			proxies.row(p.GetProxy(), p.GetState(), window(p), ejected(p), strconv.FormatUint(p.GetAttempts(), 10), strconv.FormatUint(p.GetFailures(), 10),
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
