package breaker

import (
	"context"
	"encoding/json"
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
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

// fakeEnvoy is an admin API whose clusters are switched: see cluster for the hosts.
type fakeEnvoy struct {
	mu       sync.Mutex
	clusters map[string]string // hosts by service; guarded by mu
	stats    int               // calls of /stats; guarded by mu
	scrapes  int               // calls of /stats/prometheus; guarded by mu
	counters map[string]int    // by whole name; guarded by mu
	runtime  map[string]string // guarded by mu
	enforces bool              // guarded by mu
	down     bool              // guarded by mu
	// hang, unless nil, holds every answer back until it is closed, and hung is told of each; guarded by mu.
	hang, hung chan struct{}
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

// hangUp lets nothing be answered from now on, and returns a channel that is told when something waits.
func (f *fakeEnvoy) hangUp(t *testing.T) <-chan struct{} {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hang, f.hung = make(chan struct{}), make(chan struct{}, 1)
	t.Cleanup(sync.OnceFunc(func() { close(f.hang) }))
	return f.hung
}

func (f *fakeEnvoy) hanging() chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hang
}

func (f *fakeEnvoy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if hang := f.hanging(); hang != nil {
		select {
		case f.hung <- struct{}{}:
		default:
		}
		select {
		case <-hang:
		case <-r.Context().Done():
			return
		}
	}
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
	case "/stats/prometheus":
		f.scrapes++
		body = fmt.Appendf(nil, "# TYPE envoy_gateway_proxy_requests_total counter\n"+
			"envoy_gateway_proxy_requests_total{service=\"svc\",method=\"GET\",status=\"success\"} %d\n", f.scrapes)
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
	refuse []xds.Rejection // guarded by mu
	pushes int             // guarded by mu
	acks   map[string]bool // guarded by mu
	onPush func() error    // guarded by mu
	mute   bool            // guarded by mu
	// silent is a proxy that answers nothing, whatever is awaited of it.
	silent string
	// onEnforce, unless nil, fails SetEnforcing; guarded by mu.
	onEnforce func() error

	envoys                        map[string]*fakeEnvoy
	disabled                      map[string]bool // guarded by mu
	breakerLayers, operatorLayers map[string]told // guarded by mu
}

func (c *fakeControl) Set() *policy.Set {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.set
}

func (c *fakeControl) Rejections() []xds.Rejection {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refuse
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

func (c *fakeControl) AwaitOn(ctx context.Context, proxy string, _ xds.Change) bool {
	c.mu.Lock()
	accepted, mute := c.acks[proxy] && ctx.Err() == nil, c.mute || c.silent == proxy
	c.mu.Unlock()
	if mute {
		<-ctx.Done()
		return false
	}
	return accepted
}

func (c *fakeControl) SetEnforcing(service string, enforcing bool) (*xds.Change, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.disabled[service] == !enforcing {
		return nil, nil
	}
	if c.onEnforce != nil {
		if err := c.onEnforce(); err != nil {
			return nil, err
		}
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

func (p *fakeProxies) Connected() []xds.Proxy {
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
