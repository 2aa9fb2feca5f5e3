package deploy

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// published are the only addresses of the host that docker-compose.yml takes.
var published = []string{"127.0.0.1:3001", "127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:9090"}

// TestComposeFile checks what every service of docker-compose.yml must be given, those
// included that TestCompose can not run.
func TestComposeFile(t *testing.T) {
	f, err := readCompose(root())
	if err != nil {
		t.Fatal(err)
	}
	var addrs []string
	for name, s := range f.Services {
		if uid, _, _ := strings.Cut(s.User, ":"); uid == "" || uid == "0" || uid == "root" {
			t.Errorf("%s runs as user %q", name, s.User)
		}
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
			t.Errorf("%s: read_only %v, cap_drop %v, security_opt %v", name, s.ReadOnly, s.CapDrop, s.SecurityOpt)
		}
		if s.Healthcheck == nil {
			t.Errorf("%s has no health check", name)
		}
		if s.Build == nil && !pinned.MatchString(s.Image) {
			t.Errorf("%s: the image %s is not pinned", name, s.Image)
		}
		if slices.Contains(s.Command, "--allow-plaintext") && !slices.Equal(s.networkNames(), []string{"control"}) {
			t.Errorf("%s listens without TLS on the networks %v", name, s.networkNames())
		}
		for _, p := range s.Ports {
			addrs = append(addrs, p.HostIP+":"+p.Published)
			if p.Target == 9901 {
				t.Errorf("%s publishes Envoy's admin API", name)
			}
		}
		for _, v := range s.Volumes {
			if v.Type != "bind" {
				continue
			}
			if _, err := os.Stat(v.Source); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if !v.ReadOnly {
				t.Errorf("%s may write to %s", name, v.Source)
			}
		}
	}
	slices.Sort(addrs)
	if !slices.Equal(addrs, published) {
		t.Errorf("published are %v, want %v", addrs, published)
	}
}

// TestBuildArgs: what a version is given to docker-compose.yml reaches the build that uses it.
func TestBuildArgs(t *testing.T) {
	stages, err := readDockerfile(filepath.Join(root(), dockerfilePath))
	if err != nil {
		t.Fatal(err)
	}
	build, err := findStage(stages, "build")
	if err != nil {
		t.Fatal(err)
	}
	for want, env := range map[string][]string{"devel": nil, "v1.2.3": {"BREAKWATER_VERSION=v1.2.3"}} {
		f, err := readCompose(root(), env...)
		if err != nil {
			t.Fatal(err)
		}
		built := 0
		for name, s := range f.Services {
			if s.Build == nil {
				continue
			}
			built++
			for arg := range s.Build.Args {
				if !slices.Contains(build.args, arg) {
					t.Errorf("%s: the Dockerfile has no ARG %s", name, arg)
				}
			}
			if got := s.Build.Args["VERSION"]; got != want {
				t.Errorf("%s is built as version %q, want %q", name, got, want)
			}
		}
		if built == 0 {
			t.Error("nothing is built")
		}
	}
}

// TestGrafanaPassword runs what Grafana is started with, up to Grafana.
func TestGrafanaPassword(t *testing.T) {
	password := func(env ...string) string {
		t.Helper()
		f, err := readCompose(root(), env...)
		if err != nil {
			t.Fatal(err)
		}
		s := f.Services["grafana"]
		script := slices.Clone(s.Entrypoint)
		last := len(script) - 1
		if !strings.HasSuffix(script[last], "exec /run.sh\n") || s.Command != nil {
			t.Fatalf("Grafana is started by %q %q", script, s.Command)
		}
		script[last] = strings.ReplaceAll(script[last], "/run.sh", "printenv GF_SECURITY_ADMIN_PASSWORD")
		cmd := exec.Command(script[0], script[1:]...)
		cmd.Env = append(s.variables(), "PATH="+os.Getenv("PATH"))
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%q: %v", script, err)
		}
		return strings.TrimSpace(string(out))
	}
	if got := password("GRAFANA_PASSWORD=it's mine"); got != "it's mine" {
		t.Errorf("the password is %q", got)
	}
	if one, two := password(), password("GRAFANA_PASSWORD="); len(one) < 32 || len(two) < 32 || one == two {
		t.Errorf("without one the passwords are %q and %q", one, two)
	}
}

// pinned is an image whose tag has a whole version.
var pinned = regexp.MustCompile(`^[a-z./-]+:v?[0-9]+\.[0-9]+\.[0-9]+$`)

// TestServiceURLs checks that each service's URL is to be set from outside.
func TestServiceURLs(t *testing.T) {
	policies, err := filepath.Glob(filepath.Join(root(), "examples", "shop", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var override []string
	variable := regexp.MustCompile(`\$\{([A-Z]+_SERVICE_URL)`)
	for _, path := range policies {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range variable.FindAllStringSubmatch(string(text), -1) {
			override = append(override, m[1]+"=http://elsewhere:80")
		}
	}
	if len(override) != 7 {
		t.Fatalf("the example has the variables %v, want seven", override)
	}
	f, err := readCompose(root(), append(override, "CB_TIMEOUT=5")...)
	if err != nil {
		t.Fatal(err)
	}
	env := f.Services["breakwater"].variables()
	for _, v := range append(override, "CB_TIMEOUT=5") {
		if !slices.Contains(env, v) {
			t.Errorf("breakwater does not get %s", v)
		}
	}
	// Without them they lead to the services of the file, by name and port.
	f, err = readCompose(root())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range f.Services["breakwater"].variables() {
		name, url, _ := strings.Cut(v, "=")
		host, port, _ := strings.Cut(strings.TrimPrefix(url, "http://"), ":")
		s, ok := f.Services[host]
		if !ok {
			t.Errorf("%s is %s, and the services are %v", name, url, slices.Sorted(maps.Keys(f.Services)))
			continue
		}
		if check := strings.Join(s.Healthcheck.Test, " "); !strings.Contains(check, ":"+port+"/") {
			t.Errorf("%s is %s, and the service is checked by %s", name, url, check)
		}
	}
}

// TestGrafanaProvisioning checks that what Grafana is provisioned with leads to what there is
// in its container and on its networks.
func TestGrafanaProvisioning(t *testing.T) {
	f, err := readCompose(root())
	if err != nil {
		t.Fatal(err)
	}
	grafana := f.Services["grafana"]
	var provider struct {
		Providers []struct{ Options struct{ Path string } }
	}
	readYAML(t, "deploy/grafana/provisioning/dashboards/breakwater.yml", &provider)
	for _, p := range provider.Providers {
		if !slices.ContainsFunc(grafana.Volumes, func(v composeVolume) bool { return v.Target == p.Options.Path }) {
			t.Errorf("nothing is mounted at %s", p.Options.Path)
		}
	}
	var source struct{ Datasources []struct{ URL string } }
	readYAML(t, "deploy/grafana/provisioning/datasources/prometheus.yml", &source)
	for _, d := range source.Datasources {
		host, port, _ := strings.Cut(strings.TrimPrefix(d.URL, "http://"), ":")
		s, ok := f.Services[host]
		if !ok || !slices.ContainsFunc(s.networkNames(), func(n string) bool { return slices.Contains(grafana.networkNames(), n) }) {
			t.Errorf("Grafana does not reach %s", d.URL)
			continue
		}
		if p := s.Ports; len(p) != 1 || strconv.Itoa(p[0].Target) != port {
			t.Errorf("%s is at %v, and Grafana asks %s", host, p, d.URL)
		}
	}
	if len(provider.Providers) == 0 || len(source.Datasources) == 0 {
		t.Error("nothing is provisioned")
	}
}

func readYAML(t testing.TB, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(), path))
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}
