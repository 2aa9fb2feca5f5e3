package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/breakwater/breakwater/admin/adminpb"
)

// newForgetCmd removes an Envoy that has ended for good.
func newForgetCmd() *cobra.Command {
	var c client
	req := &adminpb.ForgetProxyRequest{}
	cmd := &cobra.Command{
		Use:   "forget PROXY",
		Short: "Remove an Envoy that has ended for good from the list",
		Long: `Remove an Envoy that has ended for good, as by a scale-down, from the list of those that
are disconnected: the alerts EnvoyDown and ProxyGone end, which otherwise fire for an hour.
This holds over restarts of Breakwater, until that Envoy connects again. An Envoy that is
connected cannot be forgotten: end it first.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Id = args[0]
			return c.call(cmd, func(ctx context.Context, api adminpb.AdminServiceClient) error {
				resp, err := api.ForgetProxy(ctx, req)
				if err != nil {
					return err
				}
				if c.output != outputTable {
					return printMessage(cmd.OutOrStdout(), c.output, resp)
				}
				p := resp.GetProxy()
				if _, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: forgotten; it disconnected at %s\n", oneLine(p.GetId()), formatTime(p.GetLeft())); err != nil {
					return err
				}
				return printUnsaved(cmd.OutOrStdout(), resp)
			})
		},
	}
	cmd.ValidArgsFunction = c.completeDisconnected
	addActionFlags(cmd, &req.Actor, &req.Reason)
	c.addFlags(cmd, readTimeout)
	bindEnv(cmd)
	return cmd
}

// printDisconnected lists the disconnected proxies, if there are any, and apart from them those that are replaced.
func printDisconnected(w io.Writer, proxies []*adminpb.DisconnectedProxy) error {
	for _, replaced := range []bool{false, true} {
		g, foot := grid{headers: []string{"DISCONNECTED", "CLUSTER", "SINCE", "ADMIN API"}}, "One that was ended for good: breakwater forget PROXY"
		if replaced {
			g.headers[0], foot = "REPLACED", "A new proxy of the same node cluster connected within a minute; no alert fires."
		}
		for _, p := range proxies {
			if p.GetReplaced() == replaced {
				g.row(p.GetId(), orDash(p.GetNodeCluster()), formatTime(p.GetLeft()), orDash(p.GetAdminAddress()))
			}
		}
		if len(g.rows) == 0 {
			continue
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
		if err := g.print(w); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "\n%s\n", foot); err != nil {
			return err
		}
	}
	return nil
}
