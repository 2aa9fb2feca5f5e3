package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/breakwater/breakwater/admin/adminclient"
	"github.com/breakwater/breakwater/admin/adminpb"
)

// newStatusCmd shows every breaker, or one in each proxy, and what is wrong with the
// policies. It succeeds whatever the states are.
func newStatusCmd() *cobra.Command {
	var c client
	var trouble bool
	cmd := &cobra.Command{
		Use:   "status [SERVICE]",
		Short: "Show the state of every circuit breaker and of the policies",
		Long: `Show the state of every circuit breaker and of the policies, or of one service
in every proxy, and what is wrong with a proxy, such as that its Envoy is too old.
The exit code is 0 whatever the states are.

Trouble comes first: breakers that are open, half-open and probing, or unknown; then
those that an operator has forced open or disabled, those that are half-open and wait
for traffic, and those that are closed.

A service's row is about its gravest proxy: of those in the gravest state, the one that
came into it first. WINDOW is the failures of the attempts in the window that its
breaker looks back on, such as 5/37; UNTIL the time that is left until it lets requests
through again, or until an operator's override ends. EJECTED is of the proxy that has
most hosts ejected; ATTEMPTS and ERRORS are what all proxies have reported to this
Breakwater. The ATTEMPTS and ERRORS of a host are Envoy's own counts.

With -o json or yaml: "breakers" as in the API's ListBreakers, "orders" as in its
ListOrders and "config" as in its GetConfigStatus.`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if trouble && len(args) > 0 {
				return usagef("--trouble is for all services, not for %s", args[0])
			}
			return c.call(cmd, func(ctx context.Context, api adminpb.AdminServiceClient) error {
				s, err := getStatus(ctx, api, args, c.output != outputTable)
				if err != nil {
					return err
				}
				s.counts = statesText(s.breakers)
				if trouble {
					s.breakers = slices.DeleteFunc(s.breakers, func(b *adminpb.Breaker) bool { return !isTrouble(b) })
				}
				if c.output != outputTable {
					return s.printRaw(cmd.OutOrStdout(), c.output)
				}
				return s.printTable(cmd.OutOrStdout(), len(args) > 0, time.Now())
			})
		},
	}
	cmd.ValidArgsFunction = c.completeServices
	cmd.Flags().BoolVar(&trouble, "trouble", false, "only the services in trouble: open, half-open and probing, or unknown")
	c.addFlags(cmd, readTimeout)
	bindEnv(cmd)
	return cmd
}

// serverStatus is what status shows.
type serverStatus struct {
	breakers []*adminpb.Breaker
	// counts is how many breakers are in which state, those that are left out included.
	counts string
	orders []*adminpb.StandingOrder
	config *adminpb.GetConfigStatusResponse
	// proxies are only looked at for their faults.
	proxies []*adminpb.Proxy
}

// getStatus asks for one service if args names it, else for all; of these with their proxies only if they are wanted.
func getStatus(ctx context.Context, api adminpb.AdminServiceClient, args []string, proxies bool) (serverStatus, error) {
	var s serverStatus
	var err error
	if s.config, err = api.GetConfigStatus(ctx, &adminpb.GetConfigStatusRequest{}); err != nil {
		return s, err
	}
	all := adminclient.Over(api)
	connected, err := all.Proxies(ctx)
	if err != nil {
		return s, err
	}
	s.proxies = connected.GetProxies()
	if s.orders, err = all.Orders(ctx); err != nil {
		return s, err
	}
	switch {
	case len(args) > 0:
		s.orders = slices.DeleteFunc(s.orders, func(o *adminpb.StandingOrder) bool { return o.GetService() != args[0] })
		var one *adminpb.Breaker
		one, err = all.Breaker(ctx, args[0])
		s.breakers = []*adminpb.Breaker{one}
	case proxies:
		s.breakers, err = all.Breakers(ctx)
	default:
		s.breakers, err = all.Summaries(ctx)
	}
	return s, err
}

// printRaw prints the API's messages, side by side.
func (s serverStatus) printRaw(w io.Writer, output string) error {
	var raw struct {
		Breakers []json.RawMessage `json:"breakers"`
		Orders   []json.RawMessage `json:"orders"`
		Config   json.RawMessage   `json:"config"`
	}
	var err error
	if raw.Breakers, err = rawMessages(s.breakers); err != nil {
		return err
	}
	if raw.Orders, err = rawMessages(s.orders); err != nil {
		return err
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

// rawMessages is never nil.
func rawMessages[M proto.Message](messages []M) ([]json.RawMessage, error) {
	out := make([]json.RawMessage, len(messages))
	for i, m := range messages {
		data, err := messageJSON(m)
		if err != nil {
			return nil, err
		}
		out[i] = data
	}
	return out, nil
}

func (s serverStatus) printTable(w io.Writer, detailed bool, now time.Time) error {
	var err error
	switch {
	case detailed:
		err = printProxyBreakers(w, s.breakers, now)
	case len(s.breakers) > 0:
		err = printBreakers(w, s.breakers, now)
	case s.counts != "":
		_, err = fmt.Fprintln(w, "no service is in trouble")
	default:
		_, err = fmt.Fprintln(w, "no service is served")
	}
	if err != nil {
		return err
	}
	if err := printOrders(w, s.orders, now); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	if !detailed && s.counts != "" {
		if _, err := fmt.Fprintln(w, "breakers: "+s.counts); err != nil {
			return err
		}
	}
	if err := printFaults(w, s.proxies); err != nil {
		return err
	}
	return printConfig(w, s.config)
}

// printOrders lists the overrides; nothing if there is none.
func printOrders(w io.Writer, orders []*adminpb.StandingOrder, now time.Time) error {
	if len(orders) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	g := grid{headers: []string{"OVERRIDE OF", "PROXY", "STATE", "BY", "SINCE", "ENDS IN", "REASON"}}
	for _, o := range orders {
		g.row(o.GetService(), proxyOrAll(o.GetProxy()), o.GetOrder().GetState(), orDash(o.GetOrder().GetActor()),
			formatTime(o.GetSince()), orDash(timeLeft(o.GetOrder().GetUntil(), now)), unsavedMark(o)+o.GetOrder().GetReason())
	}
	return g.print(w)
}

// unsavedMark stands before the reason of an override that a restart ends.
func unsavedMark(o *adminpb.StandingOrder) string {
	if o.GetNotSaved() {
		return "(not saved) "
	}
	return ""
}

// printConfig says what is served, and then what of the policies is not and why, and what cannot be saved.
func printConfig(w io.Writer, config *adminpb.GetConfigStatusResponse) error {
	verdict := "all that is on disk is served"
	if !config.GetOk() {
		verdict = "not all that is on disk is served"
	}
	lines := []string{fmt.Sprintf("policies: %s, %s", count(int(config.GetServices()), "service", "services"), verdict)}
	if t := formatTime(config.GetLastSuccess()); t != "" {
		lines[0] += ", last applied without an error " + t
	}
	for _, p := range config.GetProblems() {
		lines = append(lines, problemLine(p))
	}
	if more := config.GetMoreProblems(); more > 0 {
		lines = append(lines, fmt.Sprintf("and %s", count(int(more), "more problem", "more problems")))
	}
	for _, r := range config.GetRejections() {
		others := ""
		if r.GetPartial() {
			others = ", while others accepted it"
		}
		lines = append(lines, fmt.Sprintf("rejected: %s: %s: %s %s was refused by %s%s: %s", position(r.GetPosition()), orDash(r.GetService()),
			shortType(r.GetTypeUrl()), orDash(r.GetResource()), proxyList(r.GetProxies(), r.GetMoreProxies()), others, refusalText(r.GetMessage())))
	}
	if n := config.GetMoreRejections(); n > 0 {
		lines = append(lines, fmt.Sprintf("and %d more are rejected", n))
	}
	if stale := config.GetStaleServices(); len(stale) > 0 {
		lines = append(lines, "served by the last good version: "+strings.Join(stale, ", "))
	}
	for _, f := range config.GetStorageFaults() {
		if f.GetCorrupt() {
			lines = append(lines, fmt.Sprintf("cannot read %s, since %s: %s; what could not be read is lost", f.GetDocument(), formatTime(f.GetSince()), f.GetError()))
			continue
		}
		lines = append(lines, fmt.Sprintf("not saved since %s: %s: %s", formatTime(f.GetSince()), f.GetDocument(), f.GetError()))
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(w, oneLine(line)); err != nil {
			return err
		}
	}
	return nil
}

// problemLine is such as "error: fraud.yaml:3:5: retry.max_delay: is under base_delay".
func problemLine(p *adminpb.Problem) string {
	where := position(p.GetPosition())
	if p.GetPath() != "" {
		where += ": " + p.GetPath()
	}
	line := fmt.Sprintf("%s: %s: %s", p.GetSeverity(), where, p.GetMessage())
	if p.GetRule() != "" {
		line += " (" + p.GetRule() + ")"
	}
	return line
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
