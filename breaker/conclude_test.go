package breaker

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

// cluster is what Envoy says of hosts: e is ejected, u unhealthy, . serves.
func cluster(hosts string) *adminv3.ClusterStatus {
	c := &adminv3.ClusterStatus{Name: "svc"}
	for i, h := range hosts {
		c.HostStatuses = append(c.HostStatuses, &adminv3.HostStatus{
			Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
				Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(8001 + i)},
			}}},
			HealthStatus: &adminv3.HostHealthStatus{FailedOutlierCheck: h == 'e', FailedActiveHealthCheck: h == 'u'},
		})
	}
	return c
}

func TestConclude(t *testing.T) {
	now := time.Unix(1000, 0)
	svc := &policy.Service{Name: "svc", Breaker: policy.Breaker{FailureThreshold: policy.Count{N: 5, Set: true}, Timeout: time.Minute}}
	for _, tt := range []struct {
		hosts   string
		state   State
		ejected int
		cause   string
	}{
		{"..", Closed, 0, ""},
		{"e..", Closed, 1, "1 of 3 hosts ejected after 5 consecutive failures; 2 serve"},
		{"eu.", Closed, 1, "1 of 3 hosts ejected after 5 consecutive failures; 1 serves"},
		{"u.", Closed, 0, "1 of 2 hosts fails the health check; 1 serves"},
		{"uu..", Closed, 0, "2 of 4 hosts fail the health check; 2 serve"},
		{"ee", Open, 2, "2 of 2 hosts ejected after 5 consecutive failures"},
		{"e", Open, 1, "1 of 1 host ejected after 5 consecutive failures"},
		{"eu", Open, 1, "1 of 2 hosts ejected, the other fails its health check"},
		{"euu", Open, 1, "1 of 3 hosts ejected, the others fail their health check"},
		{"uu", Open, 0, "all 2 hosts fail their health check"},
		{"u", Open, 0, "the only host fails its health check"},
		{"", Closed, 0, "the service has no hosts"},
	} {
		b := conclude("p1", svc, cluster(tt.hosts), "", ProxyBreaker{}, now)
		if b.State != tt.state || b.EjectedHosts != tt.ejected || b.TotalHosts != len(tt.hosts) || !strings.HasPrefix(b.Cause, tt.cause) {
			t.Errorf("hosts %q: %+v, want %s because %q", tt.hosts, b, tt.state, tt.cause)
		}
		if (b.Cause == "") != (tt.cause == "") || !b.Since.Equal(now) {
			t.Errorf("hosts %q: cause %q since %v", tt.hosts, b.Cause, b.Since)
		}
	}
	if b := conclude("p1", svc, nil, "", ProxyBreaker{}, now); b.State != Unknown || b.Cause == "" {
		t.Errorf("a proxy without the cluster: %+v, want unknown", b)
	}
}

// TestRejectionIsTheCause: a service that a proxy does not have because Envoy rejected its policy says so, with the end of
// Envoy's text.
func TestRejectionIsTheCause(t *testing.T) {
	rejections := []xds.Rejection{
		{Service: "other", Proxies: []string{"p1"}, Text: "not this one"},
		{Service: "svc", Proxies: []string{"p1"}, Text: strings.Repeat("é", 1000) + "max program size", Position: policy.Position{File: "svc.yaml", Line: 5, Column: 3}},
		{Service: "untranslatable", Text: "no such file"},
	}
	for _, tt := range []struct{ proxy, service, prefix, suffix string }{
		{"p1", "svc", "the proxy does not have this service: its policy at svc.yaml:5:3 was rejected: …é", "émax program size"},
		{"p2", "svc", "the proxy does not have this service (yet)", ""},
		{"p2", "untranslatable", "the proxy does not have this service: its policy at ", "was rejected: no such file"},
	} {
		got := conclude(tt.proxy, &policy.Service{}, nil, rejection(rejections, tt.proxy, tt.service), ProxyBreaker{}, time.Time{}).Cause
		if !strings.HasPrefix(got, tt.prefix) || !strings.HasSuffix(got, tt.suffix) || len(got) > 400 || !utf8.ValidString(got) {
			t.Errorf("%s in %s: %q, want %q … %q", tt.service, tt.proxy, got, tt.prefix, tt.suffix)
		}
	}
}

// TestRejectionIsSeen: the cause changes when the rejection is known, and when it is gone.
func TestRejectionIsSeen(t *testing.T) {
	f := start(t, []*policy.Service{service("svc")}, "p1")
	e := f.envoys["p1"]
	e.mu.Lock()
	delete(e.clusters, "svc")
	e.mu.Unlock()
	look := func(want string) {
		t.Helper()
		b, err := f.Breaker(t.Context(), "svc")
		if err != nil || b.Proxies[0].State != Unknown || b.Proxies[0].Cause != want {
			t.Errorf("%+v, %v; want unknown because %q", b, err, want)
		}
	}
	refuse := func(r ...xds.Rejection) {
		f.control.mu.Lock()
		defer f.control.mu.Unlock()
		f.control.refuse = r
	}
	look("the proxy does not have this service (yet)")
	refuse(xds.Rejection{Service: "svc", Proxies: []string{"p1"}, Text: "bad", Position: policy.Position{File: "svc.yaml", Line: 1, Column: 1}})
	look("the proxy does not have this service: its policy at svc.yaml:1:1 was rejected: bad")
	refuse()
	look("the proxy does not have this service (yet)")
}

func TestSinceAndUntil(t *testing.T) {
	start := time.Unix(1000, 0)
	svc := &policy.Service{Name: "svc", Breaker: policy.Breaker{Timeout: time.Minute}}
	open := conclude("p1", svc, cluster("e"), "", ProxyBreaker{State: Closed, Since: start}, start.Add(time.Second))
	if !open.Since.Equal(start.Add(time.Second)) || !open.Until.Equal(start.Add(61*time.Second)) {
		t.Errorf("opened: since %v until %v", open.Since, open.Until)
	}
	still := conclude("p1", svc, cluster("e"), "", open, start.Add(5*time.Second))
	if !still.Since.Equal(open.Since) || !still.Until.Equal(open.Until) {
		t.Errorf("still open: since %v until %v, want those of before", still.Since, still.Until)
	}
	closed := conclude("p1", svc, cluster("."), "", still, start.Add(62*time.Second))
	if !closed.Since.Equal(start.Add(62*time.Second)) || !closed.Until.IsZero() {
		t.Errorf("closed: since %v until %v", closed.Since, closed.Until)
	}
}

func TestSummarize(t *testing.T) {
	of := func(states ...State) []ProxyBreaker {
		var out []ProxyBreaker
		for _, s := range states {
			out = append(out, ProxyBreaker{State: s})
		}
		return out
	}
	for _, tt := range []struct {
		proxies []ProxyBreaker
		state   State
		summary string
	}{
		{nil, Unknown, "no proxy is connected"},
		{of(Closed), Closed, "closed on 1 of 1 proxy"},
		{of(Closed, Open, Unknown), Open, "open on 1 of 3 proxies"},
		{of(Closed, Unknown), Unknown, "unknown on 1 of 2 proxies"},
		{of(ForcedOpen, HalfOpen, Open), Open, "open on 1 of 3 proxies"},
		{of(ForcedOpen, Unknown), Unknown, "unknown on 1 of 2 proxies"},
		{of(Disabled, ForcedOpen, Unknown, HalfOpen), HalfOpen, "half_open on 1 of 4 proxies"},
		{of(Closed, Disabled, ForcedOpen, ForcedOpen), ForcedOpen, "forced_open on 2 of 4 proxies"},
	} {
		if b := NewBreaker("svc", tt.proxies); b.State != tt.state || b.Summary != tt.summary {
			t.Errorf("%+v: %s, %q; want %s, %q", tt.proxies, b.State, b.Summary, tt.state, tt.summary)
		}
	}
}

func TestPollInterval(t *testing.T) {
	for services, want := range map[int]time.Duration{7: 500 * time.Millisecond, 5000: 5 * time.Second, 50000: 10 * time.Second} {
		if got := pollInterval(500*time.Millisecond, services); got != want {
			t.Errorf("%d services: %v, want %v", services, got, want)
		}
	}
}
