package xds

import (
	"fmt"
	"testing"

	"github.com/breakwater/breakwater/envoy"
)

func TestRejectedRoutesOfANewServiceAreLeftOut(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	proxy := dial(t, serve(t, p), "p1", nil, refusesRegex)
	apply(t, p, service("a"))
	eventually(t, "a is accepted", func() string { return acceptedAll(p, "a") })
	// Its cluster is accepted; that alone is no reason to keep its routes.
	apply(t, p, service("a"), service("new", withRegex(badRegex)))
	rejected := func() string {
		if r := p.Rejections(); len(r) != 1 || r[0].Service != "new" || r[0].Type != "route" || r[0].Partial {
			return fmt.Sprintf("%+v", r)
		}
		return ""
	}
	eventually(t, "the rejection is known", rejected)
	eventually(t, "a alone is there", func() string { return names(proxy, typeCluster, "a") })
	sent := proxy.sent(typeRoute, envoy.GatewayName)
	apply(t, p, service("a", withRegex("/a.*")), service("new", withRegex(badRegex)))
	eventually(t, "an edit of a is accepted", func() string { return acceptedAll(p, "a") })
	if n := proxy.sent(typeRoute, envoy.GatewayName); n != sent+1 {
		t.Errorf("the route table was sent %d times for one edit", n-sent)
	}
	if problem := rejected(); problem != "" {
		t.Errorf("rejections: %s", problem)
	}
	// With the policy its rejection goes, though nothing of it was ever in effect.
	apply(t, p, service("a", withRegex("/a.*")))
	eventually(t, "nothing is rejected any more", func() string {
		if r := p.Rejections(); len(r) != 0 {
			return fmt.Sprintf("%+v", r)
		}
		return ""
	})
}

// TestInForceIsWhatIsInEffect: who decides by policies does not go by one that every proxy rejects where there is another,
// and learns of it.
func TestInForceIsWhatIsInEffect(t *testing.T) {
	reverted := make(chan struct{}, 10)
	p := NewPublisher(PublisherOptions{Reverted: func() { reverted <- struct{}{} }})
	dial(t, serve(t, p), "p1", nil, refusesRegex)
	good := service("a")
	apply(t, p, good)
	eventually(t, "a is accepted", func() string { return acceptedAll(p, "a") })
	if len(reverted) > 0 {
		t.Error("an edit that is accepted is told of as reverted")
	}
	bad, added := service("a", withRegex(badRegex)), service("new", withRegex(badRegex))
	apply(t, p, bad, added)
	<-reverted
	eventually(t, "the accepted policy is in force, and that of the new service is the only one", func() string {
		set := p.InForce()
		if a, n := set.Lookup("a"), set.Lookup("new"); a != good || n != added {
			return fmt.Sprintf("a: %+v, new: %+v", a, n)
		}
		return ""
	})
	if p.Set().Lookup("a") != bad {
		t.Error("the set is not what was applied")
	}
	fixed := service("a", withRegex("/a.*"))
	apply(t, p, fixed)
	if set := p.InForce(); set.Lookup("a") != fixed || set.Lookup("new") != nil {
		t.Errorf("after the edit %+v is in force", set.Services)
	}
}
