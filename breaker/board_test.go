package breaker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds every wait for a condition.
const deadline = 10 * time.Second

// fakeEnvoy is an admin API whose clusters are switched: see cluster for the hosts.
type fakeEnvoy struct {
	mu       sync.Mutex
	clusters map[string]string // hosts by service; guarded by mu
	stats    int               // calls of /stats; guarded by mu
	counters map[string]int    // by whole name; guarded by mu
	runtime  map[string]string // guarded by mu
	enforces bool              // guarded by mu
	down     bool              // guarded by mu
}

func (f *fakeEnvoy) set(service, hosts string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clusters[service] = hosts
}

func (f *fakeEnvoy) setDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

func (f *fakeEnvoy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		http.Error(w, "out of order", http.StatusServiceUnavailable)
		return
	}
	filter, err := regexp.Compile(r.URL.Query().Get("filter"))
	if err != nil {
		http.Error(w, "bad query", http.StatusBadRequest)
		return
	}
	var body []byte
	switch r.URL.Path {
	case "/clusters":
		all := &adminv3.Clusters{}
		for name, hosts := range f.clusters {
			if filter.MatchString(name) {
				c := cluster(hosts)
				c.Name = name
				all.ClusterStatuses = append(all.ClusterStatuses, c)
			}
		}
		body, err = protojson.Marshal(all)
	case "/stats":
		f.stats++
		type stat struct {
			Name  string `json:"name"`
			Value int    `json:"value"`
		}
		stats := []stat{}
		for name, hosts := range f.clusters {
			gauge := "cluster." + name + ".outlier_detection.ejections_active"
			if n := strings.Count(hosts, "e"); n > 0 && filter.MatchString(gauge) {
				stats = append(stats, stat{gauge, n})
			}
		}
		for name, n := range f.counters {
			if filter.MatchString(name) {
				stats = append(stats, stat{name, n})
			}
		}
		body, err = json.Marshal(map[string]any{"stats": stats})
	case "/runtime":
		entries := map[string]any{}
		for key, value := range f.runtime {
			entries[key] = map[string]string{"final_value": value}
		}
		body, err = json.Marshal(map[string]any{"entries": entries})
	case "/config_dump":
		enforcing := map[bool]int{true: 100}[f.enforces]
		body = fmt.Appendf(nil, `{"configs": [{"cluster": {"outlier_detection": {"enforcing_consecutive_5xx": %d}}}]}`, enforcing)
	default:
		http.NotFound(w, r)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Write(body)
}

type fakeControl struct {
	mu     sync.Mutex
	set    *policy.Set     // guarded by mu
	pushes int             // guarded by mu
	acks   map[string]bool // guarded by mu
	onPush func() error    // guarded by mu

	envoys                        map[string]*fakeEnvoy
	disabled                      map[string]bool // guarded by mu
	breakerLayers, operatorLayers map[string]told // guarded by mu
}

func (c *fakeControl) Set() *policy.Set {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.set
}

func (c *fakeControl) serve(services ...*policy.Service) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set = &policy.Set{Services: services}
}

func (c *fakeControl) Regenerate(_, _ string) (xds.Change, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.onPush != nil {
		if err := c.onPush(); err != nil {
			return xds.Change{}, err
		}
	}
	c.pushes++
	return xds.Change{Generation: uint64(c.pushes)}, nil
}

func (c *fakeControl) Await(context.Context, xds.Change) map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.acks
}

func (c *fakeControl) AwaitOn(_ context.Context, proxy string, _ xds.Change) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.acks[proxy]
}

func (c *fakeControl) SetEnforcing(service string, enforcing bool) (*xds.Change, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.disabled[service] == !enforcing {
		return nil, nil
	}
	c.disabled[service] = !enforcing
	for _, e := range c.envoys {
		e.enforce(enforcing)
	}
	return &xds.Change{}, nil
}

// told is a layer as a proxy has it.
type told struct {
	keys map[string]any
	ttl  time.Duration
}

func (c *fakeControl) SetBreakerLayer(proxy string, l xds.Layer) (xds.Change, bool) {
	return c.tell(c.breakerLayers, proxy, l)
}

func (c *fakeControl) SetOperatorLayer(proxy string, l xds.Layer) (xds.Change, bool) {
	return c.tell(c.operatorLayers, proxy, l)
}

// tell gives a proxy's fake Envoy a layer.
func (c *fakeControl) tell(layers map[string]told, proxy string, l xds.Layer) (xds.Change, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	layers[proxy] = told{keys: l.Keys.AsMap(), ttl: l.TTL}
	if e := c.envoys[proxy]; e != nil {
		e.tell(c.breakerLayers[proxy].keys, c.operatorLayers[proxy].keys)
	}
	return xds.Change{}, true
}

// layers returns what a proxy was told last.
func (c *fakeControl) layers(proxy string) (breaker, operator told) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.breakerLayers[proxy], c.operatorLayers[proxy]
}

func (f *fakeEnvoy) enforce(enforces bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.enforces = enforces
}

func (f *fakeEnvoy) tell(layers ...map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.runtime = map[string]string{}
	for _, l := range layers {
		for key, value := range l {
			f.runtime[key] = fmt.Sprint(value)
		}
	}
}

type fakeProxies struct {
	mu      sync.Mutex
	proxies []xds.Proxy   // guarded by mu
	changed chan struct{} // guarded by mu
}

func (p *fakeProxies) Proxies() []xds.Proxy {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.proxies)
}

func (p *fakeProxies) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

func (p *fakeProxies) connect(proxies ...xds.Proxy) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proxies = proxies
	close(p.changed)
	p.changed = make(chan struct{})
}

// fixture is a running board that looks at its proxies only when it is asked.
type fixture struct {
	*Board
	control *fakeControl
	proxies *fakeProxies
	envoys  map[string]*fakeEnvoy
	stop    func() // ends the board and waits for it
}

func service(name string, hosts ...string) *policy.Service {
	svc := &policy.Service{Name: name, Breaker: policy.Breaker{Timeout: time.Minute, WindowSize: 10}}
	for i := range max(2, len(hosts)) {
		host := policy.Host{Name: "127.0.0.1", Port: uint16(8001 + i)}
		if i < len(hosts) {
			host.Name = hosts[i]
		}
		svc.Upstream.Hosts = append(svc.Upstream.Hosts, host)
	}
	return svc
}

// start runs a board over a fake Envoy per id, and waits until each was seen.
func start(t *testing.T, services []*policy.Service, ids ...string) *fixture {
	t.Helper()
	return startWith(t, Options{}, services, ids...)
}

// startWith is start with options: what they lack is faked.
func startWith(t *testing.T, opts Options, services []*policy.Service, ids ...string) *fixture {
	t.Helper()
	f := &fixture{
		control: &fakeControl{
			acks: map[string]bool{}, envoys: map[string]*fakeEnvoy{}, disabled: map[string]bool{},
			breakerLayers: map[string]told{}, operatorLayers: map[string]told{},
		},
		proxies: &fakeProxies{changed: make(chan struct{})},
	}
	f.envoys = f.control.envoys
	f.control.serve(services...)
	var connected []xds.Proxy
	for _, id := range ids {
		e := &fakeEnvoy{clusters: map[string]string{}, enforces: true}
		for _, svc := range services {
			e.clusters[svc.Name] = ".."
		}
		server := httptest.NewServer(e)
		t.Cleanup(server.Close)
		f.envoys[id] = e
		f.control.acks[id] = true
		connected = append(connected, xds.Proxy{ID: id, AdminAddress: server.Listener.Addr().String(), Since: time.Unix(1000, 0)})
	}
	f.proxies.connect(connected...)
	opts.Control, opts.Proxies, opts.Layers, opts.Poll = f.control, f.proxies, f.control, time.Hour
	f.Board = NewBoard(opts)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(deadline):
			t.Error("Run does not end")
		}
	})
	t.Cleanup(f.stop)
	f.await(t, func(h map[string]ProxyHealth) bool {
		reachable := 0
		for _, p := range h {
			if p.Reachable {
				reachable++
			}
		}
		return reachable == len(ids)
	})
	return f
}

// await waits until the proxies' health is as wanted.
func (f *fixture) await(t *testing.T, ok func(map[string]ProxyHealth) bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.After(deadline)
	for {
		h := f.Health()
		if ok(h) {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("after %s the proxies are %+v", deadline, h)
		}
	}
}

// receive returns the next element as "service=state ...".
func receive(t *testing.T, ch <-chan []Breaker) string {
	t.Helper()
	select {
	case next, ok := <-ch:
		if !ok {
			return "(closed)"
		}
		var out []string
		for _, b := range next {
			state := string(b.State)
			if b.Removed {
				state = "removed"
			}
			out = append(out, fmt.Sprintf("%s=%s", b.Service, state))
		}
		return strings.Join(out, " ")
	case <-time.After(deadline):
		t.Fatal("nothing comes from Watch")
		return ""
	}
}

func (f *fixture) look(t *testing.T, service string, want State) {
	t.Helper()
	if b, err := f.Breaker(t.Context(), service); err != nil || b.State != want {
		t.Fatalf("%s is %+v, %v; want %s", service, b, err, want)
	}
}

func TestReset(t *testing.T) {
	for _, tt := range []struct {
		name     string
		before   string
		after    string
		down     bool
		nack     bool
		pushed   bool
		note     string
		errorHas string
	}{
		{name: "nothing to clear", before: "..", after: "..", note: "nothing to clear"},
		{name: "cleared", before: "e.", after: "..", pushed: true, note: "cleared: 127.0.0.1:8001"},
		{name: "ejected again", before: "ee", after: ".e", pushed: true, note: "ejected again since: 127.0.0.1:8002"},
		{name: "not acknowledged", before: "e.", after: "e.", nack: true, pushed: true, errorHas: "did not accept generation 1"},
		{name: "admin unreachable", before: "..", after: "..", down: true, pushed: true, errorHas: "503"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t, []*policy.Service{service("svc")}, "p1")
			e := f.envoys["p1"]
			e.set("svc", tt.before)
			e.setDown(tt.down)
			f.control.onPush = func() error { e.set("svc", tt.after); return nil }
			f.control.acks["p1"] = !tt.nack
			r, err := f.Reset(t.Context(), ResetRequest{Service: "svc"})
			if err != nil || len(r.Proxies) != 1 || r.Pushed != tt.pushed || (f.control.pushes == 1) != tt.pushed || r.OK() != (tt.errorHas == "") {
				t.Fatalf("%+v, %v after %d pushes", r, err, f.control.pushes)
			}
			if p := r.Proxies[0]; !strings.Contains(p.Note, tt.note) || !strings.Contains(p.Error, tt.errorHas) {
				t.Errorf("%+v, want note %q and error %q", p, tt.note, tt.errorHas)
			}
		})
	}
}

func TestResetRefuses(t *testing.T) {
	f := start(t, []*policy.Service{service("dns", "example.test"), service("svc")}, "p1")
	for _, tt := range []struct {
		req  ResetRequest
		want error
	}{
		{ResetRequest{Service: "none"}, ErrUnknownService},
		{ResetRequest{Service: "svc", Host: "127.0.0.1:1"}, ErrUnknownHost},
		{ResetRequest{Service: "dns", Host: "example.test:8001"}, ErrHostNotResettable},
	} {
		if _, err := f.Reset(t.Context(), tt.req); !errors.Is(err, tt.want) {
			t.Errorf("%+v: %v, want %v", tt.req, err, tt.want)
		}
	}
	f.envoys["p1"].set("svc", "e.")
	if r, err := f.Reset(t.Context(), ResetRequest{Service: "svc", Host: "127.0.0.1:8002"}); err != nil || r.Pushed {
		t.Errorf("only the other host is ejected: %+v, %v", r, err)
	}
	f.control.onPush = func() error { return xds.ErrNotPublished }
	if _, err := f.Reset(t.Context(), ResetRequest{Service: "svc"}); !errors.Is(err, ErrUnknownService) {
		t.Errorf("not published: %v", err)
	}
	if _, err := start(t, []*policy.Service{service("svc")}).Reset(t.Context(), ResetRequest{Service: "svc"}); !errors.Is(err, ErrNoProxy) {
		t.Errorf("no proxy: %v", err)
	}
}

func TestWatch(t *testing.T) {
	f := start(t, []*policy.Service{service("a"), service("b")}, "p1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ch := f.Watch(ctx)
	if got := receive(t, ch); got != "a=closed b=closed" {
		t.Fatalf("first element: %s", got)
	}
	f.envoys["p1"].set("b", "uu")
	f.look(t, "b", Open)
	if got := receive(t, ch); got != "b=open" {
		t.Fatalf("b opened: %s", got)
	}

	// Nobody receives: one element may be waiting, all later changes become one more.
	for range 5 {
		f.envoys["p1"].set("a", "uu")
		f.look(t, "a", Open)
		f.envoys["p1"].set("a", "..")
		f.look(t, "a", Closed)
	}
	f.envoys["p1"].set("b", "..")
	f.look(t, "b", Closed)
	elements := 0
	for got := ""; !strings.Contains(got, "b=closed"); elements++ {
		got = receive(t, ch)
	}
	if elements > 2 {
		t.Errorf("11 changes came in %d elements, want at most 2", elements)
	}

	f.control.serve(service("b"))
	f.Served()
	if got := receive(t, ch); got != "a=removed b=closed" {
		t.Errorf("a is no longer served: %s", got)
	}
	cancel()
	if got := receive(t, ch); got != "(closed)" {
		t.Errorf("ctx ended: %s", got)
	}

	ch = f.Watch(t.Context())
	receive(t, ch)
	f.stop()
	if got := receive(t, ch); got != "(closed)" {
		t.Errorf("the board ended: %s", got)
	}
	if got := receive(t, f.Watch(t.Context())); got != "(closed)" {
		t.Errorf("Watch of an ended board: %s", got)
	}
}

func TestManyServices(t *testing.T) {
	var services []*policy.Service
	for i := range 2*chunk + 50 {
		services = append(services, service(fmt.Sprintf("s%03d", i)))
	}
	f := start(t, services, "p1")
	e := f.envoys["p1"]
	// known is how many services were seen, and how many hosts of the last are ejected.
	known := func() (n, ejected int) {
		all := f.Breakers(t.Context())
		for _, b := range all {
			if b.State != Unknown {
				n++
			}
		}
		return n, all[len(all)-1].Proxies[0].EjectedHosts
	}
	// The first look was at one chunk; the gauge brings the last service in ahead of its turn.
	e.set("s449", "ee")
	if n, last := known(); n != 2*chunk+1 || last != 2 {
		t.Errorf("second look: %d known, %d hosts of the last are ejected", n, last)
	}
	if n, last := known(); n != len(services) || last != 2 {
		t.Errorf("third look: %d known, %d hosts of the last are ejected", n, last)
	}
	e.set("s449", "..")
	if _, last := known(); last != 0 {
		t.Errorf("an ejection that ended is looked at once more: %d", last)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stats != 5 {
		t.Errorf("%d calls of /stats in 4 looks and one for the overflows", e.stats)
	}
}

func TestProxiesComeAndGo(t *testing.T) {
	f := start(t, []*policy.Service{service("svc")}, "p1", "p2")
	ch := f.Watch(t.Context())
	if got := receive(t, ch); got != "svc=closed" {
		t.Fatalf("first element: %s", got)
	}
	f.envoys["p2"].set("svc", "uu")
	b, err := f.Breaker(t.Context(), "svc")
	if err != nil || b.Summary != "open on 1 of 2 proxies" || b.Proxies[0].Proxy != "p1" {
		t.Errorf("p2 is open: %+v, %v", b, err)
	}
	if got := receive(t, ch); got != "svc=open" {
		t.Errorf("p2 is open: %s", got)
	}

	f.envoys["p2"].setDown(true)
	f.look(t, "svc", Unknown)
	if got := receive(t, ch); got != "svc=unknown" {
		t.Errorf("p2 does not answer: %s", got)
	}
	if h := f.Health()["p2"]; h.Reachable || !strings.Contains(h.Error, "503") {
		t.Errorf("health of p2: %+v", h)
	}
	f.envoys["p2"].setDown(false)
	f.look(t, "svc", Open)
	if got := receive(t, ch); got != "svc=open" {
		t.Errorf("p2 answers again: %s", got)
	}

	f.proxies.connect(xds.Proxy{ID: "p3"}) // names no admin port
	if got := receive(t, ch); got != "svc=unknown" {
		t.Errorf("only p3 is connected: %s", got)
	}
	if h := f.Health(); len(h) != 1 || !strings.Contains(h["p3"].Error, "admin port") {
		t.Errorf("only p3 is connected: %+v", h)
	}
	r, err := f.Reset(t.Context(), ResetRequest{Service: "svc"})
	if err != nil || !r.Pushed || r.OK() || !strings.Contains(r.Proxies[0].Error, "admin port") {
		t.Errorf("reset of a proxy that can not be asked: %+v, %v", r, err)
	}
	if _, err := f.Breaker(t.Context(), "none"); !errors.Is(err, ErrUnknownService) {
		t.Errorf("unknown service: %v", err)
	}
}
