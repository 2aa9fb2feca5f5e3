package xds

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
)

// rejections says how what is rejected differs from these, each "service type [proxies]", with a "partial" behind it if
// others keep it; "" if it does not.
func rejections(p *Publisher, want ...string) string {
	var got []string
	for _, r := range p.Rejections() {
		s := fmt.Sprintf("%s %s %v", r.Service, r.Type, r.Proxies)
		if r.Partial {
			s += " partial"
		}
		got = append(got, s)
	}
	if slices.Equal(got, want) {
		return ""
	}
	return fmt.Sprintf("rejected are %q, want %q", got, want)
}

// twoProxies serves a and b to an Envoy that rejects something, and to one that takes all.
func twoProxies(t *testing.T, refuse func(string, string, []byte) string) (p *Publisher, addr string, strict, willing *fakeProxy) {
	t.Helper()
	p = NewPublisher(PublisherOptions{})
	addr = serve(t, p)
	strict, willing = dial(t, addr, "strict", nil, refuse), connect(t, addr, "willing")
	apply(t, p, service("a"), service("b"))
	eventually(t, "both have both", func() string { return unsettled(p) + acceptedAll(p, "a", "b") })
	return p, addr, strict, willing
}

func rewrite(to string) func(*policy.Service) {
	return func(s *policy.Service) { s.Routes[0].Rewrite = to }
}

// TestTheOtherEditsOfASaveGoLive: nobody is blamed because Envoy's text has something in it, in whatever order the services
// stand.
func TestTheOtherEditsOfASaveGoLive(t *testing.T) {
	for _, order := range [][2]string{{"a", "b"}, {"b", "a"}} {
		t.Run(order[0]+" is at fault", func(t *testing.T) {
			bad, good := order[0], order[1]
			p, _, strict, willing := twoProxies(t, refusesRegex)
			apply(t, p, service(bad, withRegex(badRegex)), service(good, rewrite("/")))
			eventually(t, "the one is rejected, and the other live on both", func() string {
				return unsettled(p) + rejections(p, bad+" route [strict]") + acceptedAll(p, good) +
					strict.routes([]string{"/" + bad}, []string{badRegex}) + willing.routes([]string{"/" + bad}, []string{badRegex})
			})
			if n := strict.sent(typeRoute, envoy.GatewayName); n > 5 {
				t.Errorf("the proxy was sent %d tables", n)
			}
			if n := willing.sent(typeRoute, envoy.GatewayName); n > 3 {
				t.Errorf("the other proxy has seen the trial: it was sent %d tables", n)
			}
			apply(t, p, service(bad, withRegex("^/mended$")), service(good, rewrite("/")))
			eventually(t, "the mended one is live", func() string {
				return unsettled(p) + rejections(p) + acceptedAll(p, "a", "b") + strict.routes([]string{"^/mended$"}, nil)
			})
		})
	}
}

func otherConnect(s *policy.Service) { s.Timeout.Connect = 7 * time.Second }

// TestClusterBesideARejectedOne is replaced once on each proxy.
func TestClusterBesideARejectedOne(t *testing.T) {
	p, _, strict, willing := twoProxies(t, refusesConnect("a"))
	apply(t, p, service("a", slow), service("b", otherConnect))
	eventually(t, "a is rejected and b live", func() string {
		return unsettled(p) + rejections(p, "a cluster [strict]") + acceptedAll(p, "b")
	})
	for _, q := range []*fakeProxy{strict, willing} {
		if n := q.replacements(typeCluster, "b"); n != 1 {
			t.Errorf("%s has replaced b %d times, want once", q.id, n)
		}
		if s := q.slow(); s != "" {
			t.Error(s)
		}
	}
	if n := strict.replacements(typeCluster, "a"); n != 0 {
		t.Errorf("it has replaced a %d times", n)
	}
}

// TestAfterARejectionAllIsInDoubt: a proxy that reconnects ends with what all have, whatever it says that it has: of b it has
// more than it says. Its new stream may come before the end of the old one is noticed.
func TestAfterARejectionAllIsInDoubt(t *testing.T) {
	for _, overlap := range []bool{false, true} {
		t.Run(fmt.Sprintf("overlap %t", overlap), func(t *testing.T) {
			p := NewPublisher(PublisherOptions{})
			addr := serve(t, p)
			never := func(string, string, []byte) string { return "" }
			strict := dial(t, addr, "strict", nil, never)
			apply(t, p, service("a"), service("b"))
			eventually(t, "it has both", func() string { return unsettled(p) + acceptedAll(p, "a", "b") })
			good := strict.body(typeCluster, "b")
			// The connection ends as soon as the batch is rejected.
			left := make(chan struct{})
			strict.mu.Lock()
			strict.refuse, strict.leave = refusesConnect("a"), func() { close(left) }
			strict.mu.Unlock()
			apply(t, p, service("a", slow), service("b", otherConnect))
			<-left
			eventually(t, "the rejection is known", func() string {
				p.ledger.mu.Lock()
				defer p.ledger.mu.Unlock()
				for _, s := range p.ledger.streams {
					if len(s.types[typeCluster].doubtful) == 2 {
						return ""
					}
				}
				return "it is not"
			})
			has, bodies := strict.all(), strict.bodies
			streams := func(want int) {
				t.Helper()
				eventually(t, "streams begin and end", func() string {
					p.ledger.mu.Lock()
					defer p.ledger.mu.Unlock()
					if got := len(p.ledger.streams); got != want {
						return fmt.Sprint(got)
					}
					return ""
				})
			}
			if !overlap {
				strict.close()
				streams(0)
			}
			apply(t, p, service("a"), service("b"))
			again := dialWith(t, addr, "strict", has, bodies, refusesConnect("a"))
			if overlap {
				streams(2)
				strict.close()
			}
			eventually(t, "it has what was there before", func() string {
				if got := again.body(typeCluster, "b"); !slices.Equal(got, good) {
					return "b is another"
				}
				return unsettled(p) + rejections(p)
			})
		})
	}
}

// TestDoubtsAreBounded: of too many proxies that have left those that left last are remembered, and what a proxy had not
// answered to when it left is in doubt as well.
func TestDoubtsAreBounded(t *testing.T) {
	now := time.Now()
	l := newLedger(func() time.Time { return now })
	for i := range maxLeft + 1 {
		key := streamKey(i)
		l.connect(key, Proxy{ID: fmt.Sprint("pod", i), Since: now})
		l.sent(key, typeCluster, "1", batch{versions: map[string]string{"a": "1", "b": "1"}, sequence: 1})
		if i%2 == 0 {
			l.answered(key, typeCluster, "1", "no")
		}
		l.disconnect(key)
		now = now.Add(time.Second)
	}
	for i, want := range map[int]int{0: 0, 1: 2, maxLeft - 1: 2, maxLeft: 2} {
		key := streamKey(10_000 + i)
		l.connect(key, Proxy{ID: fmt.Sprint("pod", i), Since: now})
		if got := len(l.doubtful(key, typeCluster)); got != want {
			t.Errorf("%d resources of proxy %d are in doubt, want %d", got, i, want)
		}
	}
}

// TestLateRejection concerns the proxy that it comes from alone.
func TestLateRejection(t *testing.T) {
	p, _, strict, willing := twoProxies(t, refusesRegex)
	hold := make(chan struct{})
	strict.mu.Lock()
	strict.hold = hold
	strict.mu.Unlock()
	apply(t, p, service("a", withRegex(badRegex)), service("b", rewrite("/b1")))
	eventually(t, "the other has it", func() string { return willing.routes([]string{badRegex}, nil) })
	p.mu.Lock()
	p.reconcile(time.Now().Add(answerTimeout))
	p.mu.Unlock()
	if s := acceptedAll(p, "a", "b"); s != "" {
		t.Fatalf("a proxy is waited for for ever: %s", s)
	}
	close(hold)
	eventually(t, "a is withheld from one", func() string {
		return unsettled(p) + rejections(p, "a route [strict] partial") + strict.routes([]string{"/b1"}, []string{badRegex}) + willing.routes([]string{badRegex}, nil)
	})
	apply(t, p, service("a", withRegex("^/mended$")), service("b", rewrite("/b1")))
	eventually(t, "the mended one reaches both", func() string {
		return unsettled(p) + rejections(p) + strict.routes([]string{"^/mended$"}, nil) + willing.routes([]string{"^/mended$"}, nil)
	})
}

// TestRejectedOnlyTogether: if no service is rejected alone the save is held back as a whole.
func TestRejectedOnlyTogether(t *testing.T) {
	together := func(typeURL, _ string, body []byte) string {
		if typeURL == typeRoute && strings.Contains(string(body), "^/one$") && strings.Contains(string(body), "^/two$") {
			return "not both"
		}
		return ""
	}
	p, _, strict, willing := twoProxies(t, together)
	apply(t, p, service("a", withRegex("^/one$")), service("b", withRegex("^/two$")), service("c"))
	eventually(t, "all is held back", func() string {
		return unsettled(p) + rejections(p, "a route [strict]", "b route [strict]", "c route [strict]") +
			strict.routes([]string{"/a", "/b"}, []string{"^/one$", "^/two$"}) + willing.routes([]string{"/a", "/b"}, []string{"^/one$", "^/two$"})
	})
	apply(t, p, service("a", withRegex("^/one$")), service("b"), service("c", rewrite("/")))
	eventually(t, "an edit of them goes live", func() string {
		return unsettled(p) + strict.routes([]string{"/c"}, nil)
	})
}

// TestRejectedGateway goes back on all proxies, and the services' edits of the same save go live.
func TestRejectedGateway(t *testing.T) {
	var refused bool
	p, _, strict, willing := twoProxies(t, func(typeURL, _ string, body []byte) string {
		if typeURL == typeListener && strings.Contains(string(body), "/nowhere/access.log") {
			refused = true
			return "no such file"
		}
		return ""
	})
	had := willing.has(typeListener)
	gw := *gateway
	gw.AccessLog, gw.Position = "/nowhere/access.log", policy.Position{File: "gateway.yaml", Line: 1, Column: 1}
	s := set(service("a", withRegex("^/a1$")), service("b"))
	s.Gateway = &gw
	p.Apply(s)
	eventually(t, "it is rejected", func() string {
		return rejections(p, " listener [strict]") + unsettled(p) + strict.routes([]string{"^/a1$"}, nil)
	})
	if !refused || p.Rejections()[0].Position != gw.Position {
		t.Errorf("%+v", p.Rejections())
	}
	eventually(t, "the other has the listener of before", func() string {
		if got := willing.has(typeListener); got[envoy.GatewayName] != had[envoy.GatewayName] {
			return "it has another"
		}
		return ""
	})
	apply(t, p, service("a"), service("b"))
	eventually(t, "the mended one is accepted", func() string { return rejections(p) + unsettled(p) })
}

// TestUpgradedProxy that rejects one service of current gets all others, and nobody else notices.
func TestUpgradedProxy(t *testing.T) {
	for what, refuse := range map[string]func(string, string, []byte) string{"route": refusesRegex, "cluster": refusesConnect("a")} {
		t.Run(what, func(t *testing.T) {
			p := NewPublisher(PublisherOptions{})
			addr := serve(t, p)
			willing := connect(t, addr, "willing")
			bad := service("a", withRegex(badRegex), slow)
			apply(t, p, bad, service("b"), service("c"), service("d"))
			eventually(t, "it is current", func() string { return acceptedAll(p, "a", "b", "c", "d") })
			upgraded := dial(t, addr, "upgraded", nil, refuse)
			partial := "a " + what + " [upgraded] partial"
			eventually(t, "it has the rest", func() string {
				return unsettled(p) + rejections(p, partial) + upgraded.routes([]string{"/b", "/c", "/d"}, []string{badRegex})
			})
			sent := willing.count()
			change, err := p.Regenerate("a", "")
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Await(t.Context(), change); !got["willing"] || got["upgraded"] {
				t.Errorf("a reset is acknowledged by %v", got)
			}
			if !p.AwaitOn(t.Context(), "upgraded", change) {
				t.Error("the proxy that does without is waited for")
			}
			if n := willing.count() - sent; n != 1 {
				t.Errorf("the reset was %d responses", n)
			}
			apply(t, p, bad, service("b", rewrite("/b1")), service("c"), service("d"))
			eventually(t, "an edit reaches both", func() string {
				return unsettled(p) + upgraded.routes([]string{"/b1"}, []string{badRegex}) + willing.routes([]string{"/b1", badRegex}, nil)
			})
			has, bodies := upgraded.all(), upgraded.bodies
			upgraded.close()
			again := dialWith(t, addr, "upgraded", has, bodies, refuse)
			eventually(t, "it is so once more after a reconnection", func() string {
				return unsettled(p) + rejections(p, partial) + again.routes([]string{"/b1"}, []string{badRegex})
			})
		})
	}
}

// TestRestartBesideARejection: what proxies had accepted stays current for a while, for one that connects first may accept what
// another one rejects.
func TestRestartBesideARejection(t *testing.T) {
	p := NewPublisher(PublisherOptions{Settle: time.Minute})
	p.Baseline(set(service("a"), service("b")))
	apply(t, p, service("a", withRegex(badRegex)), service("b"))
	addr := serve(t, p)
	willing := connect(t, addr, "willing")
	eventually(t, "one has it", func() string { return willing.routes([]string{badRegex}, nil) })
	strict := dial(t, addr, "strict", nil, refusesRegex)
	eventually(t, "it goes back on both", func() string {
		return rejections(p, "a route [strict]") + strict.routes([]string{"/a", "/b"}, nil) + willing.routes([]string{"/a", "/b"}, []string{badRegex})
	})
	apply(t, p, service("a", withRegex("^/a1$")), service("b"))
	eventually(t, "an edit reaches both", func() string { return rejections(p) + strict.routes([]string{"^/a1$"}, nil) })
}

// TestProxyOnTrialDoesNotAnswer: what changed is held back as a whole, and nobody waits for that proxy for ever.
func TestProxyOnTrialDoesNotAnswer(t *testing.T) {
	hold := make(chan struct{})
	var strict *fakeProxy
	p, _, strict, willing := twoProxies(t, func(typeURL, name string, body []byte) string {
		text := refusesRegex(typeURL, name, body)
		if text != "" {
			strict.hold = hold // its mu is held
		}
		return text
	})
	apply(t, p, service("a", withRegex(badRegex)), service("b", rewrite("/b1")))
	eventually(t, "the trial is under way", func() string {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.trial == nil {
			return "there is none"
		}
		return ""
	})
	p.mu.Lock()
	p.reconcile(time.Now().Add(answerTimeout + time.Second))
	p.mu.Unlock()
	eventually(t, "both are held back", func() string {
		return rejections(p, "a route [strict]", "b route [strict]") + willing.routes([]string{"/a", "/b"}, []string{badRegex, "/b1"})
	})
	close(hold)
	apply(t, p, service("a"), service("b", rewrite("/b2")))
	eventually(t, "an edit reaches both", func() string {
		return unsettled(p) + rejections(p) + strict.routes([]string{"/b2"}, nil) + willing.routes([]string{"/b2"}, nil)
	})
}
