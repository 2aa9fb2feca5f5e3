package e2e

import (
	"fmt"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/breakwater/breakwater/test/envoytest"
)

// stateOfTheWorld is the protocol of bootstraps from before incremental xDS.
func stateOfTheWorld(b *bootstrapv3.Bootstrap) {
	b.GetDynamicResources().GetAdsConfig().ApiType = corev3.ApiConfigSource_GRPC
}

func TestStateOfTheWorld(t *testing.T) {
	t.Parallel()
	good, bad, o := envoytest.NewUpstream(t), envoytest.NewUpstream(t), envoytest.NewUpstream(t)
	a := envoytest.NewUpstream(t)
	s := newPlane(t, map[string]string{
		"svc.yaml":   twoHosts(good, bad) + "breaker: {timeout: 10m}\n",
		"other.yaml": other(o, 5),
		"picky.yaml": goodPicky(a, 5),
	})
	s.envoy = s.startEnvoy("old", stateOfTheWorld)
	s.live("/other", o, 5)
	load := s.newLoad("/other", "/picky")

	s.ejectOne("/svc", "svc", bad)
	for seconds := 6; seconds < 9; seconds++ {
		s.write("other.yaml", other(o, seconds))
		s.live("/other", o, seconds)
	}
	s.write("more.yaml", fmt.Sprintf("service: more\nupstream: localhost:%d\nroutes: [{prefix: /more}]\n", o.Port()))
	s.until("a new service answers", func() error {
		if r := s.get("/more"); r.status != 200 {
			return fmt.Errorf("%d", r.status)
		}
		return nil
	})
	s.remove("more.yaml")
	s.until("a removed service is gone", func() error {
		if r := s.get("/more"); r.status != 404 {
			return fmt.Errorf("%d", r.status)
		}
		return nil
	})
	if got := s.ejected("svc"); len(got) != 1 {
		t.Errorf("ejected after edits of others: %v, want %s", got, bad.Addr())
	}

	// Breakwater comes back: the whole state is sent again, and replaces nothing.
	modified := s.modified()
	s.kill()
	s.start()
	s.untilConnected(1)
	s.write("other.yaml", other(o, 9))
	s.live("/other", o, 9)
	if got := s.modified(); got != modified || len(s.ejected("svc")) != 1 {
		t.Errorf("after a restart %d clusters were replaced, and ejected are %v", got-modified, s.ejected("svc"))
	}

	s.run("reset", "svc")
	if got := s.ejected("svc"); len(got) != 0 {
		t.Errorf("ejected after a reset: %v", got)
	}
	s.ejectOne("/svc", "svc", bad)
	s.run("reset", "svc", "--host", bad.Addr())
	if got := s.ejected("svc"); len(got) != 0 {
		t.Errorf("ejected after the reset of one host: %v", got)
	}

	for i, r := range refusables() {
		s.write("picky.yaml", r.bad(a))
		s.untilRefused(r)
		s.write("other.yaml", other(o, 20+i))
		s.live("/other", o, 20+i)
		s.live("/picky", a, 5)
		s.write("picky.yaml", goodPicky(a, 5))
		s.untilNotRefused()
	}
	s.write("picky.yaml", refusables()[0].bad(a))
	s.untilRefused(refusables()[0])
	s.unchanged(2*time.Second, "the number of refused updates", func() uint64 { return s.refused(s.envoy) })
	if got := s.refused(s.envoy); got != 3 {
		t.Errorf("Envoy has refused %d updates for three mistakes", got)
	}
	load.mustBeClean(200)
}

// unchanged looks for some time whether a figure stays what it is.
func (s *stack) unchanged(during time.Duration, what string, look func() uint64) {
	s.t.Helper()
	first := look()
	end := time.NewTimer(during)
	defer end.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-end.C:
			return
		case <-tick.C:
			if got := look(); got != first {
				s.t.Fatalf("%s went from %d to %d", what, first, got)
			}
		}
	}
}
