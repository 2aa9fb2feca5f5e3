package admin_test

import (
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/breakwater/breakwater/admin"
)

// Every path of http.yaml is served: none is forgotten before the gateway.
func TestEveryRouteIsServed(t *testing.T) {
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
	if len(config.HTTP.Rules) == 0 {
		t.Fatal("no rules")
	}
	url := start(t, admin.Options{Model: newFakeModel()}).url
	for _, rule := range config.HTTP.Rules {
		for _, method := range []string{"get", "put", "post", "patch", "delete"} {
			path := rule[method]
			if path == "" {
				continue
			}
			body := ""
			if rule["body"] != "" {
				body = "{}"
			}
			got := do(t, strings.ToUpper(method), url+strings.ReplaceAll(path, "{service}", "fraud-service"), body, nil)
			if got.status == 405 || strings.Contains(got.body, "no such path") || strings.Contains(got.body, "Not Found") {
				t.Errorf("%s: %s %s: %d %s", rule["selector"], method, path, got.status, got.body)
			}
		}
	}
}
