package docs

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/breakwater/breakwater/envoy/child"
	"github.com/breakwater/breakwater/test/envoytest"
	"github.com/breakwater/breakwater/test/shop"
)

// fails are the commands of which a document says that they fail.
var fails = map[string]bool{
	"release SERVICE --proxy edge-2": true,
}

// goesOn are breakwater's commands that print what there is, and go on until Ctrl-C.
var goesOn = regexp.MustCompile(`^bin/breakwater (watch|events\b.* --follow)\b`)

// An Envoy that connected and has disconnected.
const (
	comes = `bin/breakwater bootstrap --node-id edge-2 --admin "$EDGE_ADMIN" > edge-2.yaml
timeout 50 envoy -c edge-2.yaml --disable-hot-restart --log-level off & pid=$!
until bin/breakwater proxies | grep edge-2; do sleep 0.1; done
`
	goes = `
kill $pid
until curl -s "http://$BREAKWATER_HTTP/metrics" | grep '^breakwater_proxy_connected{proxy="edge-2"} 0'; do sleep 0.1; done
`
)

// before are what a document presupposes where it names a command.
var before = map[string]string{
	"forget PROXY":                   comes + goes,
	"breakwater forget PROXY":        comes + goes,
	"release SERVICE --proxy edge-2": comes + "bin/breakwater force-open fraud-service --proxy edge-2 --reason drill" + goes,
}

// narrowed is the environment in which targets of the Makefile do for little what they do for all.
var narrowed = []string{"PKGS=./policy", "TESTFLAGS=-run=TestPercent -count=1", "BENCHTIME=1x", "FUZZTIME=1x"}

// reader runs the commands of sentences.
type reader struct {
	t *testing.T
	s *shop.Shop
	// commands are breakwater's.
	commands []string
}

var listed = regexp.MustCompile(`(?m)^  ([a-z-]+) +[A-Z]`)

func newReader(t *testing.T, s *shop.Shop) *reader {
	t.Helper()
	return &reader{t: t, s: s, commands: subcommands(t, s)}
}

// subcommands are breakwater's commands.
func subcommands(t *testing.T, s *shop.Shop) []string {
	t.Helper()
	var out []string
	for _, m := range listed.FindAllStringSubmatch(s.Breakwater(t, "--help"), -1) {
		out = append(out, m[1])
	}
	if len(out) == 0 {
		t.Fatal("breakwater --help lists no commands")
	}
	return out
}

// run runs a command as often as it has forms.
func (r *reader) run(sp span) {
	r.t.Helper()
	for _, form := range sp.forms() {
		text := strings.TrimPrefix(form, "bin/")
		if first, _, _ := strings.Cut(text, " "); slices.Contains(r.commands, first) {
			text = "breakwater " + text
		}
		if strings.HasPrefix(text, "breakwater ") {
			text = "bin/" + text
		}
		text = fill(strings.ReplaceAll(text, "/path/to/envoy", `"$ENVOY"`))
		if ready(text) != "" {
			h := newHost(r.t, r.s)
			if err := h.run(text); err != nil {
				r.t.Errorf("%s:%d: %v", sp.document, sp.line, err)
			}
			h.stop()
			continue
		}
		text = r.s.Rewrite(text)
		dir, env := r.s.Dir, r.s.Env
		if strings.HasPrefix(text, "make ") {
			dir, env = r.s.Root, slices.Concat(env, narrowed)
		}
		if script := before[sp.text]; script != "" {
			admin := fmt.Sprintf("EDGE_ADMIN=127.0.0.1:%d", envoytest.FreePort(r.t))
			if out, err := sh(r.t, dir, slices.Concat(env, []string{admin}), script); err != nil {
				r.t.Errorf("%s:%d: before `%s`: %v\n%s", sp.document, sp.line, sp.text, err, out)
			}
		}
		if goesOn.MatchString(text) {
			r.follow(sp, text)
			continue
		}
		out, err := sh(r.t, dir, env, text)
		switch failed := err != nil; {
		case failed && !fails[sp.text]:
			r.t.Errorf("%s:%d: `%s`: %s: %v\n%s", sp.document, sp.line, sp.text, text, err, out)
		case !failed && fails[sp.text]:
			r.t.Errorf("%s:%d: `%s` does not fail\n%s", sp.document, sp.line, sp.text, out)
		}
	}
}

// follow runs a command that goes on until it has printed something, and ends it as Ctrl-C does.
func (r *reader) follow(sp span, text string) {
	r.t.Helper()
	var out envoytest.Output
	cmd := exec.Command("bash", "-c", "exec "+text)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = r.s.Dir, r.s.Env, &out, &out
	p, err := child.Start(cmd)
	if err != nil {
		r.t.Fatal(err)
	}
	defer p.Stop(stopGrace)
	end := time.After(blockTimeout)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for out.String() == "" {
		select {
		case <-p.Done():
			r.t.Errorf("%s:%d: `%s`: %s has ended: %v\n%s", sp.document, sp.line, sp.text, text, p.Err(), out.String())
			return
		case <-end:
			r.t.Errorf("%s:%d: `%s`: %s prints nothing", sp.document, sp.line, sp.text, text)
			return
		case <-tick.C:
		}
	}
	if err := p.Signal(syscall.SIGINT); err == nil {
		select {
		case <-p.Done():
		case <-end:
		}
	}
	p.Stop(stopGrace)
	if err := p.Err(); err != nil || strings.Contains(out.String(), "error") {
		r.t.Errorf("%s:%d: `%s`: %s, ended by Ctrl-C: %v\n%s", sp.document, sp.line, sp.text, text, err, out.String())
	}
}
