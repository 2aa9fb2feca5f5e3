package admin_test

import (
	"context"
	"fmt"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/breaker"
)

// forgotten is what a fakeModel was told to forget, by whom.
type forgotten struct {
	proxy string
	by    breaker.Action
}

func edge3() admin.DisconnectedProxy {
	return admin.DisconnectedProxy{ID: "edge-3", NodeCluster: "edge", AdminAddress: "127.0.0.1:9903", Since: day}
}

func (f *fakeModel) Disconnected(context.Context) ([]admin.DisconnectedProxy, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []admin.DisconnectedProxy{edge3()}, f.err
}

func (f *fakeModel) Forget(_ context.Context, proxy string, by breaker.Action) (admin.DisconnectedProxy, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgets = append(f.forgets, forgotten{proxy, by})
	switch {
	case f.err != nil:
		return admin.DisconnectedProxy{}, "", f.err
	case proxy == "edge-1":
		return admin.DisconnectedProxy{}, "", fmt.Errorf("%w: end it first", admin.ErrProxyConnected)
	case proxy != edge3().ID:
		return admin.DisconnectedProxy{}, "", fmt.Errorf("%w %s", breaker.ErrUnknownProxy, proxy)
	}
	return edge3(), f.unsaved, nil
}
