package e2e

import (
	"fmt"
	"testing"
	"time"
)

// TestHistoryOfAnOpenBreaker: what an open breaker refuses is told as such, and is no attempt. What is answered by a fallback
// in its place is neither.
func TestHistoryOfAnOpenBreaker(t *testing.T) {
	t.Parallel()
	plain, served := newScript(t), newScript(t)
	s := newLayer2(t, layer2("plain", plain, time.Minute), layer2("served", served, time.Minute)+"fallback: {status: 200, body: stale}\n")
	s.trip("plain", plain)
	s.mustBeOpen("plain", plain, 7)
	s.trip("served", served)
	for range 7 {
		if r := s.get("/served"); r.header.Get("X-Circuit-Breaker") != "fallback" {
			t.Errorf("%d %v", r.status, r.header)
		}
	}
	want := map[string]string{"plain": "9 attempts, 5 failed, 7 refused", "served": "9 attempts, 5 failed, 0 refused"}
	s.until("all is in the history", func() error {
		var reply struct {
			Services []struct {
				Service                     string
				Attempts, Failures, Refused []int
			}
		}
		s.api("/api/v1/history", &reply)
		got := map[string]string{}
		for _, x := range reply.Services {
			got[x.Service] = fmt.Sprintf("%d attempts, %d failed, %d refused", sum(x.Attempts), sum(x.Failures), sum(x.Refused))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
}

func sum(of []int) (total int) {
	for _, n := range of {
		total += n
	}
	return total
}
