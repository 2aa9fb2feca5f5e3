package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/charmbracelet/colorprofile"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/breakwater/breakwater/admin/adminclient"
	"github.com/breakwater/breakwater/admin/adminpb"
)

// newWatchCmd shows the breakers as they change.
func newWatchCmd() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:   "watch [SERVICE...]",
		Short: "Watch the circuit breakers live",
		Long: `Watch the circuit breakers live, of all services or of those that are named, until
Ctrl-C. On a terminal it is a table that is drawn anew in place, trouble first, as in
status; otherwise it is a line for each breaker that has changed, at most once a second.
With -o json a line is an element of the API's WatchBreakers, at once. If the server
restarts, the command waits for it.`,
		Args: takes(0, maxWatched),
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.output == outputYAML {
				return usagef("watch prints a table or JSON lines, not yaml")
			}
			out := cmd.OutOrStdout()
			var v view
			switch {
			case c.output == outputJSON:
				v = &jsonView{out: out, cmd: cmd}
			case colorprofile.Detect(out, os.Environ()) > colorprofile.NoTTY:
				screen := newScreenView(out, c.server)
				return screen.run(func() error { return watchBreakers(cmd, &c, args, screen) })
			default:
				v = &lineView{out: out, cmd: cmd, now: time.Now}
			}
			return watchBreakers(cmd, &c, args, v)
		},
	}
	cmd.ValidArgsFunction = c.completeMoreServices
	c.addFlags(cmd, readTimeout)
	bindEnv(cmd)
	return cmd
}

// maxWatched bounds the arguments of watch.
const maxWatched = 1000

// view shows what is watched.
type view interface {
	// change takes an element of the API's WatchBreakers.
	change(m *adminpb.WatchBreakersResponse) error
	// lost is told why the server is gone, and nil once it is back.
	lost(err error) error
}

// watchBreakers shows the overviews, but to JSON lines all that there is.
func watchBreakers(cmd *cobra.Command, c *client, services []string, v view) error {
	if err := c.checkServices(cmd, services...); err != nil {
		return err
	}
	receive := v.change
	var whole adminclient.Assembler
	if c.output != outputJSON {
		receive = func(part *adminpb.WatchBreakersResponse) error {
			if m := whole.Add(part); m != nil {
				return v.change(m)
			}
			return nil
		}
	}
	s := stream[adminpb.WatchBreakersResponse]{
		client: c,
		open: func(ctx context.Context, api adminpb.AdminServiceClient) (grpc.ServerStreamingClient[adminpb.WatchBreakersResponse], error) {
			return api.WatchBreakers(ctx, &adminpb.WatchBreakersRequest{Services: services, Summary: c.output != outputJSON})
		},
		receive: receive,
		lost:    v.lost,
	}
	return s.follow(cmd)
}

// jsonView prints each element as one line.
type jsonView struct {
	out io.Writer
	cmd *cobra.Command
}

func (v *jsonView) change(m *adminpb.WatchBreakersResponse) error { return printLine(v.out, m) }
func (v *jsonView) lost(err error) error                          { return sayLost(v.cmd, err) }

// breakers are what a client knows, by service.
type breakers map[string]*adminpb.Breaker

// take takes an element in.
func (b *breakers) take(m *adminpb.WatchBreakersResponse) {
	if m.GetSnapshot() || *b == nil {
		*b = breakers{}
	}
	for _, x := range m.GetBreakers() {
		(*b)[x.GetService()] = x
	}
	for _, name := range m.GetRemoved() {
		delete(*b, name)
	}
}

// lineView prints a line for each breaker at first, and then for each that differs in more
// than its counts.
type lineView struct {
	out io.Writer
	cmd *cobra.Command
	now func() time.Time
	// shown is what was printed of each service.
	shown map[string]string
}

func (v *lineView) change(m *adminpb.WatchBreakersResponse) error {
	var known breakers
	known.take(m)
	was := v.shown
	if m.GetSnapshot() || was == nil {
		v.shown = map[string]string{}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		b := known[name]
		text := essence(b)
		same := was[name] == text
		v.shown[name] = text
		if same {
			continue
		}
		if err := v.print(name, b.GetState(), summaryOf(b)); err != nil {
			return err
		}
	}
	gone := slices.Clone(m.GetRemoved())
	if m.GetSnapshot() {
		for name := range was {
			if known[name] == nil {
				gone = append(gone, name)
			}
		}
	}
	slices.Sort(gone)
	for _, name := range gone {
		delete(v.shown, name)
		if err := v.print(name, "removed", "it is no longer served"); err != nil {
			return err
		}
	}
	return nil
}

func (v *lineView) print(service, state, text string) error {
	_, err := fmt.Fprintln(v.out, columns(v.now().UTC().Format(time.RFC3339), service, state, text))
	return err
}

func (v *lineView) lost(err error) error { return sayLost(v.cmd, err) }

// essence is what a line is worth: the states, and not the counts.
func essence(b *adminpb.Breaker) string {
	o := b.GetOverview()
	order := o.GetOrder()
	return fmt.Sprintf("%s %s\n%s %d/%d %t %t %s %s %s", b.GetState(), b.GetSummary(), o.GetShadowState(), o.GetEjectedHosts(), o.GetTotalHosts(),
		o.GetOverloaded(), o.GetWaiting(), order.GetActor(), order.GetReason(), formatTime(order.GetUntil()))
}
