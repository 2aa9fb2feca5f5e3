package admin_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/admin/adminpb"
)

// route is one path of the API, for the service fraud-service or the proxy edge-3.
type route struct{ method, path, body string }

// httpRoutes are those of http.yaml.
func httpRoutes(t *testing.T) []route {
	t.Helper()
	data, err := os.ReadFile("adminpb/http.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		HTTP struct {
			Rules []map[string]string `yaml:"rules"`
		} `yaml:"http"`
	}
	if err := yaml.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	var out []route
	for _, rule := range config.HTTP.Rules {
		for _, method := range []string{"get", "put", "post", "patch", "delete"} {
			if rule[method] == "" {
				continue
			}
			r := route{method: strings.ToUpper(method), path: strings.NewReplacer("{service}", "fraud-service", "{id}", "edge-3").Replace(rule[method])}
			if rule["body"] != "" {
				r.body = "{}"
			}
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		t.Fatal("no rules")
	}
	return out
}

// Over an address that only shows, whatever could change something is refused, what is served later included; the rest and
// gRPC are as ever.
func TestReadOnly(t *testing.T) {
	model := newFakeModel()
	run := start(t, admin.Options{Model: model, HTTPReadOnly: true, Version: "v1.2.3"})
	const plan = "/api/v1/plan"
	changing := []route{
		{http.MethodPost, "/api/v1/circuit-breakers/fraud-service/reset", "{}"},
		{http.MethodPost, "/api/v1/circuit-breakers/fraud-service/reset", ""},
		{http.MethodPost, "/api/v1/not/there/yet", "{}"},
		{http.MethodPost, plan + "/apply", "{}"},
		{http.MethodPut, plan, "{}"},
		{http.MethodPatch, "/api/v1/breakers/fraud-service", "{}"},
		{http.MethodDelete, "/api/v1/orders", ""},
		{"BREW", "/", ""},
	}
	for _, r := range httpRoutes(t) {
		if r.method == http.MethodGet {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				if got := do(t, method, run.url+r.path, "", nil); got.status != http.StatusOK {
					t.Errorf("%s %s: %d %s", method, r.path, got.status, got.body)
				}
			}
			continue
		}
		if r.path != plan {
			changing = append(changing, r)
		}
	}
	actions := 0
	for _, r := range changing {
		for _, header := range []map[string]string{nil, {"X-Http-Method-Override": "GET"}} {
			got := do(t, r.method, run.url+r.path, r.body, header)
			if got.status != http.StatusForbidden || !strings.HasPrefix(got.body, `{"code":7,"message":"this address only shows`) {
				t.Errorf("%s %s: %d %s", r.method, r.path, got.status, got.body)
			}
		}
		for _, action := range []string{"/reset", "/force-open", "/disable", "/release", "/forget", "/log-level"} {
			if strings.HasSuffix(r.path, action) {
				actions++
			}
		}
	}
	if actions < 8 {
		t.Errorf("%d of the calls that change something are looked at", actions)
	}
	if got := do(t, http.MethodPost, run.url+plan, `{}`, nil); got.status == http.StatusForbidden {
		t.Errorf("a plan changes nothing, but: %d %s", got.status, got.body)
	}
	model.set(func(f *fakeModel) {
		if len(f.resets) > 0 || len(f.orders) > 0 || len(f.forgets) > 0 || f.levels[""].String() != "info" {
			t.Errorf("the model was told of %v, %v, %v, %v", f.resets, f.orders, f.forgets, f.levels)
		}
	})

	if got := get(t, run.url+"/api/v1/version").body; !strings.HasSuffix(got, `"read_only":true}`) {
		t.Errorf("over HTTP: %s", got)
	}
	version, err := run.client.GetVersion(t.Context(), &adminpb.GetVersionRequest{})
	if err != nil || version.GetReadOnly() || version.GetVersion() != "v1.2.3" {
		t.Errorf("over gRPC: %v, %v", version, err)
	}
	for name, do := range map[string]func() (proto.Message, error){
		"reset": func() (proto.Message, error) {
			return run.client.ResetBreaker(t.Context(), &adminpb.ResetBreakerRequest{Service: "fraud-service"})
		},
		"log level": func() (proto.Message, error) {
			return run.client.SetLogLevel(t.Context(), &adminpb.SetLogLevelRequest{Level: "debug"})
		},
	} {
		if _, err := do(); err != nil {
			t.Errorf("%s over gRPC: %v", name, err)
		}
	}
}

func TestNotReadOnly(t *testing.T) {
	run := start(t, admin.Options{Model: newFakeModel()})
	if got := get(t, run.url+"/api/v1/version").body; !strings.HasSuffix(got, `"read_only":false}`) {
		t.Error(got)
	}
}
