package breaker

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

// policyWith is a service of which SettingsOf gives standard, with a change.
func policyWith(change func(*policy.Breaker)) *policy.Service {
	s := standard()
	svc := &policy.Service{Name: "a", Breaker: policy.Breaker{
		FailureThreshold: s.FailureThreshold, SuccessThreshold: s.SuccessThreshold, Timeout: s.Timeout, WindowSize: s.WindowSize,
		MinRequests: s.MinRequests, HalfOpenMaxRequests: s.HalfOpenMaxRequests, Backoff: s.Backoff, MaxTimeout: s.MaxTimeout,
	}}
	change(&svc.Breaker)
	return svc
}

// TestForesee: what is foreseen is what Configure and the next report then do, and the board is left as it was.
func TestForesee(t *testing.T) {
	deadlineAt := began.Add
	for _, tt := range []struct {
		name   string
		rig    func(*rig) *rig
		change func(*policy.Breaker)
		want   Foresight
		// next is the state after one success is reported, with the change made.
		next State
	}{
		{
			"an open breaker's deadline", (*rig).open, func(b *policy.Breaker) { b.Timeout = 10 * time.Second },
			Foresight{
				Before: Outlook{State: Open, Until: deadlineAt(time.Minute), Attempts: 5, Failures: 5},
				After:  Outlook{State: Open, Until: deadlineAt(10 * time.Second), Attempts: 5, Failures: 5},
			},
			Open,
		},
		{
			"a window that shrinks", func(r *rig) *rig { return r.report(0, 3).look(1).report(10, 0) },
			func(b *policy.Breaker) { b.WindowSize = 10 },
			Foresight{Before: Outlook{State: Closed, Attempts: 13, Failures: 3}, After: Outlook{State: Closed, Attempts: 10}},
			Closed,
		},
		{
			"a threshold that is reached", func(r *rig) *rig { return r.report(4, 3).look(1) },
			func(b *policy.Breaker) { b.FailureThreshold.N = 3 },
			Foresight{
				Before: Outlook{State: Closed, Attempts: 7, Failures: 3},
				After:  Outlook{State: Closed, Attempts: 7, Failures: 3, Opens: "3 of the last 7 attempts failed"},
			},
			Open,
		},
		{
			"shadow", (*rig).open, func(b *policy.Breaker) { b.Shadow = true },
			Foresight{
				Before: Outlook{State: Open, Until: deadlineAt(time.Minute), Attempts: 5, Failures: 5},
				After:  Outlook{State: Open, Shadow: true, Until: deadlineAt(time.Minute), Attempts: 5, Failures: 5},
			},
			Open,
		},
		{
			"an order in shadow", func(r *rig) *rig {
				return r.took(r.m.ForceOpen(began, Order{Action: Action{Actor: "ann"}}))
			}, func(b *policy.Breaker) { b.Shadow = true },
			Foresight{Before: Outlook{State: ForcedOpen}, After: Outlook{State: ForcedOpen}},
			ForcedOpen,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.rig(newRig(t))
			b := NewBoard(Options{Control: &fakeControl{}, Layers: &fakeControl{}, Proxies: &fakeProxies{}})
			for _, id := range []string{"p2", "p1", "p0"} {
				w := newWatcher(b, xds.Proxy{ID: id}, func() {})
				if id != "p0" { // which has no breaker of the service yet
					w.machines = map[string]*Machine{"a": r.m}
				}
				b.watchers[id] = w
			}
			before := r.m.Snapshot()
			svc := policyWith(tt.change)
			got := b.Foresee(svc, r.now)
			var want []Foresight
			for _, id := range []string{"p1", "p2"} {
				tt.want.Proxy = id
				want = append(want, tt.want)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("foreseen (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, r.m.Snapshot()); diff != "" {
				t.Errorf("the breaker has changed:\n%s", diff)
			}
			r.m.Configure(SettingsOf(svc))
			if got := r.m.outlook(); got != tt.want.After {
				t.Errorf("it came to %+v", got)
			}
			if got := r.report(1, 0).m.Told(); got != tt.next {
				t.Errorf("after a report it is %s, want %s", got, tt.next)
			}
		})
	}
}
