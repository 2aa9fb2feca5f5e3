package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
	"github.com/breakwater/breakwater/test/shop"
)

// followed is the document that TestMigration follows.
const followed = "docs/migration.md"

var (
	// original is a row of the table of services: name, port, API, and the variable of callers.
	original = regexp.MustCompile("(?m)^\\| ([a-z-]+-service) \\| (\\d+) \\| `([^`]+)` \\| `/health` \\| `([A-Z_]+)` \\|$")
	// assignment is a line of a caller's environment.
	assignment = regexp.MustCompile(`(?m)^([A-Z]+_SERVICE_URL)=(\S+)$`)
	// resets is the command that closes a breaker.
	resets = regexp.MustCompile(`(?m)^bin/breakwater reset fraud-service --reason .*$`)
	// metric and apiField are rows of the tables of metrics and of fields.
	metric   = regexp.MustCompile("(?m)^\\| `(gateway_[a-z_]+)` \\| ([^|]*) \\| (Envoy|Breakwater)")
	apiField = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ")
	// setting is a row of the migration table that says which field a setting becomes: the setting's value, its
	// variable, the section and the field.
	setting = regexp.MustCompile("(?m)^\\| [^|]* \\| ([^|]*) \\| ([^|]*) \\| `([a-z_]+)\\.([a-z_]+)` \\|")
	ticked  = regexp.MustCompile("`([^`]+)`")
)

// TestMigrationTable: each setting becomes a field that there is, with the value and the variable that the table gives.
func TestMigrationTable(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	reference := read("policy.md")
	_, table, _ := strings.Cut(read("migration.md"), "## Settings")
	values := 0
	for _, row := range setting.FindAllStringSubmatch(table, -1) {
		value, variable, section, field := strings.TrimSpace(row[1]), strings.TrimSpace(row[2]), row[3], row[4]
		_, fields, ok := strings.Cut(reference, "\n### "+section+"\n")
		fields, _, _ = strings.Cut(fields, "\n### ")
		entry := regexp.MustCompile("(?m)^\\| `" + field + "` \\| [^|]* \\| (?:`([^`]*)`)? *\\|").FindStringSubmatch(fields)
		if !ok || entry == nil {
			t.Errorf("the policy has no %s.%s", section, field)
			continue
		}
		if m := ticked.FindStringSubmatch(variable); m != nil && !strings.Contains(reference, "`"+m[1]+"`") {
			t.Errorf("%s.%s: there is no variable %s", section, field, m[1])
		}
		if value == "" || value == "all" || strings.HasPrefix(value, "`") {
			continue
		}
		values++
		was, err := time.ParseDuration(strings.ReplaceAll(value, " ", ""))
		is, err2 := time.ParseDuration(entry[1])
		if value != entry[1] && (err != nil || err2 != nil || was != is) {
			t.Errorf("%s.%s is %q by default, and was %q", section, field, entry[1], value)
		}
	}
	if values < 9 {
		t.Errorf("%d values were compared", values)
	}
}

// TestMigration does what docs/migration.md says, block by block, on a host where its services have their ports. Then
// each URL of the callers' environment leads to its service, a breaker opens, and the documented command closes it.
func TestMigration(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", followed))
	if err != nil {
		t.Fatal(err)
	}
	document := string(text)
	blocks, err := parseBlocks(document)
	if err != nil {
		t.Fatal(err)
	}
	h := newHost(t, shop.Start(t))
	for _, b := range blocks {
		if ready(b.text) != "" {
			if err := h.run(b.text); err != nil {
				t.Fatalf("line %d: %v", b.line, err)
			}
			continue
		}
		out, err := h.sh(b.text)
		if err == nil {
			err = matches(b.output, out)
		}
		if err != nil {
			t.Fatalf("line %d: %v\n%s\nprinted:\n%s", b.line, err, b.text, out)
		}
	}

	environment := map[string]string{}
	for _, m := range assignment.FindAllStringSubmatch(document, -1) {
		environment[m[1]] = m[2]
	}
	services := original.FindAllStringSubmatch(document, -1)
	if len(services) != 7 || len(environment) != 7 {
		t.Fatalf("%d services, and %d variables of callers; want 7", len(services), len(environment))
	}
	for _, m := range services {
		name, direct, api, url := m[1], "http://127.0.0.1:"+m[2], m[3], environment[m[4]]
		for _, ways := range [][2]string{
			{direct + api, url + api}, {direct + "/health", url + "/health"}, {direct + api, "http://127.0.0.1:8080" + api},
		} {
			want, err := h.curl("-f", ways[0])
			if err != nil {
				t.Fatal(err)
			}
			if got, err := h.curl("-f", ways[1]); err != nil || got != want {
				t.Errorf("%s: %s answers %q, %v; the service itself %q", name, ways[1], got, err, want)
			}
		}
	}
	h.opensAndResets(services[2][1], environment[services[2][4]]+services[2][3], resets.FindString(document))
	h.answersAsOf(document)
}

// opensAndResets lets a service fail until its breaker refuses requests for url, and closes it by the command.
func (h *host) opensAndResets(service, url, command string) {
	h.t.Helper()
	for _, what := range []string{"fail", "heal"} {
		if _, err := h.sh("bin/breakwater demo " + what + " " + service); err != nil {
			h.t.Fatal(err)
		}
		if what == "heal" {
			break
		}
		envoytest.Eventually(h.t, serveTimeout, "the breaker of "+service+" is open", func() error {
			got, err := h.curl("-X", "POST", "-o", os.DevNull, "-w", "%{http_code} %header{x-circuit-breaker}", url)
			if err == nil && got != "503 open" {
				err = fmt.Errorf("it answers %q", got)
			}
			return err
		})
	}
	if _, err := h.sh(strings.Replace(command, "fraud-service", service, 1)); err != nil {
		h.t.Fatal(err)
	}
	if err := h.answers(url); err != nil {
		h.t.Errorf("after %q: %v", command, err)
	}
}

// answersAsOf checks that the API has the fields, and the metrics the labels, that the document's tables give.
func (h *host) answersAsOf(document string) {
	h.t.Helper()
	_, document, _ = strings.Cut(document, "\n## The API\n")
	api, document, _ := strings.Cut(document, "\n## The metrics")
	fields, metrics := apiField.FindAllStringSubmatch(api, -1), metric.FindAllStringSubmatch(document, -1)
	if len(fields) != 5 || len(metrics) != 4 {
		h.t.Fatalf("%d fields and %d metrics, want 5 and 4", len(fields), len(metrics))
	}
	answer, err := h.curl("-f", "http://127.0.0.1:8081/api/v1/circuit-breakers")
	if err != nil {
		h.t.Fatal(err)
	}
	for _, m := range fields {
		if !strings.Contains(answer, `"`+m[1]+`":`) {
			h.t.Errorf("the API has no field %s", m[1])
		}
	}
	for _, m := range metrics {
		url, prefix := "http://127.0.0.1:8081/metrics", ""
		if m[3] == "Envoy" {
			url, prefix = "http://127.0.0.1:9901/stats/prometheus?usedonly", "envoy_"
		}
		envoytest.Eventually(h.t, serveTimeout, m[1]+" is exported", func() error {
			exported, err := h.curl("-f", url)
			if err != nil {
				return err
			}
			series := regexp.MustCompile("(?m)^" + prefix + m[1] + "(?:_bucket)?(\\{.*)").FindString(exported)
			for _, label := range ticked.FindAllStringSubmatch(strings.SplitN(m[2], ":", 2)[0], -1) {
				if !strings.Contains(series, label[1]+`="`) {
					return fmt.Errorf("%q has no label %s", series, label[1])
				}
			}
			return nil
		})
	}
}
