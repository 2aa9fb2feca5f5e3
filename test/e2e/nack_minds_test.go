package e2e

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/breakwater/breakwater/test/envoytest"
)

// mustHave waits until Envoy's own dump of its configuration has all of these texts.
func (s *stack) mustHave(e *envoytest.Process, texts ...string) {
	s.t.Helper()
	s.until(fmt.Sprintf("the Envoy has %q", texts), func() error {
		dump, err := s.fetch("http://" + e.AdminAddr + "/config_dump?resource=dynamic_route_configs")
		for _, text := range texts {
			if err == nil && !strings.Contains(dump, text) {
				err = errors.New("it has no " + text)
			}
		}
		return err
	})
}

// shown waits until these rejections of services are shown, each as "service [proxies]", with "partial" behind it if
// others keep it.
func (s *stack) shown(want ...string) {
	s.t.Helper()
	s.until(fmt.Sprintf("rejected are %q", want), func() error {
		var got []string
		for _, r := range s.config().Rejections {
			text := fmt.Sprintf("%s %v", r.Service, r.Proxies)
			if r.Partial {
				text += " partial"
			}
			got = append(got, text)
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
}

// TestOneEnvoyRejects: a policy that one of two Envoys rejects is in effect on neither, and every other edit of the same
// save is on both. Nobody is blamed because Envoy's text has something of it: the text of each such rejection has a "/".
func TestOneEnvoyRejects(t *testing.T) {
	t.Parallel()
	a, b := envoytest.NewUpstream(t), envoytest.NewUpstream(t)
	s := newPlane(t, map[string]string{"all.yaml": goodPicky(a, 5) + "---\n" + other(b, 5)})
	older, newer := s.startEnvoy("older", strict), s.startEnvoy("newer")
	s.envoy = older
	load := s.newLoad("/picky", "/other") // both Envoys listen on the gateway's port
	bad := refusables()[0].bad(a)
	edited := func(seconds int) string {
		return strings.Replace(other(b, seconds), "/other}", "/other, rewrite: /}", 1)
	}
	good := func(seconds int) {
		t.Helper()
		for _, e := range []*envoytest.Process{older, newer} {
			s.mustHave(e, fmt.Sprintf(`"timeout": "%ds"`, seconds), `"/picky"`)
			s.mustHaveGoodPicky(e)
		}
	}
	for i, save := range []string{bad + "---\n" + edited(6), edited(7) + "---\n" + bad} {
		s.write("all.yaml", save)
		s.shown("picky [older]")
		good(6 + i)
	}
	if got := s.refused(newer); got != 0 {
		t.Errorf("the newer Envoy has refused %d updates: it has seen a trial", got)
	}
	refused := s.refused(older)
	for seconds := 8; seconds < 11; seconds++ {
		s.write("all.yaml", edited(seconds)+"---\n"+bad)
		good(seconds)
	}
	if got := s.refused(older); got != refused {
		t.Errorf("what was rejected was sent again: %d updates were refused, and then %d", refused, got)
	}
	s.write("all.yaml", goodPicky(a, 11)+"---\n"+edited(12))
	s.shown()
	good(11)
	good(12)
	load.mustBeClean(50)
}

var updatedClusters = regexp.MustCompile(`cds: added/updated (\d+) cluster\(s\)`)

// updated is how many clusters an Envoy has added or replaced, by its log: its counter has those too that it rejected.
func updated(t *testing.T, e *envoytest.Process) int {
	t.Helper()
	sum := 0
	for _, m := range updatedClusters.FindAllStringSubmatch(e.Log(), -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}

// TestClusterBesideARejectedOne: the edit of a cluster beside one that is rejected is made once on each Envoy.
func TestClusterBesideARejectedOne(t *testing.T) {
	t.Parallel()
	a, b := envoytest.NewUpstream(t), envoytest.NewUpstream(t)
	s := newStack(t, map[string]string{"all.yaml": goodPicky(a, 5) + "---\n" + other(b, 8)})
	second := s.startEnvoy("second")
	load := s.newLoad("/picky", "/other")
	rejected := func() {
		t.Helper()
		s.until("picky is rejected", func() error {
			if r := s.config().Rejections; len(r) != 1 || r[0].Service != "picky" || r[0].Partial {
				return fmt.Errorf("%+v", r)
			}
			return nil
		})
	}
	once := func() {
		t.Helper()
		for _, e := range []*envoytest.Process{s.envoy, second} {
			s.until("the other cluster is replaced", func() error {
				if got := updated(t, e); got != 3 {
					return fmt.Errorf("%d clusters were added or replaced, want two and one", got)
				}
				return nil
			})
			s.mustHaveGoodPicky(e)
		}
	}
	s.write("all.yaml", refusables()[1].bad(a)+"---\n"+strings.Replace(other(b, 8), "8s", "8s, connect: 7s", 1))
	rejected()
	once()
	// After a restart right behind it the content is the same, and nothing is replaced again.
	s.kill()
	s.start()
	s.untilConnected(2)
	rejected()
	once()
	load.mustBeClean(50)
}

// TestUpgradedEnvoy: one that joins and rejects what all others have serves all other services.
func TestUpgradedEnvoy(t *testing.T) {
	t.Parallel()
	a, b := envoytest.NewUpstream(t), envoytest.NewUpstream(t)
	s := newPlane(t, map[string]string{"picky.yaml": refusables()[0].bad(a), "other.yaml": other(b, 5)})
	s.envoy = s.startEnvoy("newer")
	s.live("/other", b, 5)
	s.untilAccepted()
	joins := s.startEnvoy("joins", strict)
	s.shown("picky [joins] partial")
	if out := s.run("status"); !strings.Contains(out, "while others accepted it") {
		t.Errorf("status says:\n%s", out)
	}
	s.explained("picky", "joins: requests to it fail: Envoy rejected this policy, which other proxies accepted")
	s.mustHave(joins, `"/other"`)
	for seconds := 6; seconds < 9; seconds++ {
		s.write("other.yaml", other(b, seconds))
		for _, e := range []*envoytest.Process{s.envoy, joins} {
			s.mustHave(e, fmt.Sprintf(`"timeout": "%ds"`, seconds))
		}
		s.mustHave(s.envoy, `pL{200}`)
	}
	s.write("picky.yaml", goodPicky(a, 11))
	s.shown()
	s.mustHave(joins, `"/picky"`, `"timeout": "11s"`)
}
