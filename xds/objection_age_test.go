package xds

import (
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/pkg/server/stream/v3"

	"github.com/breakwater/breakwater/envoy"
)

// script plays the proxies' part step by step, without a connection: nothing happens between two of its steps.
type script struct {
	p *Publisher
}

func (s script) connect(stream int64, proxy string) {
	s.p.ledger.connect(streamKey(stream), Proxy{ID: proxy, Since: time.Now()})
}

// send has a proxy be sent all that it is to have of a type; its answer is to be under the nonce.
func (s script) send(stream int64, proxy, typeURL, nonce string) {
	c := s.p.cache.ofType(typeURL)
	versions := map[string]string{}
	for name := range c.resources {
		versions[name] = c.lookup(proxy, name).version
	}
	s.p.ledger.sent(streamKey(stream), typeURL, nonce, batch{versions: versions})
}

// answer has a proxy be sent its clusters and its route table, and refuse those of which there is a text.
func (s script) answer(stream int64, proxy, clusters, routes string) {
	for typeURL, text := range map[string]string{typeCluster: clusters, typeRoute: routes} {
		s.send(stream, proxy, typeURL, "nonce")
		s.p.ledger.answered(streamKey(stream), typeURL, "nonce", text)
	}
	s.look()
}

// look has the publisher act on the answers.
func (s script) look() {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.reconcile(time.Now())
}

// ofTwoMinds serves a in a version of which the older of two proxies refused the cluster or the routes long ago, and that the
// newer has.
func ofTwoMinds(t *testing.T, kind string) script {
	t.Helper()
	s := script{p: NewPublisher(PublisherOptions{})}
	s.p.ledger.now = func() time.Time { return time.Now().Add(-time.Hour) }
	s.connect(1, "older")
	s.connect(2, "newer")
	apply(t, s.p, service("a", withRegex("^/good-a$")), service("b"))
	s.answer(1, "older", "", "")
	s.answer(2, "newer", "", "")
	apply(t, s.p, service("a", withRegex(badRegex), slow), service("b"))
	s.answer(2, "newer", "", "")
	if kind == "cluster" {
		s.answer(1, "older", "a: refused", "")
	} else {
		s.answer(1, "older", "", envoy.GatewayName+": regex '"+badRegex+"' refused")
	}
	s.answer(1, "older", "", "")
	if problem := oneRejection(s.p, kind, true, "older"); problem != "" {
		t.Fatal(problem)
	}
	return s
}

// TestOldObjectionDoesNotCondemn: what one proxy refused long ago is not taken from the others because they have not
// answered yet to the table, or the cluster, in which it is published anew.
func TestOldObjectionDoesNotCondemn(t *testing.T) {
	for what, change := range map[string]func(script){
		"an edit of another service": func(s script) {
			apply(t, s.p, service("a", withRegex(badRegex), slow), service("b", withRegex("^/b1$")))
		},
		"a reset": func(s script) {
			if _, err := s.p.Regenerate("a", ""); err != nil {
				t.Fatal(err)
			}
		},
		"the reconnection of the proxy that has it": func(s script) { s.connect(3, "newer") },
	} {
		for _, kind := range []string{"cluster", "route"} {
			t.Run(what+" after a refused "+kind, func(t *testing.T) {
				s := ofTwoMinds(t, kind)
				change(s)
				s.look()
				s.p.mu.Lock()
				defer s.p.mu.Unlock()
				if r := s.p.rejected["a"]; r != nil {
					t.Errorf("it is rejected for all: %+v", r)
				}
			})
		}
	}
}

// TestSilentProxyIsNotAwaitedForEver: after a while an edit that one proxy refuses, and to which the other does not answer,
// is taken back.
func TestSilentProxyIsNotAwaitedForEver(t *testing.T) {
	s := ofTwoMinds(t, "route")
	apply(t, s.p, service("a", withRegex(badRegex)), service("b", withRegex("^/b1$")))
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if next := s.p.reconcile(time.Now()); time.Until(next) > verdictTimeout {
		t.Fatalf("the publisher looks again at %v, want within %v", next, verdictTimeout)
	}
	s.p.reconcile(time.Now().Add(verdictTimeout))
	if s.p.rejected["a"] == nil {
		t.Error("it is not taken back")
	}
}

// TestTableOfTheProxyThatLeft: a proxy comes back with a table that it was sent and had not answered to, or whose answer
// came just before it left, and the control plane knows what it has.
func TestTableOfTheProxyThatLeft(t *testing.T) {
	for what, answers := range map[string]bool{"unanswered": false, "answered": true} {
		t.Run(what, func(t *testing.T) {
			s := script{p: NewPublisher(PublisherOptions{})}
			s.connect(1, "p")
			apply(t, s.p, service("a"))
			s.answer(1, "p", "", "")
			apply(t, s.p, service("a", withRegex("^/a1$")))
			s.send(1, "p", typeRoute, "last")
			if answers {
				s.p.ledger.answered(streamKey(1), typeRoute, "last", "")
			}
			last := s.p.table.version
			s.p.ledger.disconnect(streamKey(1))
			apply(t, s.p, service("a", withRegex("^/a2$")))
			s.look()
			if s.p.tables[last] == nil {
				t.Error("the table that it may have is forgotten")
			}
		})
	}
}

// TestTableBeforeItIsSent: a table that is made for a proxy and not sent yet is not forgotten, though there is another by now.
func TestTableBeforeItIsSent(t *testing.T) {
	s := script{p: NewPublisher(PublisherOptions{})}
	s.connect(1, "p")
	apply(t, s.p, service("a"))
	s.answer(1, "p", "", "")
	out := make(chan cachev3.DeltaResponse, 1)
	req := &discoveryv3.DeltaDiscoveryRequest{Node: streamKey(1).node("p"), TypeUrl: typeRoute, ResponseNonce: "nonce"}
	sub := streamv3.NewDeltaSubscription([]string{envoy.GatewayName}, nil, map[string]string{envoy.GatewayName: s.p.table.version}, false)
	if _, err := s.p.cache.CreateDeltaWatch(req, sub, out); err != nil {
		t.Fatal(err)
	}
	apply(t, s.p, service("a", withRegex("^/a1$")))
	made := s.p.table.version
	if len(out) != 1 {
		t.Fatal("the table is not on its way")
	}
	apply(t, s.p, service("a", withRegex("^/a2$")))
	s.look()
	if s.p.tables[made] == nil {
		t.Error("the table that is on its way is forgotten")
	}
	s.send(1, "p", typeRoute, "made")
	s.answer(1, "p", "", "")
	if s.p.tables[made] != nil {
		t.Error("it is kept though the proxy has another")
	}
}

// TestFormerObjectionWhileRoutesAreHeldBack: what a proxy that objected had is kept as long as the routes to which it did
// are in effect, and not any longer.
func TestFormerObjectionWhileRoutesAreHeldBack(t *testing.T) {
	for _, first := range []string{"edit", "leave"} {
		t.Run(first+" first", func(t *testing.T) {
			s := ofTwoMinds(t, "route")
			leave := func() {
				s.p.ledger.disconnect(streamKey(1))
				s.look()
			}
			if first == "leave" {
				leave()
			}
			apply(t, s.p, service("a", withRegex("^/mended$")), service("b"), service("new"))
			if first == "edit" {
				leave()
			}
			key := objectionKey{typeURL: typeRoute, service: "a"}
			if o := s.p.former[key]; o == nil || o.instead == nil || o.instead.policy.Routes[0].Value != "^/good-a$" {
				t.Errorf("while the routes wait for the new cluster: %+v", o)
			}
			s.answer(2, "newer", "", "")
			s.answer(2, "newer", "", "")
			if n := len(s.p.former); n > 0 {
				t.Errorf("%d former objections are left to what is in effect no longer", n)
			}
		})
	}
}
