package breaker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/breakwater/breakwater/policy"
)

// goSilent lets a proxy accept nothing and its admin API answer nothing from now on, as one that is stopped.
func (f *fixture) goSilent(t *testing.T, proxy string) {
	t.Helper()
	f.envoys[proxy].hangUp(t)
	f.control.mu.Lock()
	defer f.control.mu.Unlock()
	f.control.silent = proxy
}

// untilEvent waits for an event of this kind.
func (f *fixture) untilEvent(t *testing.T, kind EventKind) {
	t.Helper()
	until(t, string(kind), func() string {
		events := f.Events(EventFilter{})
		if !slices.ContainsFunc(events, func(e Event) bool { return e.Kind == kind }) {
			return fmt.Sprintf("events %+v", events)
		}
		return ""
	})
}

// answered is what a reset has answered.
type answered struct {
	ResetResult
	err error
}

// resetInBackground begins a reset of svc. leave lets its caller leave; the answer comes once.
func (f *fixture) resetInBackground(t *testing.T) (leave func(), answer <-chan answered) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c, ended := make(chan answered, 1), make(chan struct{})
	go func() {
		defer close(ended)
		r, err := f.Reset(ctx, ResetRequest{Service: "svc"})
		c <- answered{r, err}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return cancel, c
}

// While a reset waits for a proxy, the other is reset, and follows an order for the same service, which goes before it.
func TestOrderWhileAResetWaits(t *testing.T) {
	t.Parallel()
	f := start(t, []*policy.Service{layer2Service()}, "p1", "p2")
	for _, e := range f.envoys {
		e.set("svc", "e.")
	}
	f.goSilent(t, "p2")
	_, answer := f.resetInBackground(t)
	f.untilEvent(t, WasReset)
	left, gone := context.WithCancel(t.Context())
	gone()
	if _, err := f.Order(left, OrderRequest{Service: "svc", State: Disabled}); !errors.Is(err, context.Canceled) || len(f.Orders()) > 0 {
		t.Errorf("an order whose caller has left: %v, orders %+v", err, f.Orders())
	}
	began := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	ordered := make(chan OrderResult, 1)
	go func() {
		r, err := f.Order(ctx, OrderRequest{Service: "svc", State: ForcedOpen, Action: Action{Actor: "ann"}})
		if err != nil {
			t.Errorf("order: %v", err)
		}
		ordered <- r
	}()
	f.untilTold(t, shut)
	if took := time.Since(began); took > ackTimeout/2 {
		t.Errorf("the order reached the proxy that answers after %s", took)
	}
	if r := <-answer; r.err != nil || !strings.Contains(r.Proxies[0].Note, "since then it was forced open by ann") {
		t.Errorf("the reset answers %+v", r)
	}
	cancel()
	<-ordered
	for _, proxy := range []string{"p1", "p2"} {
		if _, operator := f.control.layers(proxy); operator.keys["upstream.maintenance_mode.svc"] == nil {
			t.Errorf("%s is told %v: the order was stored after the reset", proxy, operator)
		}
	}
}

// A reset that has begun is carried out though its caller leaves.
func TestResetWhoseCallerLeaves(t *testing.T) {
	t.Parallel()
	f := start(t, []*policy.Service{layer2Service()}, "p1", "p2")
	f.Report(attempts(0, 3))
	f.untilTold(t, shut)
	f.goSilent(t, "p2")
	leave, answer := f.resetInBackground(t)
	f.untilEvent(t, WasReset)
	leave()
	f.untilTold(t)
	if r := <-answer; r.err != nil || r.OK() {
		t.Errorf("%+v", r)
	}
}

// A reset that is stored after an order ends it, and the answer to the order says so.
func TestResetWhileAnOrderWaits(t *testing.T) {
	t.Parallel()
	f := start(t, []*policy.Service{layer2Service()}, "p1", "p2")
	f.goSilent(t, "p2")
	ordered := make(chan OrderResult, 1)
	go func() {
		r, err := f.Order(t.Context(), OrderRequest{Service: "svc", State: ForcedOpen})
		if err != nil {
			t.Errorf("order: %v", err)
		}
		ordered <- r
	}()
	f.untilTold(t, shut)
	f.resetInBackground(t)
	f.untilTold(t)
	if r := <-ordered; len(f.Orders()) > 0 || !strings.Contains(r.Proxies[0].Note, "another action has taken its place") {
		t.Errorf("orders %+v, answer %+v", f.Orders(), r)
	}
}

// An order expires in every proxy though a reset waits for one.
func TestOrderExpiresWhileAResetWaits(t *testing.T) {
	t.Parallel()
	f := start(t, []*policy.Service{service("other"), layer2Service()}, "p1", "p2")
	f.envoys["p1"].set("svc", "e.")
	if _, err := f.Order(t.Context(), OrderRequest{Service: "other", State: Disabled, TTL: 1500 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	f.goSilent(t, "p2")
	_, answer := f.resetInBackground(t)
	until(t, "hosts of the other service are ejected again", func() string {
		f.control.mu.Lock()
		defer f.control.mu.Unlock()
		if f.control.disabled["other"] {
			return "they are not"
		}
		return ""
	})
	select {
	case r := <-answer:
		t.Errorf("the reset does not wait: %+v", r)
	default:
	}
}
