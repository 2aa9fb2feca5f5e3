package xds

import (
	"testing"

	"github.com/breakwater/breakwater/envoy"
)

// TestTableOnItsWayIsKnown: of two edits that follow each other only the one that is refused is blamed, though the
// proxy had not answered to the first yet when the second was published.
func TestTableOnItsWayIsKnown(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	key := streamKey(1)
	p.ledger.connect(key, Proxy{ID: "p1"})
	send := func(nonce string) {
		for _, typeURL := range []string{typeCluster, typeRoute} {
			versions := map[string]string{}
			for name, r := range p.cache.ofType(typeURL).resources {
				versions[name] = r.version
			}
			p.ledger.sent(key, typeURL, nonce, batch{versions: versions})
		}
	}
	answer := func(nonce, text string) {
		p.ledger.answered(key, typeCluster, nonce, "")
		p.ledger.answered(key, typeRoute, nonce, text)
	}
	for i, services := range [][2]string{{"^/a1$", "^/b1$"}, {"^/a2$", "^/b1$"}, {"^/a2$", "^/b2$"}} {
		apply(t, p, service("a", withRegex(services[0])), service("b", withRegex(services[1])))
		send([]string{"first", "second", "third"}[i])
		if i == 0 {
			answer("first", "")
			apply(t, p, p.set.Services...)
		}
	}
	apply(t, p, p.set.Services...)
	answer("second", "")
	answer("third", envoy.GatewayName+": refused for a reason that quotes nothing")
	apply(t, p, p.set.Services...)
	r := p.Rejections()
	if len(r) != 1 || r[0].Service != "b" {
		t.Errorf("%d rejections, want one, of b: %+v", len(r), r)
	}
}
