package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds/translate"
)

func newRenderCmd() *cobra.Command {
	var output, service string
	cmd := &cobra.Command{
		Use:   "render DIR|FILE",
		Short: "Print the Envoy resources that policies become",
		Args:  takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != outputJSON && output != outputYAML {
				return usagef("output %q is none of yaml, json", output)
			}
			set, problems, err := readPolicies(args[0])
			if err != nil {
				return err
			}
			if len(problems) > 0 {
				if err := printProblems(cmd.ErrOrStderr(), outputTable, problems, set); err != nil {
					return err
				}
				return failIf(policy.CountProblems(problems), "error", "errors")
			}
			out, err := render(set, service)
			if err != nil {
				return err
			}
			data, err := json.Marshal(out)
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), output, data)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", outputYAML, "yaml or json")
	cmd.Flags().StringVar(&service, "service", "", "only this service's resources")
	bindEnv(cmd)
	return cmd
}

// rendered are the resources by type, in the order in which Envoy needs them.
type rendered struct {
	Runtime   []json.RawMessage `json:"runtime"`
	Endpoints []json.RawMessage `json:"endpoints"`
	Clusters  []json.RawMessage `json:"clusters"`
	Listeners []json.RawMessage `json:"listeners,omitempty"`
	Routes    []json.RawMessage `json:"routes"`
}

// render translates a set, or one service of it if service is not empty: then without the gateway's
// own listener and clusters.
func render(set *policy.Set, service string) (rendered, error) {
	out := rendered{Endpoints: []json.RawMessage{}}
	var units []*translate.Unit
	for _, svc := range set.Services {
		if service != "" && svc.Name != service {
			continue
		}
		u, err := translate.Service(svc, translate.Generation{})
		if err != nil {
			return out, err
		}
		units = append(units, u)
		if err := appendJSON(&out.Clusters, u.Cluster); err != nil {
			return out, err
		}
		if u.Endpoints != nil {
			if err := appendJSON(&out.Endpoints, u.Endpoints); err != nil {
				return out, err
			}
		}
	}
	if service != "" && len(units) == 0 {
		return out, fmt.Errorf("there is no service %q", service)
	}
	if service == "" {
		if err := renderGateway(&out, set.Gateway); err != nil {
			return out, err
		}
	}
	if err := appendJSON(&out.Routes, translate.RouteTable(units, set.Gateway)); err != nil {
		return out, err
	}
	return out, appendJSON(&out.Runtime, translate.Limits(units))
}

func renderGateway(out *rendered, gw *policy.Gateway) error {
	clusters, err := translate.GatewayClusters(gw)
	if err != nil {
		return err
	}
	for _, c := range clusters {
		if err := appendJSON(&out.Clusters, c); err != nil {
			return err
		}
	}
	listeners, err := translate.Listeners(gw)
	if err != nil {
		return err
	}
	for _, l := range listeners {
		if err := appendJSON(&out.Listeners, l); err != nil {
			return err
		}
	}
	return nil
}

func appendJSON(to *[]json.RawMessage, m proto.Message) error {
	data, err := envoy.MarshalJSON(m)
	if err != nil {
		return err
	}
	*to = append(*to, data)
	return nil
}
