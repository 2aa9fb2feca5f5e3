// Command grafana writes Breakwater's dashboard for Grafana, as JSON, to the file that it is
// given.
//
// It has a module of its own, so that nothing of Grafana's is a dependency of Breakwater's.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: grafana FILE")
		os.Exit(2)
	}
	data, err := render()
	if err == nil {
		err = os.WriteFile(os.Args[1], data, 0o644) //nolint:gosec // Grafana reads it as another user
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// render returns the dashboard, which has only fields that Grafana knows.
func render() ([]byte, error) {
	plugins.RegisterDefaultPlugins()
	d, err := circuitBreakers().Build()
	if err != nil {
		return nil, err
	}
	number(&d)
	data, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(unescape(data), '\n'), check(data)
}

// unescape takes back what is escaped for the sake of HTML, so that expressions can be read.
func unescape(data []byte) []byte {
	return []byte(strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(data)))
}

// number gives the panels ids, which links to a panel are made of.
func number(d *dashboard.Dashboard) { //nolint:staticcheck // see circuitBreakers
	for i, p := range d.Panels {
		id := uint32(i + 1)
		if p.Panel != nil {
			p.Panel.Id = &id
		} else {
			p.RowPanel.Id = id
		}
	}
}

// check decodes a dashboard strictly: a field that Grafana does not have is an error.
func check(data []byte) error {
	var errs cog.BuildErrors
	// Without an error it returns an empty list of them, which is not nil.
	err := new(dashboard.Dashboard).UnmarshalJSONStrict(data) //nolint:staticcheck // see circuitBreakers
	if err != nil && (!errors.As(err, &errs) || len(errs) > 0) {
		return fmt.Errorf("the dashboard is none of Grafana's: %w", err)
	}
	return nil
}
