package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
)

// layer2 is a policy of which layer 2 decides: the threshold in the window is reached though no host ever fails so often in a
// row that layer 1 ejects it.
func layer2(u *envoytest.Upstream, more string) string {
	return fmt.Sprintf(`service: svc
upstream: %s
routes: [{prefix: /svc}]
retry: {max_retries: 0}
breaker: {failure_threshold: 5, success_threshold: 2, timeout: 2s, window_size: 100}
%s
`, u.Addr(), more)
}

func TestLayer2TripsAndRecovers(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	s := newStack(t, map[string]string{"svc.yaml": layer2(u, "")})
	start := time.Now()
	for i := range 12 {
		if i%2 == 0 {
			u.Behave(envoytest.Behaviour{})
		} else {
			u.Behave(envoytest.Behaviour{Status: 500})
		}
		s.get("/svc")
	}
	s.untilState("svc", "open", map[string]string{"e2e": "open"})
	fmt.Println("open after", time.Since(start), s.breaker("svc"))
	before := u.Requests()
	r := s.get("/svc")
	fmt.Println(r.status, r.header, r.body, r.took, u.Requests()-before)
	u.Behave(envoytest.Behaviour{})
	s.until("half open", func() error {
		if b := s.breaker("svc"); b.State != "half_open" {
			return fmt.Errorf("%+v", b)
		}
		return nil
	})
	fmt.Println("half open after", time.Since(start))
	s.until("closed", func() error {
		r := s.get("/svc")
		if b := s.breaker("svc"); b.State != "closed" {
			return fmt.Errorf("%+v %d", b, r.status)
		}
		return nil
	})
	fmt.Println("closed after", time.Since(start), u.Requests())
	fmt.Println(tail(s.log.String(), 30))
	_ = http.StatusOK
}
