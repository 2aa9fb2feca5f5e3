package e2e

import (
	"errors"
	"fmt"
	"slices"
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

// TestEnvoysOfTwoMinds: a policy that an older Envoy refuses and a newer one accepts. The newer has it, the older goes on
// with the one before, and both get every other edit.
func TestEnvoysOfTwoMinds(t *testing.T) {
	t.Parallel()
	a, b := envoytest.NewUpstream(t), envoytest.NewUpstream(t)
	s := newPlane(t, map[string]string{"picky.yaml": goodPicky(a, 5), "other.yaml": other(b, 5)})
	older, newer := s.startEnvoy("older", strict), s.startEnvoy("newer")
	s.envoy = older
	load := s.newLoad("/picky", "/other") // both Envoys listen on the gateway's port
	bad := refusables()[0]
	s.write("picky.yaml", bad.bad(a))
	rejected := func(partial bool, by ...string) {
		t.Helper()
		s.until(fmt.Sprintf("the rejection is shown, partial %t", partial), func() error {
			got := s.config().Rejections
			if len(got) != 1 || got[0].Partial != partial || got[0].Service != "picky" || !slices.Equal(got[0].Proxies, by) ||
				!strings.HasPrefix(got[0].Position.String(), fmt.Sprintf("picky.yaml:%d:", bad.line)) {
				return fmt.Errorf("%+v", got)
			}
			return nil
		})
	}
	rejected(true, "older")
	s.mustHave(newer, `pL{200}`)
	s.mustHaveGoodPicky(older)
	for seconds := 6; seconds < 9; seconds++ {
		s.write("other.yaml", other(b, seconds))
		s.mustHave(newer, `pL{200}`, fmt.Sprintf(`"timeout": "%ds"`, seconds))
		s.mustHave(older, `"/picky"`, fmt.Sprintf(`"timeout": "%ds"`, seconds))
	}
	s.write("third.yaml", fmt.Sprintf("service: third\nupstream: %s\nroutes: [{prefix: /third}]\n", b.Addr()))
	s.mustHave(newer, `"/third"`)
	s.mustHave(older, `"/third"`)
	if got := s.refused(older); got != 1 {
		t.Errorf("the older Envoy has refused %d updates, want 1", got)
	}
	load.mustBeClean(50) // before an Envoy ends, which loses what waits at its socket
	// One that joins is tried once, for it may be a newer one.
	late := s.startEnvoy("late", strict)
	s.mustHaveGoodPicky(late)
	rejected(true, "late", "older")
	late.Stop()

	newer.Stop()
	rejected(false, "older")
	s.live("/picky", a, 5)
	s.write("other.yaml", other(b, 9))
	s.live("/other", b, 9)
	after := s.startEnvoy("after", strict)
	s.mustHaveGoodPicky(after)
	if got := s.refused(after); got != 0 {
		t.Errorf("an Envoy that joins when all reject it has refused %d updates, want none", got)
	}
	s.write("picky.yaml", goodPicky(a, 8))
	s.live("/picky", a, 8)
	s.untilNotRefused()
}
