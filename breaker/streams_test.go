package breaker

import (
	"fmt"
	"testing"
	"time"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

// speak has another stream speak for p1, which has been connected all the time, and waits until the board knows.
func (f *fixture) speak(t *testing.T, stream xds.Proxy) {
	t.Helper()
	f.proxies.connect(stream)
	until(t, "the board watches the other stream", func() string {
		f.mu.Lock()
		defer f.mu.Unlock()
		switch w := f.watchers["p1"]; {
		case w == nil:
			return "it watches none"
		case !w.proxy.Since.Equal(stream.Since):
			return fmt.Sprintf("it watches %+v", w.proxy)
		}
		return ""
	})
}

// TestAnotherStreamOfAProxyTakesNothing: what the breakers know outlives that another stream comes to speak for the proxy,
// and that it ends again; the reports of both count.
func TestAnotherStreamOfAProxyTakesNothing(t *testing.T) {
	f := startWith(t, Options{Lease: time.Minute}, []*policy.Service{service("drill"), layer2Service()}, "p1")
	first, second := f.proxies.Connected()[0], f.again()
	if _, err := f.Order(t.Context(), OrderRequest{Service: "drill", State: ForcedOpen}); err != nil {
		t.Fatal(err)
	}
	const drill = "upstream.maintenance_mode.drill=100"
	f.report(t, attempts(0, 1))
	f.speak(t, second)
	f.untilTold(t, drill)
	f.report(t, attempts(0, 1))
	f.speak(t, first)
	f.untilTold(t, drill)
	f.report(t, attempts(0, 1))
	f.untilTold(t, drill, shut)
	f.speak(t, second)
	f.untilState(t, Open)
	for _, e := range f.Events(EventFilter{}) {
		if e.Kind == Lapsed || e.To == Closed {
			t.Errorf("%+v", e)
		}
	}
}
