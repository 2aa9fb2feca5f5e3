package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/test/envoytest"
)

// refusable is a policy that Breakwater takes for valid and Envoy refuses.
type refusable struct {
	name string
	// bad is the policy of the service picky on that upstream; good is the one before.
	bad  func(u *envoytest.Upstream) string
	line int
	// text is what Envoy says, in part, and kind the type of what it refuses.
	text, kind string
}

// strict has an Envoy refuse expressions that one with our bootstrap as it is accepts.
var strict = envoytest.MaxProgramSize(100)

// newStrict is newStack with a strict Envoy.
func newStrict(t testing.TB, files map[string]string) *stack {
	t.Helper()
	s := newPlane(t, files)
	s.envoy = s.startEnvoy("e2e", strict)
	return s
}

func goodPicky(u *envoytest.Upstream, seconds int) string {
	return fmt.Sprintf("service: picky\nupstream: %s\nroutes: [{prefix: /picky}]\ntimeout: {request: %ds}\n", u.Addr(), seconds)
}

func other(u *envoytest.Upstream, seconds int) string {
	return fmt.Sprintf("service: other\nupstream: %s\nroutes: [{prefix: /other}]\ntimeout: {request: %ds}\n", u.Addr(), seconds)
}

// refusables are one policy whose routes are refused, and with them Envoy's whole route table, and one whose cluster is.
func refusables() []refusable {
	return []refusable{
		{
			name: "a regex above RE2's program size in Envoy",
			bad: func(u *envoytest.Upstream) string {
				return fmt.Sprintf("service: picky\nupstream: %s\nroutes:\n  - prefix: /picky\n  - regex: '/picky/\\pL{200}'\n", u.Addr())
			},
			line: 5, text: "max program size", kind: "route",
		},
		{
			name: "a certificate authority that is not on Envoy's host",
			bad: func(u *envoytest.Upstream) string {
				return fmt.Sprintf("service: picky\nupstream: https://%s\nroutes: [{prefix: /picky}]\ntls:\n  ca_file: /nonexistent/ca.pem\n", u.Addr())
			},
			line: 5, text: "/nonexistent/ca.pem", kind: "cluster",
		},
	}
}

// refused is how many updates an Envoy has refused, by its own count.
func (s *stack) refused(e *envoytest.Process) uint64 {
	s.t.Helper()
	stats, err := e.Admin().Stats(s.t.Context(), envoy.StatsQuery{Filter: `\.update_rejected$`, Type: envoy.Counters})
	if err != nil {
		s.t.Fatal(err)
	}
	var n uint64
	for _, v := range stats {
		n += v
	}
	return n
}

// untilRefused waits until the rejection of picky's policy is shown, and checks that it is said once,
// with Envoy's words, at its line, by the API and by the status command.
func (s *stack) untilRefused(r refusable) {
	s.t.Helper()
	var got []rejection
	s.until("the rejection is shown", func() error {
		if got = s.config().Rejections; len(got) == 0 || got[0].Partial || !strings.Contains(got[0].Message, r.text) {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	place := fmt.Sprintf("picky.yaml:%d:", r.line)
	if len(got) != 1 || got[0].Service != "picky" || !strings.HasPrefix(got[0].Position.String(), place) || len(got[0].Proxies) == 0 {
		s.t.Errorf("the rejections are %+v, want one of picky at %s with %q", got, place, r.text)
	}
	file, err := os.ReadFile(filepath.Join(s.dir, "picky.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	var want []excerptLine
	for i, text := range strings.Split(strings.TrimSuffix(string(file), "\n"), "\n") {
		if line := i + 1; line >= r.line-2 && line <= r.line+2 {
			want = append(want, excerptLine{line, text})
		}
	}
	if !slices.Equal(got[0].Excerpt, want) {
		s.t.Errorf("the excerpt is %+v, want %+v", got[0].Excerpt, want)
	}
	out := s.run("status")
	if !strings.Contains(out, "rejected: "+place) || !strings.Contains(out, r.text) {
		s.t.Errorf("status says:\n%s", out)
	}
}

func (s *stack) untilNotRefused() {
	s.t.Helper()
	s.until("no rejection is shown", func() error {
		if got := s.config(); len(got.Rejections) > 0 || !got.OK {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
}

// mustCountNACKs checks that n mistakes were rejected as resources of that type, and nothing else was: a table with other
// edits in it is rejected before it is found out which edit is at fault. Breakwater's count and Envoy's are the same.
func (s *stack) mustCountNACKs(kind string, n int) {
	s.t.Helper()
	for _, k := range []string{"cluster", "endpoint", "listener", "route", "runtime"} {
		got := s.metric(fmt.Sprintf("breakwater_xds_nacks_total{type=%q}", k))
		if k != kind && got != 0 || k == kind && (got < float64(n) || got > float64(2*n)) {
			s.t.Errorf("%v NACKs of type %s for %d mistakes of type %s", got, k, n, kind)
		}
		if refused := s.refused(s.envoy); k == kind && refused != uint64(got) {
			s.t.Errorf("Envoy has refused %d updates, and Breakwater counts %v", refused, got)
		}
	}
}

func TestPolicyThatOnlyEnvoyRefuses(t *testing.T) {
	t.Parallel()
	for _, r := range refusables() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			a, b := envoytest.NewUpstream(t), envoytest.NewUpstream(t)
			s := newStrict(t, map[string]string{"picky.yaml": goodPicky(a, 5), "other.yaml": other(b, 5)})
			s.live("/picky", a, 5)
			load := s.newLoad("/picky", "/other")

			s.write("picky.yaml", r.bad(a))
			s.write("other.yaml", other(b, 6))
			s.live("/other", b, 6)
			s.untilRefused(r)
			s.mustCountNACKs(r.kind, 1)
			for seconds := 7; seconds < 12; seconds++ {
				s.write("other.yaml", other(b, seconds))
				s.live("/other", b, seconds)
			}
			s.write("third.yaml", fmt.Sprintf("service: third\nupstream: %s\nroutes: [{prefix: /third}]\n", b.Addr()))
			s.until("a new service beside it is served", func() error {
				if got := s.get("/third"); got.status != http.StatusOK {
					return fmt.Errorf("%d: %s", got.status, got.body)
				}
				return nil
			})
			s.live("/picky", a, 5)
			s.untilRefused(r)
			s.mustCountNACKs(r.kind, 1)

			// The same mistake with another edit of the same service is a new version: it is
			// sent, refused and shown, once.
			before := s.refused(s.envoy)
			s.write("picky.yaml", r.bad(a)+"timeout: {connect: 2s}\nretry: {max_retries: 1}\n")
			s.until("the next version is refused", func() error {
				if got := s.refused(s.envoy); got != before+1 {
					return fmt.Errorf("%d were refused", got)
				}
				return nil
			})
			s.untilRefused(r)
			s.mustCountNACKs(r.kind, 2)
			s.live("/picky", a, 5)

			s.write("picky.yaml", goodPicky(a, 8))
			s.live("/picky", a, 8)
			s.untilNotRefused()
			s.mustCountNACKs(r.kind, 2)
			load.mustBeClean(100)
		})
	}
}

func TestNewServiceThatOnlyEnvoyRefuses(t *testing.T) {
	t.Parallel()
	for _, r := range refusables() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			a, b := envoytest.NewUpstream(t), envoytest.NewUpstream(t)
			s := newStrict(t, map[string]string{"other.yaml": other(b, 5)})
			s.live("/other", b, 5)
			load := s.newLoad("/other")
			s.write("picky.yaml", r.bad(a))
			s.write("other.yaml", other(b, 6))
			s.live("/other", b, 6)
			s.untilRefused(r)
			for seconds := 7; seconds < 10; seconds++ {
				s.write("other.yaml", other(b, seconds))
				s.live("/other", b, seconds)
			}
			if got := s.get("/picky").status; got != http.StatusNotFound {
				t.Errorf("the service that was left out answers %d", got)
			}
			s.untilRefused(r)
			s.mustCountNACKs(r.kind, 1)
			s.write("picky.yaml", goodPicky(a, 5))
			s.live("/picky", a, 5)
			s.untilNotRefused()
			s.write("picky.yaml", r.bad(a))
			s.untilRefused(r)
			s.remove("picky.yaml")
			s.untilNotRefused()
			load.mustBeClean(50)
		})
	}
}

// TestRestartWithARefusedPolicyOnDisk: the last accepted version goes on, in the Envoy that has it and in
// one that joins.
func TestRestartWithARefusedPolicyOnDisk(t *testing.T) {
	t.Parallel()
	for _, r := range refusables() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			a, b := envoytest.NewUpstream(t), envoytest.NewUpstream(t)
			s := newStrict(t, map[string]string{"picky.yaml": goodPicky(a, 5), "other.yaml": other(b, 5)})
			s.live("/picky", a, 5)
			s.live("/other", b, 5)
			load := s.newLoad("/picky", "/other")
			s.write("picky.yaml", r.bad(a))
			s.untilRefused(r)

			// Whoever joins now gets what was accepted, and is not tried with what was not.
			second := s.startEnvoy("second", strict)
			s.mustHaveGoodPicky(second)
			if got := s.refused(second); got != 0 {
				t.Errorf("the new Envoy has refused %d updates, want none: it was to get the accepted version", got)
			}

			s.kill()
			s.start()
			s.untilRefused(r)
			s.live("/picky", a, 5)
			s.write("other.yaml", other(b, 6))
			s.live("/other", b, 6)
			s.live("/picky", a, 5)
			if got := s.refused(s.envoy); got > 4 {
				t.Errorf("Envoy has refused %d updates, want at most two in each life of Breakwater", got)
			}
			s.mustHaveGoodPicky(s.startEnvoy("third", strict))
			load.mustBeClean(100)
		})
	}
}

// mustHaveGoodPicky checks in Envoy's own dump of its configuration that it serves picky by its accepted policy.
func (s *stack) mustHaveGoodPicky(e *envoytest.Process) {
	s.t.Helper()
	s.until("the Envoy has the accepted version of picky", func() error {
		dump, err := s.fetch("http://" + e.AdminAddr + "/config_dump")
		switch {
		case err != nil:
			return err
		case !strings.Contains(dump, `"/picky"`):
			return errors.New("it has no route to picky")
		case strings.Contains(dump, "pL{200}") || strings.Contains(dump, "ca.pem"):
			return errors.New("it has the refused version")
		}
		c, err := e.Admin().Clusters(s.t.Context(), "picky")
		if err == nil && len(c.GetClusterStatuses()) == 0 {
			err = errors.New("it has no cluster of picky")
		}
		return err
	})
}
