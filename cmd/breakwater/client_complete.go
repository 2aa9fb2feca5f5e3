package main

import (
	"context"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/breakwater/breakwater/admin/adminclient"
	"github.com/breakwater/breakwater/admin/adminpb"
)

// completeServices is a completion of a command's only argument, a service. It asks
// the server and offers nothing if that does not answer.
func (c *client) completeServices(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.completeMoreServices(cmd, args, toComplete)
}

// completeMoreServices completes any number of services, each once.
func (c *client) completeMoreServices(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	return c.complete(cmd, &names, func(ctx context.Context, api adminpb.AdminServiceClient) error {
		breakers, err := adminclient.Over(api).Summaries(ctx)
		for _, b := range breakers {
			if !slices.Contains(args, b.GetService()) {
				names = append(names, b.GetService())
			}
		}
		return err
	})
}

// completeProxies completes the id of a connected proxy.
func (c *client) completeProxies(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.completeIDs(cmd, func(all *adminpb.ListProxiesResponse) []string { return ids(all.GetProxies()) })
}

// completeDisconnected is a completion of a command's only argument, the id of a disconnected proxy.
func (c *client) completeDisconnected(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.completeIDs(cmd, func(all *adminpb.ListProxiesResponse) []string { return ids(all.GetMissed()) })
}

// completeIDs offers the ids that of takes from all proxies.
func (c *client) completeIDs(cmd *cobra.Command, of func(*adminpb.ListProxiesResponse) []string) ([]string, cobra.ShellCompDirective) {
	var out []string
	return c.complete(cmd, &out, func(ctx context.Context, api adminpb.AdminServiceClient) error {
		resp, err := adminclient.Over(api).Proxies(ctx)
		out = of(resp)
		return err
	})
}

func ids[P interface{ GetId() string }](proxies []P) []string {
	out := make([]string, len(proxies))
	for i, p := range proxies {
		out[i] = p.GetId()
	}
	return out
}

// complete offers what ask appends to names.
func (c *client) complete(cmd *cobra.Command, names *[]string, ask func(context.Context, adminpb.AdminServiceClient) error) ([]string, cobra.ShellCompDirective) {
	asking := client{server: c.server, output: outputTable, timeout: completionTimeout}
	if env := os.Getenv(envVar("server")); env != "" && !cmd.Flags().Changed("server") {
		asking.server = env
	}
	cmd.SetContext(contextOf(cmd))
	if err := asking.call(cmd, ask); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return *names, cobra.ShellCompDirectiveNoFileComp
}
