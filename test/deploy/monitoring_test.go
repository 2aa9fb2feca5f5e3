package deploy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"
)

// admits reports whether the policies let pods of an app reach a port of another.
func admits(all []manifest, from networkPeer, app, port string) bool {
	const label = "app.kubernetes.io/name"
	for _, m := range all {
		if m.Kind != "NetworkPolicy" || m.Spec.PodSelector.MatchLabels[label] != app {
			continue
		}
		for _, rule := range m.Spec.Ingress {
			ports := slices.ContainsFunc(rule.Ports, func(p struct{ Port string }) bool { return p.Port == port })
			if ports && slices.ContainsFunc(rule.From, func(p networkPeer) bool {
				return p.PodSelector.MatchLabels[label] == from.PodSelector.MatchLabels[label] &&
					p.NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"] == from.NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"]
			}) {
				return true
			}
		}
	}
	return false
}

func pods(app string) (p networkPeer) {
	p.PodSelector.MatchLabels = map[string]string{"app.kubernetes.io/name": app}
	return p
}

func namespace(name string) (p networkPeer) {
	p.NamespaceSelector.MatchLabels = map[string]string{"kubernetes.io/metadata.name": name}
	return p
}

// TestExposeAdmin: the gateway passes the API on where the Envoys are let through to it, and there alone.
func TestExposeAdmin(t *testing.T) {
	for _, name := range []string{"base", "demo"} {
		all := kustomize(t, name)
		if policies, _ := find(all, "ConfigMap", "policies"); policies.Data["gateway.yaml"] != "" || admits(all, pods("envoy"), "breakwater", "http") {
			t.Errorf("%s exposes the API: %q", name, policies.Data["gateway.yaml"])
		}
		if !admits(all, pods("envoy"), "breakwater", "xds") {
			t.Errorf("%s: the Envoys do not reach xDS", name)
		}

		overlay := t.TempDir()
		to, err := filepath.Rel(overlay, filepath.Join(root(), "deploy", "kubernetes"))
		if err == nil {
			err = os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte("namespace: breakwater\nresources: ["+
				filepath.Join(to, name)+"]\ncomponents: ["+filepath.Join(to, "components", "expose-admin")+"]\n"), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = kustomizeBuild(t, overlay)
		if !admits(all, pods("envoy"), "breakwater", "http") {
			t.Errorf("%s with the component: the Envoys do not reach the API", name)
		}
		policies, _ := find(all, "ConfigMap", "policies")
		var gateway struct {
			Address string `yaml:"expose_admin"`
		}
		if err := yaml.Unmarshal([]byte(policies.Data["gateway.yaml"]), &gateway); err != nil {
			t.Fatal(err)
		}
		host, port, _ := net.SplitHostPort(gateway.Address)
		if service, ok := find(all, "Service", host); !ok || port != "8081" || service.Spec.Ports[1].Port != 8081 {
			t.Errorf("%s with the component exposes %q, which there is not", name, gateway.Address)
		}
		if len(policies.Data) < 2 {
			t.Errorf("%s with the component has lost its policies: %v", name, policies.Data)
		}
	}
}

// TestScrapedPods: what deploy/prometheus/kubernetes looks for is what deploy/kubernetes has, and Prometheus is let
// through to it.
func TestScrapedPods(t *testing.T) {
	all := kustomize(t, "base")
	want := map[string]string{"breakwater": "http", "envoy": "admin"} // ports by app
	for app, port := range want {
		m, ok := find(all, "Deployment", app)
		if !ok || m.Spec.Template.Metadata.Labels["app.kubernetes.io/name"] != app || m.Spec.Template.Spec.port(port) == 0 {
			t.Errorf("no pods of %s with a port %s", app, port)
		}
		if !admits(all, namespace("monitoring"), app, port) {
			t.Errorf("Prometheus does not reach the port %s of %s", port, app)
		}
	}

	var config struct {
		Scrapes []struct {
			Job string `yaml:"job_name"`
			SD  []struct {
				Namespaces struct{ Names []string }
			} `yaml:"kubernetes_sd_configs"`
			Relabel []struct{ Regex, Action string } `yaml:"relabel_configs"`
		} `yaml:"scrape_configs"`
	}
	readYAML(t, "deploy/prometheus/kubernetes/scrape.yml", &config)
	for _, s := range config.Scrapes {
		if r := s.Relabel[0]; r.Action != "keep" || r.Regex != s.Job+";"+want[s.Job] {
			t.Errorf("scrape.yml keeps %q for %s", r.Regex, s.Job)
		}
		if !slices.Equal(s.SD[0].Namespaces.Names, []string{"breakwater"}) {
			t.Errorf("scrape.yml looks for %s in %v", s.Job, s.SD[0].Namespaces.Names)
		}
	}

	monitors, err := os.ReadFile(filepath.Join(root(), "deploy", "prometheus", "kubernetes", "podmonitors.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for d := yaml.NewDecoder(bytes.NewReader(monitors)); ; n++ {
		var m struct {
			Metadata struct{ Name, Namespace string }
			Spec     struct {
				Selector struct {
					MatchLabels map[string]string `yaml:"matchLabels"`
				}
				Endpoints []struct{ Port string } `yaml:"podMetricsEndpoints"`
			}
		}
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if app := m.Spec.Selector.MatchLabels["app.kubernetes.io/name"]; app != m.Metadata.Name || m.Metadata.Namespace != "breakwater" ||
			m.Spec.Endpoints[0].Port != want[app] {
			t.Errorf("the PodMonitor %s looks for %+v", m.Metadata.Name, m.Spec)
		}
	}
	if n != len(want) || len(config.Scrapes) != len(want) {
		t.Errorf("%d PodMonitors and %d jobs, want %d", n, len(config.Scrapes), len(want))
	}
}
