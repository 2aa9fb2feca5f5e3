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

WINDOW is the failures of the attempts in the window that the breaker looks back on,
such as 5/37; UNTIL the time that is left until an open breaker lets requests through
again, or until an operator's order ends.

With -o json or yaml: "breakers" as in the API's ListBreakers, "orders" as in its
ListOrders and "config" as in its GetConfigStatus.`,
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
				return s.printTable(cmd.OutOrStdout(), len(args) > 0, time.Now())
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
	orders   []*adminpb.StandingOrder
	config   *adminpb.GetConfigStatusResponse
}

// getStatus asks for one service if args names it, else for all.
func getStatus(ctx context.Context, api adminpb.AdminServiceClient, args []string) (serverStatus, error) {
	var s serverStatus
	var err error
	if s.config, err = api.GetConfigStatus(ctx, &adminpb.GetConfigStatusRequest{}); err != nil {
		return s, err
	}
	orders, err := api.ListOrders(ctx, &adminpb.ListOrdersRequest{})
	if err != nil {
		return s, err
	}
	s.orders = orders.GetOrders()
	if len(args) > 0 {
		s.orders = slices.DeleteFunc(s.orders, func(o *adminpb.StandingOrder) bool { return o.GetService() != args[0] })
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
	printAll := printBreakers
	if detailed {
		printAll = printProxyBreakers
	}
	if err := printAll(w, s.breakers, now); err != nil {
		return err
	}
	if err := printOrders(w, s.orders, now); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return printConfig(w, s.config)
}

// printOrders lists what operators have ordered; nothing if they have not.
func printOrders(w io.Writer, orders []*adminpb.StandingOrder, now time.Time) error {
	if len(orders) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	g := grid{headers: []string{"ORDER FOR", "PROXY", "STATE", "BY", "SINCE", "ENDS IN", "REASON"}}
	for _, o := range orders {
		g.row(o.GetService(), proxyOrAll(o.GetProxy()), o.GetOrder().GetState(), orDash(o.GetOrder().GetActor()),
			formatTime(o.GetSince()), orDash(timeLeft(o.GetOrder().GetUntil(), now)), o.GetOrder().GetReason())
	}
	return g.print(w)
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
