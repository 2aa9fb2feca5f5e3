package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/breakwater/breakwater/admin/adminclient"
	"github.com/breakwater/breakwater/admin/adminpb"
)

// newProxiesCmd lists the connected and the disconnected Envoys.
func newProxiesCmd() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:   "proxies",
		Short: "List the connected Envoys, and those that have disconnected",
		Long: `List the connected Envoys, with what is wrong with them: an Envoy that is too old,
one node id that several have for more than a minute, and the last configuration
that one has rejected. Below them are those that disconnected within the last hour,
and apart from them those that are replaced, as in a rolling deployment: a new proxy
of their node cluster connected within a minute. Use forget to remove one that has
ended for good.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.call(cmd, func(ctx context.Context, api adminpb.AdminServiceClient) error {
				resp, err := adminclient.Over(api).Proxies(ctx)
				if err != nil {
					return err
				}
				if c.output != outputTable {
					return printMessage(cmd.OutOrStdout(), c.output, resp)
				}
				if err := printProxies(cmd.OutOrStdout(), resp.GetProxies()); err != nil {
					return err
				}
				return printDisconnected(cmd.OutOrStdout(), resp.GetMissed())
			})
		},
	}
	c.addFlags(cmd, readTimeout)
	bindEnv(cmd)
	return cmd
}

func printProxies(w io.Writer, proxies []*adminpb.Proxy) error {
	if len(proxies) == 0 {
		_, err := fmt.Fprintln(w, "no proxy is connected")
		return err
	}
	g := grid{headers: []string{"PROXY", "CLUSTER", "VERSION", "ADDRESS", "CONNECTED SINCE", "LAST LOAD REPORT", "ADMIN API"}}
	for _, p := range proxies {
		adminAPI := p.GetAdminAddress()
		if !p.GetAdminReachable() {
			adminAPI = orDash(adminAPI) + ": " + p.GetAdminError()
		}
		g.row(p.GetId(), orDash(p.GetNodeCluster()), orDash(p.GetVersion()), p.GetAddress(), formatTime(p.GetConnectedSince()), orDash(formatTime(p.GetLastLoadReport())), adminAPI)
	}
	if err := g.print(w); err != nil {
		return err
	}
	if err := printFaults(w, proxies); err != nil {
		return err
	}
	for _, p := range proxies {
		for _, r := range p.GetResources() {
			n := r.GetLastNack()
			if n == nil {
				continue
			}
			line := fmt.Sprintf("%s last refused %s %s at %s: %s", p.GetId(), shortType(r.GetTypeUrl()), n.GetVersion(), formatTime(n.GetTime()), refusalText(n.GetMessage()))
			if _, err := fmt.Fprintln(w, oneLine(line)); err != nil {
				return err
			}
		}
	}
	return nil
}

// printFaults says what is wrong with proxies.
func printFaults(w io.Writer, proxies []*adminpb.Proxy) error {
	for _, p := range proxies {
		for _, f := range p.GetFaults() {
			if _, err := fmt.Fprintln(w, oneLine(p.GetId()+" "+f)); err != nil {
				return err
			}
		}
	}
	return nil
}
