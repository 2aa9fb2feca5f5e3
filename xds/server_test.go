package xds

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is a valid policy of one service at an address.
func service(name string, change ...func(*policy.Service)) *policy.Service {
	s := &policy.Service{
		Name:     name,
		Upstream: policy.Upstream{Scheme: policy.SchemeHTTP, Hosts: []policy.Host{{Name: "127.0.0.1", Port: 8001}, {Name: "127.0.0.1", Port: 8002}}},
		Routes:   []policy.Route{{Match: policy.MatchPrefix, Value: "/" + name, Position: policy.Position{File: name + ".yaml", Line: 3, Column: 5}}},
		Timeout:  policy.Timeout{Connect: 5 * time.Second, Request: policy.Duration{D: 30 * time.Second, Set: true}, Idle: policy.Duration{D: 5 * time.Minute, Set: true}},
		Retry:    policy.Retry{MaxRetries: 3, BaseDelay: 100 * time.Millisecond, MaxDelay: 10 * time.Second, On: []string{"5xx"}, Methods: []string{"GET"}, Budget: 0.2},
		Breaker: policy.Breaker{
			FailureThreshold: policy.Count{N: 5, Set: true}, SuccessThreshold: 2, Timeout: time.Minute, WindowSize: 100,
			MinRequests: 20, HalfOpenMaxRequests: 1, Backoff: 1, MaxTimeout: time.Minute,
		},
		Limits:   policy.Limits{MaxConnections: 1024, MaxPendingRequests: 1024, MaxRequests: 1024},
		Position: policy.Position{File: name + ".yaml", Line: 1, Column: 1},
	}
	for _, c := range change {
		c(s)
	}
	s.Digest = fmt.Sprintf("%+v", s)
	return s
}

var gateway = &policy.Gateway{Host: "127.0.0.1", Port: 8080, AccessLog: "stdout", MaxHeadersKB: 60, MaxHeaders: 100}

func set(services ...*policy.Service) *policy.Set {
	s := &policy.Set{Services: services, Gateway: gateway}
	slices.SortFunc(s.Services, func(a, b *policy.Service) int { return strings.Compare(a.Name, b.Name) })
	for _, svc := range s.Services {
		s.Digest += svc.Digest
	}
	return s
}

func apply(t *testing.T, p *Publisher, services ...*policy.Service) {
	t.Helper()
	p.Apply(set(services...))
	if len(p.untranslated) > 0 {
		t.Fatalf("not translated: %+v", p.untranslated)
	}
}

// names says which resources of a type a proxy does not have, or has beyond these; "" if it has exactly them.
func names(p *fakeProxy, typeURL string, want ...string) string {
	var have []string
	for name := range p.has(typeURL) {
		have = append(have, name)
	}
	slices.Sort(have)
	slices.Sort(want)
	if slices.Equal(have, want) {
		return ""
	}
	return fmt.Sprintf("%s has %v of type %s, want %v", p.id, have, typeName(typeURL), want)
}

func connect(t *testing.T, addr, id string) *fakeProxy { return dial(t, addr, id, nil, nil) }

func TestProxyIsServed(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	addr := serve(t, p)
	proxy := connect(t, addr, "p1")
	// Nothing is said before there is something to say: an empty answer would take
	// everything away from a proxy that outlived the control plane.
	apply(t, p, service("a"), service("b"))
	eventually(t, "clusters", func() string { return names(proxy, typeCluster, "a", "b") })
	eventually(t, "routes", func() string { return names(proxy, typeRoute, envoy.GatewayName) })
	eventually(t, "listener", func() string { return names(proxy, typeListener, envoy.GatewayName) })
	eventually(t, "runtime", func() string {
		return names(proxy, typeRuntime, envoy.LimitsLayer, envoy.BreakerLayer("p1"), envoy.OperatorLayer("p1"))
	})
	if n := proxy.removed(typeCluster, "a"); n != 0 {
		t.Errorf("cluster a was removed %d times", n)
	}
	got := p.Ledger().Proxies()
	if len(got) != 1 || got[0].ID != "p1" || got[0].Cluster != "test" || got[0].AdminAddress != "127.0.0.1:9901" {
		t.Errorf("the ledger has %+v", got)
	}
	proxy.close()
	eventually(t, "the proxy leaves the ledger", func() string {
		if n := len(p.Ledger().Proxies()); n != 0 {
			return fmt.Sprintf("%d proxies", n)
		}
		return ""
	})
	eventually(t, "its runtime layers go with it", func() string {
		if got := p.cache.names(typeRuntime); !slices.Equal(got, []string{envoy.LimitsLayer}) {
			return fmt.Sprint(got)
		}
		return ""
	})
}

func TestUnchangedIsNotSentAgain(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	proxy := connect(t, serve(t, p), "p1")
	apply(t, p, service("a"), service("b"))
	eventually(t, "clusters", func() string { return names(proxy, typeCluster, "a", "b") })
	apply(t, p, service("a"), service("b", func(s *policy.Service) { s.Timeout.Connect = time.Second }))
	eventually(t, "cluster b is sent again", func() string {
		if n := proxy.sent(typeCluster, "b"); n != 2 {
			return fmt.Sprintf("%d times", n)
		}
		return ""
	})
	if n := proxy.sent(typeCluster, "a"); n != 1 {
		t.Errorf("cluster a, which did not change, was sent %d times", n)
	}
	if n := proxy.sent(typeRoute, envoy.GatewayName); n != 1 {
		t.Errorf("the route table, which did not change, was sent %d times", n)
	}
}

func TestRestartedControlPlaneSendsNothing(t *testing.T) {
	files, err := store.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := files.Close(); err != nil {
			t.Error(err)
		}
	})
	first := NewPublisher(PublisherOptions{Generations: files})
	before := connect(t, serve(t, first), "p1")
	apply(t, first, service("a"))
	eventually(t, "clusters", func() string { return names(before, typeCluster, "a") })
	if _, err := first.Regenerate("a", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Regenerate("a", "127.0.0.1:8002"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reset cluster is sent", func() string {
		if n := proxyVersions(before, "a"); n != first.effective["a"].cluster.version {
			return n
		}
		return ""
	})
	has := before.all()
	before.close()

	second := NewPublisher(PublisherOptions{Generations: files})
	apply(t, second, service("a"))
	after := dial(t, serve(t, second), "p1", has, nil)
	eventually(t, "the proxy is known to have everything", func() string {
		if _, have := second.Ledger().lacking(typeCluster, "a", second.effective["a"].cluster.version, func(string) bool { return false }); have != 1 {
			return fmt.Sprintf("%d proxies have it", have)
		}
		return ""
	})
	for typeURL, name := range map[string]string{typeCluster: "a", typeRoute: envoy.GatewayName, typeListener: envoy.GatewayName} {
		if n := after.sent(typeURL, name); n != 0 {
			t.Errorf("%s %s was sent again", typeName(typeURL), name)
		}
	}
}

func proxyVersions(p *fakeProxy, cluster string) string { return p.has(typeCluster)[cluster] }

func TestAddBeforeUseRemoveAfter(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	proxy := connect(t, serve(t, p), "p1")
	apply(t, p, service("a"))
	eventually(t, "all of a", func() string {
		return names(proxy, typeListener, envoy.GatewayName) + acceptedAll(p, "a") +
			names(proxy, typeRuntime, envoy.LimitsLayer, envoy.BreakerLayer("p1"), envoy.OperatorLayer("p1"))
	})
	from := proxy.count()
	apply(t, p, service("b"))
	eventually(t, "b instead of a", func() string { return names(proxy, typeCluster, "b") })
	// The new cluster, then the routes that need it and no longer need the old one,
	// then the old one's removal.
	if got, want := proxy.order(from), []string{"cluster", "route", "cluster"}; !slices.Equal(got, want) {
		t.Errorf("sent in the order %v, want %v", got, want)
	}
}

const badRegex = "^/(too|large)$"

func withRegex(value string) func(*policy.Service) {
	return func(s *policy.Service) {
		s.Routes[0].Match, s.Routes[0].Value = policy.MatchRegex, value
	}
}

// refusesRegex rejects a route table with badRegex in it as Envoy does, quoting it.
func refusesRegex(typeURL, _ string, body []byte) string {
	if typeURL == typeRoute && bytes.Contains(body, []byte(badRegex)) {
		return "regex '" + badRegex + "' is too large"
	}
	return ""
}

// refusesConnect rejects clusters of one service that have a connect timeout of 1 s.
func refusesConnect(service string) func(string, string, []byte) string {
	return func(typeURL, name string, body []byte) string {
		if typeURL == typeCluster && name == service && bytes.Contains(body, []byte{0x22, 0x02, 0x08, 0x01}) {
			return "no connect timeout of 1 s, please"
		}
		return ""
	}
}

func slow(s *policy.Service) { s.Timeout.Connect = time.Second }

func TestRejectedClusterGoesBack(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	addr := serve(t, p)
	proxy := dial(t, addr, "p1", nil, refusesConnect("a"))
	apply(t, p, service("a"), service("b"))
	eventually(t, "both are accepted", func() string { return acceptedAll(p, "a", "b") })
	good := proxy.has(typeCluster)["a"]

	bad := service("a", slow)
	apply(t, p, bad, service("b", slow))
	eventually(t, "the rejection is known", func() string {
		r := p.Rejections()
		if len(r) != 1 || r[0].Service != "a" || r[0].Type != "cluster" || r[0].Partial || !strings.Contains(r[0].Text, "please") || r[0].Position.File != "a.yaml" {
			return fmt.Sprintf("%+v", r)
		}
		return ""
	})
	eventually(t, "the last accepted version is published again", func() string {
		p.mu.Lock()
		defer p.mu.Unlock()
		if v := p.effective["a"].cluster.version; v != good {
			return v
		}
		return ""
	})
	eventually(t, "b's edit goes on", func() string { return acceptedAll(p, "b") })
	// A proxy that starts now gets the good version, and never sees the bad one.
	late := dial(t, addr, "p2", nil, refusesConnect("a"))
	eventually(t, "a late proxy gets the good version", func() string {
		if v := late.has(typeCluster)["a"]; v != good {
			return "it has " + v
		}
		return ""
	})
	sent := proxy.sent(typeCluster, "a")
	apply(t, p, bad, service("b"))
	eventually(t, "another edit of b goes through", func() string { return acceptedAll(p, "b") })
	if n := proxy.sent(typeCluster, "a"); n != sent {
		t.Errorf("the rejected version was sent again: %d times more", n-sent)
	}
	apply(t, p, service("a"), service("b"))
	eventually(t, "the mended policy clears the rejection", func() string {
		if r := p.Rejections(); len(r) != 0 {
			return fmt.Sprintf("%+v", r)
		}
		return ""
	})
}

// acceptedAll says which services' candidates are not current yet; "" if all are.
func acceptedAll(p *Publisher, services ...string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range services {
		if p.current[name] != p.desired[name] {
			return name + " is not accepted"
		}
	}
	return ""
}

func TestRejectedRouteGoesBackAlone(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	proxy := dial(t, serve(t, p), "p1", nil, refusesRegex)
	apply(t, p, service("a"), service("b"))
	eventually(t, "both are accepted", func() string { return acceptedAll(p, "a", "b") })
	// One save with a bad and a good edit: the good one goes live.
	apply(t, p, service("a", withRegex(badRegex)), service("b", withRegex("/b.*")))
	eventually(t, "b is accepted without a", func() string { return acceptedAll(p, "b") })
	r := p.Rejections()
	if len(r) != 1 || r[0].Service != "a" || r[0].Type != "route" || r[0].Position.Line != 3 {
		t.Errorf("rejections: %+v", r)
	}
	p.mu.Lock()
	if p.effective["a"] != p.current["a"] || p.effective["a"] == p.desired["a"] {
		t.Error("a's last accepted routes are not in effect")
	}
	p.mu.Unlock()
	if n := proxy.removed(typeCluster, "a"); n != 0 {
		t.Error("the cluster of a was removed")
	}
}

func TestRejectedNewServiceIsLeftOut(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	proxy := dial(t, serve(t, p), "p1", nil, refusesConnect("new"))
	apply(t, p, service("a"))
	eventually(t, "a is accepted", func() string { return acceptedAll(p, "a") })
	apply(t, p, service("a"), service("new", slow))
	eventually(t, "the rejection is known", func() string {
		if r := p.Rejections(); len(r) != 1 || r[0].Service != "new" || r[0].Partial {
			return fmt.Sprintf("%+v", r)
		}
		return ""
	})
	eventually(t, "a alone is there", func() string { return names(proxy, typeCluster, "a") })
	if r := p.Rejections(); len(r) != 1 {
		t.Errorf("rejections: %+v", r)
	}
}

func TestRejectedAfterRestartTakesNothingAway(t *testing.T) {
	first := NewPublisher(PublisherOptions{})
	before := connect(t, serve(t, first), "p1")
	apply(t, first, service("a"), service("b"))
	eventually(t, "both", func() string {
		return names(before, typeListener, envoy.GatewayName) + names(before, typeCluster, "a", "b")
	})
	has := before.all()
	before.close()

	// While the control plane is down a's policy becomes one that Envoy refuses.
	for _, baseline := range []bool{false, true} {
		t.Run(fmt.Sprintf("baseline=%t", baseline), func(t *testing.T) {
			second := NewPublisher(PublisherOptions{})
			if baseline {
				second.Baseline(set(service("a"), service("b")))
			}
			apply(t, second, service("a", slow), service("b"))
			after := dial(t, serve(t, second), "p1", has, refusesConnect("a"))
			eventually(t, "the rejection is known", func() string {
				if r := second.Rejections(); len(r) != 1 || r[0].Service != "a" {
					return fmt.Sprintf("%+v", r)
				}
				return ""
			})
			eventually(t, "nothing is taken away", func() string { return names(after, typeCluster, "a", "b") })
			if n := after.removed(typeCluster, "a"); n != 0 {
				t.Errorf("a's cluster was removed")
			}
			if v := after.has(typeCluster)["a"]; v != has[typeCluster]["a"] {
				t.Errorf("a has version %s, want that of before: %s", v, has[typeCluster]["a"])
			}
		})
	}
}

func TestRegenerate(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	proxy := connect(t, serve(t, p), "p1")
	apply(t, p, service("a"), service("b"))
	eventually(t, "both are accepted", func() string { return acceptedAll(p, "a", "b") })
	version := proxy.has(typeCluster)["a"]
	change, err := p.Regenerate("a", "")
	if err != nil || change.Generation != 1 {
		t.Fatalf("generation %d, error %v", change.Generation, err)
	}
	if got := p.Await(t.Context(), change); !got["p1"] || len(got) != 1 {
		t.Errorf("acknowledged by %v", got)
	}
	if proxy.has(typeCluster)["a"] == version {
		t.Error("the cluster has the version of before")
	}
	if n := proxy.sent(typeCluster, "b"); n != 1 {
		t.Errorf("cluster b was sent %d times", n)
	}
	cluster := proxy.has(typeCluster)["a"]
	if _, err := p.Regenerate("a", "127.0.0.1:8002"); err != nil {
		t.Fatal(err)
	}
	if proxy.has(typeCluster)["a"] != cluster {
		t.Error("a reset of one host replaced the cluster")
	}
	if _, err := p.Regenerate("a", "127.0.0.1:9"); err == nil || !strings.Contains(err.Error(), "127.0.0.1:8001") {
		t.Errorf("an unknown host: error %v, want one that names the known", err)
	}
	if _, err := p.Regenerate("none", ""); err == nil {
		t.Error("an unknown service: no error")
	}
}
