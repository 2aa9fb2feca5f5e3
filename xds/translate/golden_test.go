package translate_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/test/envoytest"
	"github.com/breakwater/breakwater/xds/translate"
)

var update = flag.Bool("update", false, "rewrite the golden files and delete those without a case")

const (
	goldenSuffix  = ".golden.yaml"
	gatewaySuffix = ".gateway.yaml"
)

// object is a message as its JSON form has it.
type object = map[string]any

// cases are the policy files of testdata: name.yaml, with the gateway.yaml of the case in
// name.gateway.yaml where it has one.
func cases(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range paths {
		if !strings.HasSuffix(p, goldenSuffix) && !strings.HasSuffix(p, gatewaySuffix) {
			names = append(names, strings.TrimSuffix(p, ".yaml"))
		}
	}
	if len(names) == 0 {
		t.Fatal("no cases in testdata")
	}
	return names
}

// TestGolden compares what each case translates to with its golden file, and has Envoy
// validate that.
func TestGolden(t *testing.T) {
	wanted := map[string]bool{}
	for _, name := range cases(t) {
		golden := name + goldenSuffix
		wanted[golden] = true
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			got := bundleYAML(t, name)
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatalf("%v (-update writes it)", err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("not as %s (-update rewrites it), -want +got:\n%s", golden, diff)
			}
			if err := validate(t, want); err != nil {
				t.Error(err)
			}
		})
	}
	goldens, err := filepath.Glob("testdata/*" + goldenSuffix)
	if err != nil {
		t.Fatal(err)
	}
	for _, golden := range goldens {
		if wanted[golden] {
			continue
		}
		if !*update {
			t.Errorf("%s has no case (-update deletes it)", golden)
		} else if err := os.Remove(golden); err != nil {
			t.Error(err)
		}
	}
}

// TestValidationFindsFaults shows that the check of the goldens is one: Envoy rejects
// each part of a bundle if it is wrong.
func TestValidationFindsFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ part, golden, from, to string }{
		{"cluster", "breakers", "max_ejection_percent: 100", "max_ejection_percent: 101"},
		{"protocol options", "breakers", "http_protocol_options", "no_protocol_options"},
		{"endpoint", "breakers", "address: 127.0.0.1", "address: nowhere"},
		{"certificates", "encrypted", "/ca-certificates.crt", "/no-certificates.crt"},
		{"dns", "minimal", "dns_refresh_rate: 5s", "dns_refresh_rate: 0s"},
		{"route", "routes", "regex: DELETE|", "regex: (DELETE|"},
		{"host", "routes", "- pricing.example", "- '*.pricing.example'"},
		{"listener", "gateway", "normalize_path: true", "normalize_path: maybe"},
		{"local reply", "gateway", `response.code_details in [`, `response.code_details in in [`},
		{"metric", "gateway", "request.duration.getSeconds", "request..getSeconds"},
		{"status of a metric", "gateway", "(|0|1|3|", "((|0|1|3|"},
		{"access log", "gateway", "'%REQ(:METHOD)%'", "'%NOTHING(:METHOD)%'"},
		{"sampler", "tracing", "numerator: 25000", "numerator: many"},
	} {
		t.Run(tt.part, func(t *testing.T) {
			t.Parallel()
			golden, err := os.ReadFile("testdata/" + tt.golden + goldenSuffix)
			if err != nil {
				t.Fatal(err)
			}
			broken := strings.ReplaceAll(string(golden), tt.from, tt.to)
			if broken == string(golden) {
				t.Fatalf("the golden has no %q", tt.from)
			}
			if err := validate(t, []byte(broken)); err == nil {
				t.Errorf("%s in place of %s is accepted", tt.to, tt.from)
			}
		})
	}
}

// TestTranslationIsStable translates each case twice, from the file on, and compares the
// bytes and the versions.
func TestTranslationIsStable(t *testing.T) {
	for _, name := range cases(t) {
		one, two := unitsOf(t, readSet(t, name).Services...), unitsOf(t, readSet(t, name).Services...)
		for i := range one {
			if version(t, one[i]) != version(t, two[i]) {
				t.Errorf("%s: %s has the versions %s and %s", name, one[i].Service, version(t, one[i]), version(t, two[i]))
			}
			for _, pair := range [][2]proto.Message{
				{one[i].Cluster, two[i].Cluster}, {one[i].Endpoints, two[i].Endpoints},
			} {
				a, errA := translate.Marshal(pair[0])
				b, errB := translate.Marshal(pair[1])
				if err := errors.Join(errA, errB); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(a, b) || translate.Hash(pair[0]) != translate.Hash(pair[1]) {
					t.Errorf("%s: %s has two forms", name, one[i].Service)
				}
			}
		}
	}
}

// readSet builds the policies of a case.
func readSet(t *testing.T, name string) *policy.Set {
	t.Helper()
	data, err := os.ReadFile(name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	files := []policy.File{{Name: "services.yaml", Data: data}}
	switch data, err := os.ReadFile(name + gatewaySuffix); {
	case err == nil:
		files = append(files, policy.File{Name: "gateway.yaml", Data: data})
	case !errors.Is(err, fs.ErrNotExist):
		t.Fatal(err)
	}
	set, problems := policy.Build(files, func(string) (string, bool) { return "", false }, nil)
	for _, p := range problems {
		if p.Severity == policy.SeverityError {
			t.Error(p)
		}
	}
	return set
}

// bundleYAML is all that a case translates to.
func bundleYAML(t *testing.T, name string) []byte {
	t.Helper()
	_, err := os.Stat(name + gatewaySuffix)
	return bundleOf(t, readSet(t, name), err == nil)
}

// bundleOf is all that a set translates to. The listener depends on gateway.yaml alone, and is long: it is left out unless
// asked for.
func bundleOf(t *testing.T, set *policy.Set, listener bool) []byte {
	t.Helper()
	units := unitsOf(t, set.Services...)
	own, err := translate.GatewayClusters(set.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	listeners, err := translate.Listeners(set.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	table := translate.RouteTable(units, set.Gateway)
	if err := table.ValidateAll(); err != nil {
		t.Error(err)
	}
	bundle := map[string][]object{}
	add := func(kind string, m proto.Message) {
		bundle[kind] = append(bundle[kind], toObject(t, m))
	}
	for _, c := range own {
		add("clusters", c)
	}
	for _, u := range units {
		add("clusters", u.Cluster)
		if u.Endpoints != nil {
			add("endpoints", u.Endpoints)
		}
	}
	if listener {
		for _, l := range listeners {
			add("listeners", l)
		}
	}
	add("routes", table)
	add("limits", translate.Limits(units))
	var b strings.Builder
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(bundle); err != nil {
		t.Fatal(err)
	}
	return []byte(b.String())
}

func toObject(t *testing.T, m proto.Message) object {
	t.Helper()
	b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var o object
	if err := json.Unmarshal(b, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// validate has Envoy load a bundle. What Envoy takes from the control plane only while
// it runs stands where it loads it at once as well: endpoints in a second, static form
// of their cluster, the route table in a second listener.
func validate(t *testing.T, bundleYAML []byte) error {
	t.Helper()
	var bundle map[string][]object
	if err := yaml.Unmarshal(bundleYAML, &bundle); err != nil {
		return err
	}
	endpoints := map[any]object{}
	for _, e := range bundle["endpoints"] {
		endpoints[e["cluster_name"]] = e
	}
	clusters := bundle["clusters"]
	for _, c := range bundle["clusters"] {
		eds, ok := c["eds_cluster_config"].(object)
		if !ok {
			continue
		}
		e := endpoints[eds["service_name"]]
		if e == nil {
			return fmt.Errorf("cluster %s: no endpoints %s", c["name"], eds["service_name"])
		}
		static := maps.Clone(c)
		delete(static, "eds_cluster_config")
		static["name"], static["type"], static["load_assignment"] = fmt.Sprint(c["name"], ".static"), "STATIC", e
		clusters = append(clusters, static)
	}
	listeners := bundle["listeners"]
	if len(listeners) == 0 {
		built, err := translate.Listeners(testGateway())
		if err != nil {
			return err
		}
		listeners = []object{toObject(t, built[0])}
	}
	for _, l := range listeners {
		static := clone(t, l)
		static["name"], static["address"] = fmt.Sprint(l["name"], ".static"), socketAddress("127.0.0.2", 80)
		manager := static["filter_chains"].([]any)[0].(object)["filters"].([]any)[0].(object)["typed_config"].(object)
		delete(manager, "rds")
		manager["route_config"] = bundle["routes"][0]
		listeners = append(listeners, static)
	}
	own, err := envoy.BootstrapConfig{NodeID: "test", XDSAddr: "127.0.0.1:1", AdminAddr: "127.0.0.1:0"}.Build()
	if err != nil {
		return err
	}
	return validateBootstrap(t, object{
		"node":  object{"id": "test", "cluster": "test"},
		"admin": object{"address": socketAddress("127.0.0.1", 0)},
		"dynamic_resources": object{"ads_config": object{
			"api_type": "DELTA_GRPC", "transport_api_version": "V3",
			"grpc_services": []any{object{"envoy_grpc": object{"cluster_name": envoy.XDSCluster}}},
		}},
		"layered_runtime": object{"layers": []any{
			toObject(t, own.LayeredRuntime.Layers[0]),
			object{"name": envoy.LimitsLayer, "static_layer": bundle["limits"][0]["layer"]},
		}},
		"static_resources": object{
			"clusters": append(clusters, object{
				"name": envoy.XDSCluster, "type": "STATIC",
				"typed_extension_protocol_options": object{
					"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": object{
						"@type":                "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
						"explicit_http_config": object{"http2_protocol_options": object{}},
					},
				},
			}),
			"listeners": listeners,
		},
	})
}

func validateBootstrap(t *testing.T, bootstrap object) error {
	t.Helper()
	b, err := json.Marshal(bootstrap)
	if err != nil {
		return err
	}
	path := filepath.Join(t.TempDir(), "bootstrap.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return err
	}
	out, err := exec.Command(envoytest.Binary(t), "--mode", "validate", "-c", path, "--log-level", "warning").CombinedOutput()
	if err != nil {
		return fmt.Errorf("envoy --mode validate: %w\n%s", err, out)
	}
	if strings.Contains(string(out), "deprecated") {
		return fmt.Errorf("envoy --mode validate says that something is deprecated:\n%s", out)
	}
	return nil
}

func socketAddress(host string, port int) object {
	return object{"socket_address": object{"address": host, "port_value": port}}
}

func clone(t *testing.T, o object) object {
	t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var c object
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return c
}
