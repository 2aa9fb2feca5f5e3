package envoy_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/test/envoytest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// bootstraps are the configurations with a golden file, by its name.
var bootstraps = map[string]envoy.BootstrapConfig{
	"address": {NodeID: "edge-1", NodeCluster: "edge", XDSAddr: "127.0.0.1:18000", AdminAddr: "127.0.0.1:9901"},
	"name":    {NodeID: "true", XDSAddr: "breakwater.internal:18000", AdminAddr: "[::1]:9901"},
	"no-port": {NodeID: "edge 2", XDSAddr: "[::1]:18000", AdminAddr: "127.0.0.1:0"},
}

func TestBootstrapGolden(t *testing.T) {
	for name, config := range bootstraps {
		t.Run(name, func(t *testing.T) {
			b, err := config.Build()
			if err != nil {
				t.Fatal(err)
			}
			got, err := envoy.MarshalYAML(b)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", "bootstrap-"+name+".yaml")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("differs from %s (-want +got); -update rewrites it:\n%s", path, diff)
			}
		})
	}
}

func TestBootstrapIsValidToEnvoy(t *testing.T) {
	for name, config := range bootstraps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := config.Build()
			if err != nil {
				t.Fatal(err)
			}
			envoytest.Validate(t, b)
		})
	}
}

func TestBootstrapErrors(t *testing.T) {
	good := envoy.BootstrapConfig{NodeID: "a", XDSAddr: "127.0.0.1:18000", AdminAddr: "127.0.0.1:9901"}
	for _, tt := range []struct {
		name   string
		change func(*envoy.BootstrapConfig)
		want   string
	}{
		{"empty id", func(c *envoy.BootstrapConfig) { c.NodeID = "" }, "node id: must not be empty"},
		{"slash in id", func(c *envoy.BootstrapConfig) { c.NodeID = "a/b" }, `node id "a/b": must not contain a slash`},
		{"control character in id", func(c *envoy.BootstrapConfig) { c.NodeID = "a\nb" }, `node id "a\nb": must have printable characters only`},
		{"invalid UTF-8 in id", func(c *envoy.BootstrapConfig) { c.NodeID = "a\xff" }, `node id "a\xff": must have printable characters only`},
		{"long id", func(c *envoy.BootstrapConfig) { c.NodeID = strings.Repeat("a", 254) }, "must have at most 253 bytes"},
		{"control character in cluster", func(c *envoy.BootstrapConfig) { c.NodeCluster = "a\tb" }, `node cluster "a\tb": must have printable`},
		{"no xDS port", func(c *envoy.BootstrapConfig) { c.XDSAddr = "127.0.0.1" }, `xDS address "127.0.0.1": must be host:port`},
		{"no xDS host", func(c *envoy.BootstrapConfig) { c.XDSAddr = ":18000" }, `xDS address ":18000": must be host:port`},
		{"xDS port 0", func(c *envoy.BootstrapConfig) { c.XDSAddr = "127.0.0.1:0" }, "the port must not be 0"},
		{"xDS port too high", func(c *envoy.BootstrapConfig) { c.XDSAddr = "127.0.0.1:65536" }, "the port must be a number from 0 to 65535"},
		{"xDS URL", func(c *envoy.BootstrapConfig) { c.XDSAddr = "http://[::1]:18000" }, `must be host:port`},
		{"space in xDS host", func(c *envoy.BootstrapConfig) { c.XDSAddr = "a b:18000" }, `xDS address "a b:18000": must be host:port`},
		{"admin zone", func(c *envoy.BootstrapConfig) { c.AdminAddr = "[fe80::1%eth0]:9901" }, "must be host:port"},
		{"admin name", func(c *envoy.BootstrapConfig) { c.AdminAddr = "localhost:9901" }, "the host must be an IP address"},
		{"no admin", func(c *envoy.BootstrapConfig) { c.AdminAddr = "" }, `admin address "": must be host:port`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := good
			tt.change(&config)
			_, err := config.Build()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Build() = %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// A node id that looks like another YAML type is still a string to Envoy.
func TestNodeIDsThatLookLikeAnotherType(t *testing.T) {
	for _, id := range []string{"on", "Y", "NO", "null", "~", "0x10", "010", "1e3", ".5", "12s", "a: b", "- a", "#a", "'a", `a\"`, "ü", "a "} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			b, err := envoy.BootstrapConfig{NodeID: id, NodeCluster: id, XDSAddr: "127.0.0.1:18000", AdminAddr: "127.0.0.1:9901"}.Build()
			if err != nil {
				t.Fatal(err)
			}
			envoytest.Validate(t, b)
		})
	}
}

func TestMarshalJSONReadsBack(t *testing.T) {
	want, err := bootstraps["address"].Build()
	if err != nil {
		t.Fatal(err)
	}
	data, err := envoy.MarshalJSON(want)
	if err != nil {
		t.Fatal(err)
	}
	got := &bootstrapv3.Bootstrap{}
	if err := protojson.Unmarshal(data, got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
