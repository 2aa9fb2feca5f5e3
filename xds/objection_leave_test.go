package xds

import (
	"fmt"
	"testing"

	"github.com/breakwater/breakwater/envoy"
)

// TestOlderProxyReconnects: a proxy whose connection ends while it objects goes on with what it had, and gets
// other services' edits.
func TestOlderProxyReconnects(t *testing.T) {
	p, addr, older, newer := divided(t)
	eventually(t, "it has its own", func() string { return older.routes([]string{"^/good-a$", "^/b1$"}, nil) })
	has := older.all()
	older.close()
	eventually(t, "all that are left agree", func() string { return agreedAll(p, "a", "b") })
	apply(t, p, service("a", withRegex(badRegex)), service("b", withRegex("^/b2$")))
	eventually(t, "its table is forgotten", func() string {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.taken = nil
		p.wake()
		if len(p.tables) > 1 {
			return fmt.Sprintf("%d tables", len(p.tables))
		}
		return ""
	})
	again := dial(t, addr, "older", has, refusesRegex)
	eventually(t, "it is shown as partial", func() string { return oneRejection(p, "route", true, "older") })
	for _, b := range []string{"^/b3$", "^/b4$"} {
		apply(t, p, service("a", withRegex(badRegex)), service("b", withRegex(b)))
		eventually(t, "an edit reaches both", func() string {
			return newer.routes([]string{badRegex, b}, nil) + again.routes([]string{"^/good-a$", b}, nil)
		})
	}
	if n := again.refusals(); n != 1 {
		t.Errorf("it refused %d tables, want 1", n)
	}
}

// TestAcceptingProxyReconnects: what one proxy has accepted is not taken away from it because its
// connection ends for a moment and the only other proxy refuses it.
func TestAcceptingProxyReconnects(t *testing.T) {
	for kind, refuse := range map[string]func(string, string, []byte) string{"route": refusesRegex, "cluster": refusesConnect("a")} {
		t.Run(kind, func(t *testing.T) {
			bad := service("a", withRegex(badRegex), slow)
			p := NewPublisher(PublisherOptions{})
			addr := serve(t, p)
			newer := connect(t, addr, "newer")
			apply(t, p, bad, service("b"))
			eventually(t, "it is agreed on", func() string { return agreedAll(p, "a", "b") })
			older := dial(t, addr, "older", nil, refuse)
			eventually(t, "it is shown as partial", func() string { return oneRejection(p, kind, true, "older") })
			has := newer.all()
			newer.close()
			eventually(t, "nobody that is left has it", func() string { return oneRejection(p, kind, false, "older") })
			again := dial(t, addr, "newer", has, nil)
			eventually(t, "it is back", func() string { return oneRejection(p, kind, true, "older") })
			apply(t, p, bad, service("b", withRegex("^/b1$")))
			eventually(t, "an edit reaches both", func() string {
				return again.routes([]string{badRegex, "^/b1$"}, nil) + older.routes([]string{"^/b1$"}, []string{badRegex})
			})
			if n := again.removed(typeCluster, "a"); n != 0 {
				t.Errorf("the cluster that it had was removed %d times", n)
			}
		})
	}
}

// TestAllThatAreLeftRefuseACluster that a proxy which has left had accepted before they came.
func TestAllThatAreLeftRefuseACluster(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	addr := serve(t, p)
	first := connect(t, addr, "first")
	apply(t, p, service("a"))
	eventually(t, "it is agreed on", func() string { return agreedAll(p, "a") })
	apply(t, p, service("a", slow))
	eventually(t, "so is the edit", func() string { return agreedAll(p, "a") })
	first.close()
	eventually(t, "it has left", func() string {
		if n := p.ledger.count(); n > 0 {
			return fmt.Sprint(n)
		}
		return ""
	})
	dial(t, addr, "older", nil, refusesConnect("a"))
	eventually(t, "that nobody has it is shown", func() string { return oneRejection(p, "cluster", false, "older") })
}

// TestRefusedClusterHasNoRoutes: a proxy that has no cluster of a new service has no routes to it either.
func TestRefusedClusterHasNoRoutes(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	addr := serve(t, p)
	older, newer := dial(t, addr, "older", nil, refusesConnect("new")), connect(t, addr, "newer")
	apply(t, p, service("a"))
	eventually(t, "both have a", func() string { return agreedAll(p, "a") })
	apply(t, p, service("a"), service("new", slow, withRegex("^/new$")))
	eventually(t, "the newer has it", func() string { return newer.routes([]string{"^/new$"}, nil) + names(newer, typeCluster, "a", "new") })
	apply(t, p, service("a", withRegex("^/a1$")), service("new", slow, withRegex("^/new$")))
	eventually(t, "the older has a's edit and no routes to new", func() string {
		return older.routes([]string{"^/a1$"}, []string{"^/new$"}) + names(older, typeCluster, "a")
	})
	if n := older.sent(typeRoute, envoy.GatewayName); n != 2 {
		t.Errorf("the route table was sent %d times, want 2", n)
	}
	apply(t, p, service("a", withRegex("^/a1$")), service("new", withRegex("^/new$")))
	eventually(t, "the mended policy reaches both", func() string {
		return older.routes([]string{"^/new$"}, nil) + agreedAll(p, "a", "new")
	})
}
