package breaker

import (
	"fmt"
	"testing"

	"github.com/breakwater/breakwater/policy"
)

// Reports that wait while a proxy hangs are of before a reset, all of them.
func TestResetWhileReportsWait(t *testing.T) {
	svc := layer2Service()
	f := start(t, []*policy.Service{svc}, "p1")
	hung := f.envoys["p1"].hangUp(t)
	doubtful := attempts(0, 1)
	doubtful.Services[0].Dropped = 1 // this is asked about, and not answered
	f.Report(doubtful)
	<-hung
	f.Report(attempts(0, 3))
	f.Report(attempts(0, 3))
	f.clear("p1", 0, ResetRequest{Service: svc.Name})
	last := attempts(0, 0)
	last.Services[0].Service, last.Services[0].Hosts[0].Successes = "other", 1
	f.Report(last)
	until(t, "all is reported", func() string {
		f.mu.Lock()
		defer f.mu.Unlock()
		w := f.watchers["p1"]
		if n := len(w.reports); n > 0 || len(w.fresh) > 0 {
			return fmt.Sprintf("%d reports wait, fresh are %v", n, w.fresh)
		}
		return ""
	})
	f.untilState(t, Closed)
	f.untilTold(t)
}
