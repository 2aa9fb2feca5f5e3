package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/breakwater/breakwater/admin/adminpb"
)

// newStatusCmd shows every breaker, or one in each proxy, and what is wrong with the
// policies. It succeeds whatever the states are.
func newStatusCmd() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:   "status [SERVICE]",
		Short: "Show the state of every circuit breaker and of the policies",
		Long: `Show the state of every circuit breaker and of the policies, or of one service
in every proxy. The exit code is 0 whatever the states are.

With -o json or yaml: "breakers" as in the API's ListBreakers and "config" as in
its GetConfigStatus.`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.call(cmd, func(ctx context.Context, api adminpb.AdminServiceClient) error {
				s, err := getStatus(ctx, api, args)
				if err != nil {
					return err
				}
				if c.output != outputTable {
					return s.printRaw(cmd.OutOrStdout(), c.output)
				}
				return s.printTable(cmd.OutOrStdout(), len(args) > 0)
			})
		},
	}
	cmd.ValidArgsFunction = c.completeServices
	c.addFlags(cmd, readTimeout)
	bindEnv(cmd)
	return cmd
}

// serverStatus is what status shows.
type serverStatus struct {
	breakers []*adminpb.Breaker
	config   *adminpb.GetConfigStatusResponse
}

// getStatus asks for one service if args names it, else for all.
func getStatus(ctx context.Context, api adminpb.AdminServiceClient, args []string) (serverStatus, error) {
	var s serverStatus
	var err error
	if s.config, err = api.GetConfigStatus(ctx, &adminpb.GetConfigStatusRequest{}); err != nil {
		return s, err
	}
	if len(args) > 0 {
		one, err := api.GetBreaker(ctx, &adminpb.GetBreakerRequest{Service: args[0]})
		if err != nil {
			return s, err
		}
		s.breakers = []*adminpb.Breaker{one.GetBreaker()}
		return s, nil
	}
	all, err := api.ListBreakers(ctx, &adminpb.ListBreakersRequest{})
	s.breakers = all.GetBreakers()
	return s, err
}

// printRaw prints the API's messages, side by side.
func (s serverStatus) printRaw(w io.Writer, output string) error {
	var raw struct {
		Breakers []json.RawMessage `json:"breakers"`
		Config   json.RawMessage   `json:"config"`
	}
	raw.Breakers = make([]json.RawMessage, len(s.breakers))
	var err error
	for i, b := range s.breakers {
		if raw.Breakers[i], err = messageJSON(b); err != nil {
			return err
		}
	}
	if raw.Config, err = messageJSON(s.config); err != nil {
		return err
	}
	data, err := json.Marshal(raw)
	if err != nil {
		return err
	}
	return printJSON(w, output, data)
}

func (s serverStatus) printTable(w io.Writer, detailed bool) error {
	printAll := printBreakers
	if detailed {
		printAll = printProxyBreakers
	}
	if err := printAll(w, s.breakers); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return printConfig(w, s.config)
}

// printBreakers has one row a service.
func printBreakers(w io.Writer, breakers []*adminpb.Breaker) error {
	if len(breakers) == 0 {
		_, err := fmt.Fprintln(w, "no service is served")
		return err
	}
	g := grid{headers: []string{"SERVICE", "STATE", "EJECTED", "ATTEMPTS", "ERRORS", "SUMMARY"}}
	for _, b := range breakers {
		var attempts, errors uint64
		for _, p := range b.GetProxies() {
			attempts += p.GetRequests()
			errors += p.GetErrors()
		}
		worst := worstProxy(b)
		summary := b.GetSummary()
		if cause := worst.GetCause(); cause != "" {
			summary += ": " + cause
		}
		g.row(b.GetService(), b.GetState(), ejected(worst), strconv.FormatUint(attempts, 10), strconv.FormatUint(errors, 10), summary)
	}
	return g.print(w)
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

func ejected(p *adminpb.ProxyBreaker) string {
	if p.GetTotalHosts() == 0 {
		return "?"
	}
	return fmt.Sprintf("%d of %d", p.GetEjectedHosts(), p.GetTotalHosts())
}

// printProxyBreakers has one row a proxy, and then one a host.
func printProxyBreakers(w io.Writer, breakers []*adminpb.Breaker) error {
	for _, b := range breakers {
		if _, err := fmt.Fprintf(w, "%s: %s\n\n", b.GetService(), oneLine(b.GetSummary())); err != nil {
			return err
		}
		proxies := grid{headers: []string{"PROXY", "STATE", "EJECTED", "ATTEMPTS", "ERRORS", "SINCE", "UNTIL", "CAUSE"}}
		hosts := grid{headers: []string{"PROXY", "HOST", "ROTATION", "ATTEMPTS", "ERRORS"}}
		for _, p := range b.GetProxies() {
			cause := p.GetCause()
			if p.GetOverloaded() {
				cause = strings.TrimPrefix(cause+"; a limit is hit", "; ")
			}
			proxies.row(p.GetProxy(), p.GetState(), ejected(p), strconv.FormatUint(p.GetRequests(), 10), strconv.FormatUint(p.GetErrors(), 10),
				formatTime(p.GetSince()), formatTime(p.GetUntil()), cause)
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

// printConfig says what is served, and then what of the policies is not and why.
func printConfig(w io.Writer, config *adminpb.GetConfigStatusResponse) error {
	verdict := "all that is on disk is served"
	if !config.GetOk() {
		verdict = "not all that is on disk is served"
	}
	lines := []string{fmt.Sprintf("policies: %s, %s", count(int(config.GetServices()), "service", "services"), verdict)}
	if t := formatTime(config.GetLastSuccess()); t != "" {
		lines[0] += ", last taken over without an error " + t
	}
	for _, p := range config.GetProblems() {
		where := position(p.GetPosition())
		if p.GetPath() != "" {
			where += ": " + p.GetPath()
		}
		line := fmt.Sprintf("%s: %s: %s", p.GetSeverity(), where, p.GetMessage())
		if p.GetRule() != "" {
			line += " (" + p.GetRule() + ")"
		}
		lines = append(lines, line)
	}
	for _, r := range config.GetRejections() {
		others := ""
		if r.GetPartial() {
			others = ", while others accepted it"
		}
		lines = append(lines, fmt.Sprintf("rejected: %s: %s: %s %s was refused by %s%s: %s", position(r.GetPosition()), orDash(r.GetService()),
			shortType(r.GetTypeUrl()), orDash(r.GetResource()), strings.Join(r.GetProxies(), ", "), others, r.GetMessage()))
	}
	if stale := config.GetStaleServices(); len(stale) > 0 {
		lines = append(lines, "served by the last good version: "+strings.Join(stale, ", "))
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(w, oneLine(line)); err != nil {
			return err
		}
	}
	return nil
}

func position(p *adminpb.Position) string {
	switch {
	case p.GetFile() == "":
		return "-"
	case p.GetLine() == 0:
		return p.GetFile()
	}
	return fmt.Sprintf("%s:%d:%d", p.GetFile(), p.GetLine(), p.GetColumn())
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
