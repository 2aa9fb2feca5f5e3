package xds

import (
	"fmt"
	"maps"
	"testing"
)

// An admin address that is known goes before the one that a node connects from. It goes for that node alone: not for one that
// has the same id, and another port.
func TestAdminAddressThatIsKnown(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	server, addr := serveWith(t, p, ServerOptions{AdminAddresses: map[string]string{"own": "127.77.3.1:9901", "stranger": "127.77.3.1:9902"}})
	apply(t, p, service("a"))
	connect(t, addr, "own")
	connect(t, addr, "other")
	connect(t, addr, "stranger")
	want := map[string]string{"own": "127.77.3.1:9901", "other": "127.0.0.1:9901", "stranger": "127.0.0.1:9901"}
	eventually(t, "all are known", func() string {
		got := map[string]string{}
		for _, p := range p.Ledger().Proxies() {
			got[p.ID] = p.AdminAddress
		}
		server.roster.mu.Lock()
		defer server.roster.mu.Unlock()
		for id, m := range server.roster.members {
			if m.AdminAddress != want[id] {
				return fmt.Sprintf("%+v", m)
			}
		}
		if !maps.Equal(got, want) {
			return fmt.Sprint(got)
		}
		return ""
	})
}
