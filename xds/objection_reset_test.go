package xds

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/breakwater/breakwater/envoy"
)

// TestResetWhileAProxyObjects: each proxy gets the cluster it has in a new generation, and nobody waits for a proxy
// to accept what it refuses.
func TestResetWhileAProxyObjects(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	addr := serve(t, p)
	older, newer := dial(t, addr, "older", nil, refusesConnect("a")), connect(t, addr, "newer")
	apply(t, p, service("a"))
	eventually(t, "both have it", func() string { return agreedAll(p, "a") })
	apply(t, p, service("a", slow))
	eventually(t, "it is shown as partial", func() string { return oneRejection(p, "cluster", true, "older") })
	eventually(t, "the newer keeps it", func() string { return acceptedAll(p, "a") })
	had, refusals := older.has(typeCluster)["a"], older.refusals()
	change, err := p.Regenerate("a", "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if got := p.Await(ctx, change); !got["older"] || !got["newer"] {
		t.Errorf("acknowledged: %v, want both", got)
	}
	if ctx.Err() != nil {
		t.Error("nobody had to be waited for")
	}
	if older.has(typeCluster)["a"] == had {
		t.Error("the older proxy still has the cluster of before: its ejections are not cleared")
	}
	if older.has(typeCluster)["a"] == newer.has(typeCluster)["a"] {
		t.Error("the older proxy has what it refuses")
	}
	if n := older.refusals() - refusals; n != 0 {
		t.Errorf("the older proxy was sent what it refuses %d times more", n)
	}
	if problem := oneRejection(p, "cluster", true, "older"); problem != "" {
		t.Error(problem)
	}
}

// TestResetIsRefused: a proxy that refuses the change itself is not waited for.
func TestResetIsRefused(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	addr := serve(t, p)
	refuse := make(chan struct{})
	stubborn := dial(t, addr, "stubborn", nil, func(typeURL, _ string, _ []byte) string {
		select {
		case <-refuse:
			if typeURL == typeCluster {
				return "no clusters any more"
			}
		default:
		}
		return ""
	})
	connect(t, addr, "willing")
	apply(t, p, service("a"))
	eventually(t, "both have it", func() string {
		if n := p.ledger.count(); n != 2 {
			return fmt.Sprintf("%d proxies are there", n)
		}
		return agreedAll(p, "a")
	})
	close(refuse)
	change, err := p.Regenerate("a", "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if got := p.Await(ctx, change); got["stubborn"] || !got["willing"] || len(got) != 2 {
		t.Errorf("acknowledged: %v, want by the willing alone", got)
	}
	if ctx.Err() != nil {
		t.Error("the stubborn proxy was waited for")
	}
	if n := stubborn.removed(typeCluster, "a"); n != 0 {
		t.Errorf("its cluster was removed %d times", n)
	}
}

// TestResetOfARejectedPolicy does not bring back what all reject, though a proxy that has left had accepted it.
func TestResetOfARejectedPolicy(t *testing.T) {
	p, addr, older, newer := divided(t)
	newer.close()
	eventually(t, "now all reject it", func() string { return oneRejection(p, "route", false, "older") })
	eventually(t, "the version of before is in effect", func() string {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.effective["a"] == p.desired["a"] {
			return "the rejected one is"
		}
		return ""
	})
	refusals := older.refusals()
	change, err := p.Regenerate("a", "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if got := p.Await(ctx, change); !got["older"] {
		t.Errorf("acknowledged: %v", got)
	}
	late := dial(t, addr, "late", nil, refusesRegex)
	eventually(t, "one that joins gets the version of before", func() string {
		return late.routes([]string{"^/good-a$"}, nil) + names(late, typeCluster, "a", "b")
	})
	if n := older.refusals() - refusals + late.refusals(); n != 0 {
		t.Errorf("%d refusals more", n)
	}
	if n := late.sent(typeRoute, envoy.GatewayName); n != 1 {
		t.Errorf("the route table was sent %d times", n)
	}
}
