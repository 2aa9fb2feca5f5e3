package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/breakwater/breakwater/test/shop"
)

// example is a line of a command's help that is a command, with those that it goes on in.
var example = regexp.MustCompile(`(?m)^  ((?:breakwater|envoy) (?:.*\\\n)*.*)$`)

// exampled are the commands that are to have examples, in an order in which these can be run.
var exampled = []string{"serve", "bootstrap", "healthcheck", "demo-upstream"}

// helpExamples are the examples in the help of breakwater's commands, those of exampled first.
func helpExamples(t *testing.T, s *shop.Shop) []string {
	t.Helper()
	var out []string
	names := slices.Clone(exampled)
	for _, name := range subcommands(t, s) {
		if !slices.Contains(exampled, name) {
			names = append(names, name)
		}
	}
	for i, name := range names {
		long, _, _ := strings.Cut(s.Breakwater(t, name, "--help"), "\nUsage:\n")
		found := example.FindAllStringSubmatch(long, -1)
		if len(found) == 0 && i < len(exampled) {
			t.Errorf("%s --help has no example", name)
		}
		for _, m := range found {
			out = append(out, m[1])
		}
	}
	return out
}

// TestHelp runs the examples in the help of commands on a host of their own.
func TestHelp(t *testing.T) {
	t.Parallel()
	s := shop.Start(t)
	if err := os.CopyFS(filepath.Join(s.Dir, "etc", "breakwater", "policies"), os.DirFS(filepath.Join(s.Dir, "examples", "minimal"))); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"etc/envoy", "var/lib"} {
		if err := os.MkdirAll(filepath.Join(s.Dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ofHost := strings.NewReplacer(" /etc/", " "+s.Dir+"/etc/", " /var/lib/", " "+s.Dir+"/var/lib/")
	h, serving := newHost(t, s), map[string]bool{}
	for _, command := range helpExamples(t, s) {
		on := h
		if url := ready(command); serving[url] {
			on = newHost(t, s) // the other one has its ports
		} else if url != "" {
			serving[url] = true
		}
		if err := on.run(ofHost.Replace(fill(command))); err != nil {
			t.Error(err)
		}
		if on != h {
			on.stop()
		}
	}
	h.stop()
}
