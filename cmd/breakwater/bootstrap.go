package main

import (
	"context"
	"fmt"
	"net"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/breakwater/breakwater/envoy"
)

func newBootstrapCmd() *cobra.Command {
	var c envoy.BootstrapConfig
	var output, file string
	cmd := &cobra.Command{
		Use:   "bootstrap",
		Short: "Print the bootstrap with which one Envoy joins",
		Long: `Print the bootstrap with which one Envoy joins:

  breakwater bootstrap --xds 127.0.0.1:18000 > envoy.yaml
  envoy -c envoy.yaml

Where there is no shell, as in an init container, --file writes it instead:

  breakwater bootstrap --node-id edge-1 --file /etc/envoy/envoy.yaml

For a control plane on another host --admin is a port alone, so that Breakwater reaches the
admin API and other networks do not:

  breakwater bootstrap --xds 10.0.0.5:18000 --admin :9901 > envoy.yaml

Breakwater asks the admin API at the address that Envoy connects to --xds from, with the
port of --admin: another ip than that one it does not find. On one host that is 127.0.0.1.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			marshal := map[string]func(proto.Message) ([]byte, error){outputYAML: envoy.MarshalYAML, outputJSON: envoy.MarshalJSON}[output]
			if marshal == nil {
				return usagef("output %q is none of yaml, json", output)
			}
			var err error
			if c.AdminAddr, err = adminAddr(cmd.Context(), c.AdminAddr, c.XDSAddr); err != nil {
				return err
			}
			b, err := c.Build()
			if err != nil {
				return usageError{err}
			}
			out, err := marshal(b)
			if err != nil {
				return err
			}
			if file != "" {
				return renameio.WriteFile(file, out, 0o644)
			}
			_, err = cmd.OutOrStdout().Write(out)
			return err
		},
	}
	cmd.Flags().StringVar(&c.NodeID, "node-id", hostname(), "id of the proxy; each needs its own")
	cmd.Flags().StringVar(&c.NodeCluster, "node-cluster", envoy.DefaultNodeCluster, "group of proxies that it belongs to")
	cmd.Flags().StringVar(&c.XDSAddr, "xds", "127.0.0.1:18000", "address of Breakwater's xDS server")
	cmd.Flags().StringVar(&c.AdminAddr, "admin", "127.0.0.1:9901", "address of the proxy's admin API, as ip:port; without the ip it is the one that this host reaches --xds from, so that other networks do not reach the API")
	cmd.Flags().StringVarP(&output, "output", "o", outputYAML, "yaml or json")
	cmd.Flags().StringVar(&file, "file", "", "file to write it to instead of standard output, where there is no shell that could")
	bindEnv(cmd)
	return cmd
}

// adminAddr completes an admin address that has a port alone.
func adminAddr(ctx context.Context, admin, xds string) (string, error) {
	host, port, err := net.SplitHostPort(admin)
	if err != nil || host != "" {
		return admin, nil // it is complete, or Build says what is wrong with it
	}
	// Nothing is sent: to connect a datagram socket is to ask for a route.
	conn, err := new(net.Dialer).DialContext(ctx, "udp", xds)
	if err != nil {
		return "", fmt.Errorf("--admin %s: no address to reach %s from: %w", admin, xds, err)
	}
	host, _, err = net.SplitHostPort(conn.LocalAddr().String())
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(host, port), conn.Close()
}
