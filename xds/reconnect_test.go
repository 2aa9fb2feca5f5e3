package xds

import (
	"fmt"
	"slices"
	"testing"
)

// reconnected serves a and b to a proxy, ends that control plane, and serves b and c by another to
// what has what the first proxy had.
func reconnected(t *testing.T, refuse func(typeURL, name string, body []byte) string) (*Publisher, *fakeProxy) {
	t.Helper()
	first := NewPublisher(PublisherOptions{})
	before := connect(t, serve(t, first), "p1")
	apply(t, first, service("a"), service("b"))
	eventually(t, "both are accepted", func() string { return acceptedAll(first, "a", "b") })
	has := before.all()
	before.close()
	second := NewPublisher(PublisherOptions{})
	apply(t, second, service("b"), service("c"))
	return second, dial(t, serve(t, second), "p1", has, refuse)
}

// TestReconnectedProxyLosesNoCluster: policies that were edited while the control plane was down are put into
// effect in an order in which every route has its cluster at every time.
func TestReconnectedProxyLosesNoCluster(t *testing.T) {
	second, proxy := reconnected(t, nil)
	eventually(t, "c is there and a is not", func() string { return names(proxy, typeCluster, "b", "c") })
	eventually(t, "c is accepted", func() string { return acceptedAll(second, "b", "c") })
	var order []string
	for _, typ := range proxy.order(0) {
		if typ == "cluster" || typ == "route" {
			order = append(order, typ)
		}
	}
	if want := []string{"cluster", "route", "cluster"}; !slices.Equal(order, want) {
		t.Errorf("the order is %v, want %v", order, want)
	}
	if n := proxy.sent(typeCluster, "b"); n != 0 {
		t.Errorf("the cluster of b, which the proxy has, was sent %d times", n)
	}
	second.cache.mu.Lock()
	defer second.cache.mu.Unlock()
	if len(second.cache.waiting) > 0 {
		t.Errorf("watches wait on %d streams", len(second.cache.waiting))
	}
}

// TestReconnectedProxyThatRefusesTheRoutes keeps what its own routes refer to.
func TestReconnectedProxyThatRefusesTheRoutes(t *testing.T) {
	second, proxy := reconnected(t, func(typeURL, _ string, _ []byte) string {
		if typeURL == typeRoute {
			return "no routes, please"
		}
		return ""
	})
	eventually(t, "the rejection is known", func() string {
		if r := second.Rejections(); len(r) == 0 {
			return fmt.Sprintf("%+v", r)
		}
		return ""
	})
	if n := proxy.removed(typeCluster, "a"); n != 0 {
		t.Errorf("the cluster of a was removed %d times", n)
	}
}
