package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/breakwater/breakwater/admin/adminclient"
	"github.com/breakwater/breakwater/admin/adminpb"
)

// newEventsCmd lists what happened, and with --follow what happens.
func newEventsCmd() *cobra.Command {
	var c client
	var follow bool
	var limit uint32
	cmd := &cobra.Command{
		Use:   "events [SERVICE]",
		Short: "List what happened to the circuit breakers",
		Long: `List what happened to the circuit breakers, or to that of one service: every change
of a state with its cause, and what operators did, with proxies too. The server keeps the last 1,000
events, over restarts.

With --follow each further event is printed as it happens, until Ctrl-C; if the
server restarts, the command waits for it and goes on where it was. With -o json that
is one JSON object a line, without --follow it is one document.`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			service := ""
			if len(args) > 0 {
				service = args[0]
			}
			if follow {
				return followEvents(cmd, &c, &adminpb.WatchEventsRequest{Service: service, Limit: limit})
			}
			return c.call(cmd, func(ctx context.Context, api adminpb.AdminServiceClient) error {
				events, err := adminclient.Over(api).Events(ctx, service, limit)
				if err != nil {
					return err
				}
				if len(events) == 0 && service != "" { // there are events of services that are no more
					if err := c.checkServices(cmd, service); err != nil {
						return err
					}
				}
				if c.output != outputTable {
					return printMessage(cmd.OutOrStdout(), c.output, &adminpb.ListEventsResponse{Events: events})
				}
				return printEvents(cmd.OutOrStdout(), events)
			})
		},
	}
	cmd.ValidArgsFunction = c.completeServices
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with each further event")
	cmd.Flags().Uint32VarP(&limit, "limit", "n", 0, "only so many of the events so far, the newest; 0 for all")
	c.addFlags(cmd, readTimeout)
	bindEnv(cmd)
	return cmd
}

func followEvents(cmd *cobra.Command, c *client, req *adminpb.WatchEventsRequest) error {
	if c.output == outputYAML {
		return usagef("--follow prints a table or JSON lines, not yaml")
	}
	out := cmd.OutOrStdout()
	s := stream[adminpb.WatchEventsResponse]{
		client: c,
		open: func(ctx context.Context, api adminpb.AdminServiceClient) (grpc.ServerStreamingClient[adminpb.WatchEventsResponse], error) {
			return api.WatchEvents(ctx, req)
		},
		receive: func(m *adminpb.WatchEventsResponse) error {
			req.Since, req.Limit = m.GetEvent().GetId(), 0
			if c.output == outputJSON {
				return printLine(out, m.GetEvent())
			}
			_, err := fmt.Fprintln(out, eventLine(m.GetEvent()))
			return err
		},
		lost: func(err error) error { return sayLost(cmd, err) },
	}
	return s.follow(cmd)
}

// sayLost tells on standard error that the server is gone, or is back.
func sayLost(cmd *cobra.Command, err error) error {
	what := "the server is back"
	if err != nil {
		what = "waiting for the server: " + err.Error()
	}
	_, err = fmt.Fprintln(cmd.ErrOrStderr(), oneLine(what))
	return err
}

// printLine prints a message as one line of JSON in the API's own shape.
func printLine(w io.Writer, m proto.Message) error {
	data, err := messageJSON(m)
	if err != nil {
		return err
	}
	return printCompact(w, data)
}

func printEvents(w io.Writer, events []*adminpb.Event) error {
	if len(events) == 0 {
		_, err := fmt.Fprintln(w, "nothing has happened")
		return err
	}
	g := grid{headers: []string{"TIME", "SERVICE", "PROXY", "EVENT", "CAUSE"}}
	for _, e := range events {
		g.row(formatTime(e.GetTime()), orDash(e.GetService()), proxyOrAll(e.GetProxy()), eventName(e), eventCause(e))
	}
	return g.print(w)
}

// eventLine is an event as the line of a table that has no end.
func eventLine(e *adminpb.Event) string {
	what := eventName(e)
	if cause := eventCause(e); cause != "" {
		what += ": " + cause
	}
	return columns(formatTime(e.GetTime()), orDash(e.GetService()), proxyOrAll(e.GetProxy()), what)
}

// eventName is such as "closed -> open", "host-ejected 10.0.0.1:80" or "reset".
func eventName(e *adminpb.Event) string {
	name := strings.ReplaceAll(e.GetKind(), "_", "-")
	if e.GetTo() != "" {
		name = e.GetFrom() + " -> " + e.GetTo()
	}
	if e.GetHost() != "" {
		name += " " + e.GetHost()
	}
	if e.GetUntil() != nil {
		name += " until " + formatTime(e.GetUntil())
	}
	if e.GetShadow() {
		name += " (shadow)"
	}
	return name
}

// eventCause is who acted and why, or why it happened.
func eventCause(e *adminpb.Event) string {
	if e.GetActor() == "" {
		return e.GetCause()
	}
	return strings.TrimSuffix("by "+e.GetActor()+": "+e.GetCause(), ": ")
}

func proxyOrAll(id string) string {
	if id == "" {
		return "(all)"
	}
	return id
}
