package breaker

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/store"
	"github.com/breakwater/breakwater/xds"
)

// hooked is a Memory that says when a document is being saved, and can fail then.
type hooked struct {
	*store.Dir
	mu sync.Mutex
	// onSave, unless nil, is called before each save; guarded by mu.
	onSave func(name string, v any) error
}

func (h *hooked) Save(name string, v any) error {
	h.mu.Lock()
	onSave := h.onSave
	h.mu.Unlock()
	if onSave != nil {
		if err := onSave(name, v); err != nil {
			return err
		}
	}
	return h.Dir.Save(name, v)
}

func (h *hooked) hook(onSave func(name string, v any) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onSave = onSave
}

// onceWhileOrdersAreSaved does something while the orders are being saved next.
func (h *hooked) onceWhileOrdersAreSaved(do func()) {
	var once sync.Once
	h.hook(func(name string, _ any) error {
		if name == ordersDoc {
			once.Do(do)
		}
		return nil
	})
}

// untilParked waits until what a proxy had open is parked.
func (f *fixture) untilParked(t *testing.T, proxy string) {
	t.Helper()
	until(t, "its breakers are parked", func() string {
		f.mu.Lock()
		defer f.mu.Unlock()
		if p := f.parked[proxy]; len(p.Snapshots) == 0 {
			return fmt.Sprintf("%+v", f.parked)
		}
		return ""
	})
}

// A proxy that connects while an order is saved is told, and is in the answer.
func TestOrderReachesAProxyThatConnectsMeanwhile(t *testing.T) {
	kept := &hooked{Dir: memory(t)}
	f := startWith(t, Options{Memory: kept}, []*policy.Service{layer2Service()}, "p1")
	p := f.proxies.Connected()[0]
	f.proxies.connect()
	f.await(t, func(h map[string]ProxyHealth) bool { return len(h) == 0 })
	kept.onceWhileOrdersAreSaved(func() { f.speak(t, p) })
	r, err := f.Order(t.Context(), OrderRequest{Service: "svc", State: ForcedOpen})
	if err != nil || !r.OK() {
		t.Errorf("%+v, %v", r, err)
	}
}

// What an order and a reset did is asked of the stream that speaks for the proxy by then.
func TestActionWhileAnotherStreamComes(t *testing.T) {
	kept := &hooked{Dir: memory(t)}
	f := startWith(t, Options{Memory: kept}, []*policy.Service{layer2Service()}, "p1")
	p, mute := f.proxies.Connected()[0], f.again()
	mute.AdminAddress = ""
	f.speak(t, mute)
	kept.onceWhileOrdersAreSaved(func() { f.speak(t, p) })
	if r, err := f.Order(t.Context(), OrderRequest{Service: "svc", State: ForcedOpen}); err != nil || !r.OK() {
		t.Errorf("order: %+v, %v", r, err)
	}
	f.speak(t, mute)
	kept.onceWhileOrdersAreSaved(func() { f.speak(t, p) })
	if r, err := f.Reset(t.Context(), ResetRequest{Service: "svc"}); err != nil || !r.OK() {
		t.Errorf("reset: %+v, %v", r, err)
	}
}

// The end of an order is carried out though another action comes just when its time is over.
func TestOrderBesideAnExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeControl{disabled: map[string]bool{}}
		c.serve(service("a"), service("b"))
		b := NewBoard(Options{Control: c, Proxies: &fakeProxies{changed: make(chan struct{})}, Layers: c, Memory: memory(t)})
		if _, err := b.Order(t.Context(), OrderRequest{Service: "a", State: Disabled, TTL: time.Minute}); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Minute) // nothing has carried out its end yet
		if _, err := b.Order(t.Context(), OrderRequest{Service: "b", State: ForcedOpen}); err != nil {
			t.Fatal(err)
		}
		if _, ok := b.orders[orderKey{"a", ""}]; !ok {
			t.Error("a's order is forgotten, and its hosts are ejected no more")
		}
		if o := b.Orders(); len(o) != 1 || o[0].Service != "b" {
			t.Errorf("in force are %+v", o)
		}
	})
}

// openAll opens svc in all proxies.
func (f *fixture) openAll(t *testing.T) {
	t.Helper()
	proxies := f.proxies.Connected()
	for _, p := range proxies {
		r := attempts(0, 3)
		r.Proxy = p.ID
		f.Report(r)
	}
	until(t, "all are open", func() string {
		f.mu.Lock()
		defer f.mu.Unlock()
		b := f.breaker("svc")
		if len(b.Proxies) != len(proxies) || slices.ContainsFunc(b.Proxies, func(p ProxyBreaker) bool { return p.State != Open }) {
			return fmt.Sprintf("%+v", b)
		}
		return ""
	})
}

// A reset closes the breaker of a proxy, too, that is not connected, and of one that is back and not watched yet.
func TestResetOfAProxyThatIsNotConnected(t *testing.T) {
	kept := memory(t)
	f := startWith(t, Options{Memory: kept, Lease: time.Minute}, []*policy.Service{layer2Service()}, "p1", "p2", "p3")
	all := f.proxies.Connected()
	f.openAll(t)
	f.proxies.connect(all[0])
	f.untilParked(t, "p2")
	f.untilParked(t, "p3")
	if keys := f.Join(all[2]).Breaker.Keys.AsMap(); keys["upstream.maintenance_mode.svc"] == nil {
		t.Errorf("p3 comes back within its lease, and is told %v", keys)
	}
	if r, err := f.Reset(t.Context(), ResetRequest{Service: "svc"}); err != nil || !r.OK() {
		t.Fatalf("%+v, %v", r, err)
	}
	killed := NewBoard(Options{Control: f.control, Proxies: f.proxies, Layers: f.control, Memory: kept, Lease: time.Minute})
	for what, b := range map[string]*Board{"before a crash": f.Board, "after a crash": killed} {
		for _, p := range all[1:] {
			if keys := b.Join(p).Breaker.Keys.AsMap(); keys["upstream.maintenance_mode.svc"] != nil {
				t.Errorf("%s comes back %s, and is told %v", p.ID, what, keys)
			}
		}
	}
}

// A reset closes the breaker of a proxy, too, whose stream is cut while the reset waits for it.
func TestResetOfAProxyThatIsCutOff(t *testing.T) {
	t.Parallel()
	f := startWith(t, Options{Lease: time.Minute}, []*policy.Service{layer2Service()}, "p1", "p2")
	all := f.proxies.Connected()
	f.openAll(t)
	f.envoys["p1"].set("svc", "e.") // so that there is something to wait for
	f.goSilent(t, "p2")
	_, answer := f.resetInBackground(t)
	f.untilEvent(t, WasReset)
	f.proxies.connect(all[0])
	f.untilParked(t, "p2")
	if r := <-answer; r.err != nil {
		t.Errorf("%+v", r)
	}
	if keys := f.Join(all[1]).Breaker.Keys.AsMap(); keys["upstream.maintenance_mode.svc"] != nil {
		t.Errorf("it comes back, and is told %v", keys)
	}
}

// What is being saved is not changed by a service that goes meanwhile.
func TestServiceGoesWhileStatesAreSaved(t *testing.T) {
	kept := &hooked{Dir: memory(t)}
	f := startWith(t, Options{Memory: kept, Lease: time.Minute}, []*policy.Service{layer2Service()}, "p1")
	f.openAll(t)
	saving, gone := make(chan int, 100), make(chan struct{})
	kept.hook(func(name string, v any) error {
		if breakers, ok := v.(map[string]parked); ok && len(breakers["p1"].Snapshots) > 0 {
			select {
			case saving <- 0:
			default:
			}
			<-gone
			select {
			case saving <- len(breakers["p1"].Snapshots):
			default:
			}
		}
		return nil
	})
	f.proxies.connect()
	f.untilParked(t, "p1")
	f.unsaved()
	<-saving
	f.control.serve(service("other"))
	f.Served()
	close(gone)
	if n := <-saving; n != 1 {
		t.Errorf("%d breakers are saved, want 1", n)
	}
}

// Events are given to the store though the states before them could not be saved: it tries both again.
func TestEventsWhenStatesCannotBeSaved(t *testing.T) {
	kept := &hooked{Dir: memory(t)}
	f := startWith(t, Options{Memory: kept, Lease: time.Minute}, []*policy.Service{layer2Service()}, "p1")
	kept.hook(func(name string, _ any) error {
		if name == breakersDoc {
			return errors.New("no space left on device")
		}
		return nil
	})
	f.openAll(t)
	until(t, "the events are saved", func() string {
		saved := 0
		if err := kept.LoadLog(eventsDoc, func([]byte) error { saved++; return nil }); err != nil || saved == 0 {
			return fmt.Sprintf("%d are, %v", saved, err)
		}
		return ""
	})
}

// A proxy that joins and leaves before it is watched leaves nothing behind.
func TestProxiesThatComeAndGoAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, proxies := &fakeControl{}, &fakeProxies{changed: make(chan struct{})}
		c.serve(service("a"))
		b := NewBoard(Options{Control: c, Proxies: proxies, Layers: c})
		var running sync.WaitGroup
		for i := range 100 {
			b.Join(xds.Proxy{ID: fmt.Sprint(i)})
		}
		b.follow(t.Context(), &running)
		if n := len(b.joined); n != 100 {
			t.Errorf("%d have joined, want all 100: they may be about to connect", n)
		}
		<-time.After(time.Minute)
		b.follow(t.Context(), &running)
		if len(b.joined)+len(b.parked) > 0 {
			t.Errorf("%d are kept that have joined, and %d parked", len(b.joined), len(b.parked))
		}
	})
}

// What a proxy does while another action on the same service is under way, or while the end of an order is yet to be carried
// out, is no proof that an order has failed.
func TestProofWhileAnotherActionIsUnderWay(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p1")
	f.mu.Lock()
	w := f.watchers["p1"]
	f.mu.Unlock()
	over := StandingOrder{Service: "svc", State: Disabled, Order: Order{Until: time.Now().Add(-time.Second)}}
	for name, begin := range map[string]func() (end func()){
		"an action": func() func() { return f.begin("svc") },
		"an end": func() func() {
			set := func(orders map[orderKey]StandingOrder) {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.orders = orders
			}
			set(map[orderKey]StandingOrder{{"svc", ""}: over})
			return func() { set(map[orderKey]StandingOrder{}) }
		},
	} {
		end := begin()
		f.envoys["p1"].enforce(false) // its cluster has changed already, and the orders have not
		proved := make(chan ProxyOrder, 1)
		go func() { proved <- w.prove(t.Context(), t.Context(), "svc") }()
		select {
		case p := <-proved:
			t.Errorf("%s: it does not wait: %+v", name, p)
			proved <- p
		case <-time.After(50 * time.Millisecond):
		}
		f.envoys["p1"].enforce(true)
		end()
		if p := <-proved; p.Error != "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
