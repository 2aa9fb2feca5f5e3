package xds

import (
	"fmt"
	"slices"
	"testing"

	"github.com/breakwater/breakwater/envoy"
)

// oneRejection checks that a's policy is rejected by these proxies, in part or by all, and nothing else is.
func oneRejection(p *Publisher, kind string, partial bool, by ...string) string {
	r := p.Rejections()
	if len(r) != 1 || r[0].Service != "a" || r[0].Type != kind || r[0].Partial != partial || !slices.Equal(r[0].Proxies, by) {
		return fmt.Sprintf("%+v", r)
	}
	return ""
}

// agreedAll says which services' desired versions not every proxy has accepted yet; "" if all have.
func agreedAll(p *Publisher, services ...string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range services {
		if p.agreed[name] != p.desired[name] {
			return name + " is not agreed on"
		}
	}
	return ""
}

// divided serves a with routes that an older proxy refuses and a newer one accepts.
func divided(t *testing.T) (p *Publisher, addr string, older, newer *fakeProxy) {
	t.Helper()
	p = NewPublisher(PublisherOptions{})
	addr = serve(t, p)
	older, newer = dial(t, addr, "older", nil, refusesRegex), connect(t, addr, "newer")
	apply(t, p, service("a", withRegex("^/good-a$")), service("b"))
	eventually(t, "both have it", func() string {
		return agreedAll(p, "a", "b") + older.routes([]string{"^/good-a$"}, nil) + newer.routes([]string{"^/good-a$"}, nil)
	})
	apply(t, p, service("a", withRegex(badRegex)), service("b", withRegex("^/b1$")))
	eventually(t, "it is shown as partial", func() string { return oneRejection(p, "route", true, "older") })
	return p, addr, older, newer
}

func TestOlderProxyGetsOtherEdits(t *testing.T) {
	p, _, older, newer := divided(t)
	eventually(t, "each has its own of a and the new b", func() string {
		return newer.routes([]string{badRegex, "^/b1$"}, nil) + older.routes([]string{"^/good-a$", "^/b1$"}, nil)
	})
	refusals := older.refusals()
	apply(t, p, service("a", withRegex(badRegex)), service("b", withRegex("^/b2$")), service("c", withRegex("^/c$")))
	eventually(t, "an edit and a new service reach both", func() string {
		return newer.routes([]string{badRegex, "^/b2$", "^/c$"}, nil) + older.routes([]string{"^/good-a$", "^/b2$", "^/c$"}, nil)
	})
	if n := older.refusals() - refusals; n != 0 {
		t.Errorf("the older proxy refused %d more tables, want none: what it refuses is known", n)
	}
	apply(t, p, service("a", withRegex(badRegex)), service("c", withRegex("^/c$")))
	eventually(t, "a removed service leaves both", func() string {
		return newer.routes(nil, []string{"^/b2$"}) + older.routes([]string{"^/good-a$"}, []string{"^/b2$"}) + names(older, typeCluster, "a", "c")
	})
	apply(t, p, service("a", withRegex("^/mended$")), service("c", withRegex("^/c$")))
	eventually(t, "the mended policy reaches both", func() string {
		return newer.routes([]string{"^/mended$"}, nil) + older.routes([]string{"^/mended$"}, nil) + acceptedAll(p, "a")
	})
	eventually(t, "nothing is rejected", func() string {
		if r := p.Rejections(); len(r) > 0 {
			return fmt.Sprintf("%+v", r)
		}
		return ""
	})
	eventually(t, "what was kept for it is forgotten", func() string {
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.objections) > 0 || len(p.variants) > 0 || len(p.tables) > 1 {
			return fmt.Sprintf("%d objections, %d variants and %d tables", len(p.objections), len(p.variants), len(p.tables))
		}
		return ""
	})
}

func TestTheAcceptingProxyLeaves(t *testing.T) {
	p, addr, older, newer := divided(t)
	newer.close()
	eventually(t, "now all reject it", func() string { return oneRejection(p, "route", false, "older") })
	late := dial(t, addr, "late", nil, refusesRegex)
	eventually(t, "one that joins gets what all had agreed on", func() string { return late.routes([]string{"^/good-a$", "^/b1$"}, nil) })
	if n := late.refusals(); n > 0 {
		t.Errorf("it was tried with the rejected version: %d refusals", n)
	}
	apply(t, p, service("a", withRegex(badRegex)), service("b", withRegex("^/b2$")))
	eventually(t, "edits of b go on", func() string {
		return older.routes([]string{"^/good-a$", "^/b2$"}, nil) + late.routes([]string{"^/good-a$", "^/b2$"}, nil)
	})
}

func TestOlderProxyJoins(t *testing.T) {
	p, addr, older, _ := divided(t)
	older.close()
	eventually(t, "its objection is gone", func() string {
		if r := p.Rejections(); len(r) > 0 {
			return fmt.Sprintf("%+v", r)
		}
		return agreedAll(p, "a", "b")
	})
	// All that are connected have agreed on it, so there is nothing of a to give to one that refuses it.
	second := dial(t, addr, "second", nil, refusesRegex)
	eventually(t, "it gets all but a", func() string { return second.routes([]string{"^/b1$"}, []string{badRegex}) })
	eventually(t, "that is shown", func() string { return oneRejection(p, "route", true, "second") })
	if n := second.refusals(); n != 1 {
		t.Errorf("%d refusals, want 1", n)
	}
}

func TestOlderProxyJoinsOthersOfTwoMinds(t *testing.T) {
	p, addr, _, newer := divided(t)
	third := dial(t, addr, "third", nil, refusesRegex)
	eventually(t, "it gets what all had agreed on", func() string { return third.routes([]string{"^/good-a$", "^/b1$"}, nil) })
	eventually(t, "that is shown", func() string { return oneRejection(p, "route", true, "older", "third") })
	if problem := newer.routes([]string{badRegex}, nil); problem != "" {
		t.Error(problem)
	}
}

// TestOlderProxyJoinsWithoutACluster: a cluster that only an older proxy refuses is given to one that starts
// in the version that all had agreed on, and its endpoints with it.
func TestOlderProxyJoinsWithoutACluster(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	addr := serve(t, p)
	older, newer := dial(t, addr, "older", nil, refusesConnect("a")), connect(t, addr, "newer")
	apply(t, p, service("a"))
	eventually(t, "both have it", func() string { return agreedAll(p, "a") })
	good := older.has(typeCluster)["a"]
	apply(t, p, service("a", slow))
	eventually(t, "it is shown as partial", func() string { return oneRejection(p, "cluster", true, "older") })
	third := dial(t, addr, "third", nil, refusesConnect("a"))
	eventually(t, "one that starts gets the version of before", func() string {
		if v := third.has(typeCluster)["a"]; v != good {
			return "it has " + v
		}
		return oneRejection(p, "cluster", true, "older", "third")
	})
	p.mu.Lock()
	endpoints, published := p.agreed["a"].endpoints.name, p.cache.names(typeEndpoint)
	p.mu.Unlock()
	if !slices.Contains(published, endpoints) {
		t.Errorf("the endpoints %s are not among %v", endpoints, published)
	}
	newer.close()
	eventually(t, "now all reject it", func() string { return oneRejection(p, "cluster", false, "older", "third") })
	apply(t, p, service("a"))
	eventually(t, "the mended policy is accepted", func() string { return acceptedAll(p, "a") })
	if n := third.sent(typeRoute, envoy.GatewayName); n != 1 {
		t.Errorf("the route table was sent %d times, want once: no route has changed", n)
	}
}
