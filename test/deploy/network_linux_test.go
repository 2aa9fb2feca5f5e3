package deploy

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// network is a bridge; containers on it reach each other by name.
type network struct {
	name    string
	bridge  string
	gateway netip.Addr
	next    netip.Addr
}

// addNetwork makes a network with a name server.
func (e *engine) addNetwork(name string) {
	e.t.Helper()
	i := byte(len(e.networks))
	gateway := netip.AddrFrom4([4]byte{172, 28, i, 1})
	n := &network{name: name, bridge: fmt.Sprintf("net%d", i), gateway: gateway, next: gateway.Next()}
	for _, args := range [][]string{
		// Without an address of its own it would take that of each new port that has a lower one.
		{"link", "add", n.bridge, "address", mac(gateway), "type", "bridge"},
		{"address", "add", gateway.String() + "/24", "dev", n.bridge},
		{"link", "set", n.bridge, "up"},
	} {
		if err := ip(args...); err != nil {
			e.t.Fatal(err)
		}
	}
	conn, err := net.ListenPacket("udp4", netip.AddrPortFrom(gateway, 53).String())
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = conn.Close() })
	go (&resolver{lookup: e.lookup}).serve(conn)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.networks[name] = n
}

// lookup returns the addresses by which a container reaches a service: on the networks that
// both are on.
func (e *engine) lookup(asking netip.Addr, name string) []netip.Addr {
	all := e.all()
	i := slices.IndexFunc(all, func(c *container) bool { return c.has(asking) })
	if i < 0 {
		return nil
	}
	var addrs []netip.Addr
	for _, c := range all {
		if c.service != name && c.hostname != name {
			continue
		}
		for network, addr := range c.addrs {
			if _, shared := all[i].addrs[network]; shared {
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs
}

func (c *container) has(addr netip.Addr) bool {
	for _, a := range c.addrs {
		if a == addr {
			return true
		}
	}
	return false
}

// connect gives the container an address on a network. The caller must hold engine.mu.
func (c *container) connect(n *network, i int) error {
	addr, ok := c.addrs[n.name]
	if !ok {
		addr = n.next
		n.next = addr.Next()
		c.addrs[n.name] = addr
	}
	pid := fmt.Sprint(c.cmd.Process.Pid)
	device := fmt.Sprintf("eth%d", i)
	outside := fmt.Sprintf("v%s-%d", pid, i)
	within := []string{"--target", pid, "--net", "ip"}
	for _, args := range [][]string{
		{"ip", "link", "add", outside, "type", "veth", "peer", "name", device, "address", mac(addr), "netns", pid},
		{"ip", "link", "set", outside, "master", n.bridge, "up"},
		append(append([]string{"nsenter"}, within...), "address", "add", addr.String()+"/24", "dev", device),
		append(append([]string{"nsenter"}, within...), "link", "set", device, "up"),
		append(append([]string{"nsenter"}, within...), "link", "set", "lo", "up"),
	} {
		if err := run(args[0], args[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// mac is a link address that an IP address keeps, so that nobody's ARP cache is ever wrong.
func mac(addr netip.Addr) string {
	b := addr.As4()
	return fmt.Sprintf("02:42:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3])
}

// publish forwards a port of the test host to one of the container's, until the test ends.
func (c *container) publish(addr string, port int) {
	c.engine.t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		c.engine.t.Fatal(err)
	}
	c.engine.t.Cleanup(func() { _ = l.Close() })
	target := netip.AddrPortFrom(c.addrs[c.networks[0]], uint16(port)).String()
	go forward(l, target)
}
