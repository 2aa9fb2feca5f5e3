package deploy

import (
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// dnsTTL is that of a container engine's name server, in seconds.
const dnsTTL = 600

// resolver answers A queries for the names of containers, as an engine's name server does.
type resolver struct {
	// lookup returns the addresses that the asking address reaches by the name.
	lookup func(asking netip.Addr, name string) []netip.Addr
}

// serve answers until the connection is closed.
func (r *resolver) serve(conn net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		asking, err := netip.ParseAddrPort(from.String())
		if err != nil {
			continue
		}
		if answer := r.answer(asking.Addr().Unmap(), buf[:n]); answer != nil {
			// One that is lost is asked for again.
			_, _ = conn.WriteTo(answer, from)
		}
	}
}

// answer returns nil for what is no query.
func (r *resolver) answer(asking netip.Addr, query []byte) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || m.Response || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	reply := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true, RecursionDesired: m.RecursionDesired, RecursionAvailable: true},
		Questions: m.Questions,
	}
	addrs := r.lookup(asking, strings.TrimSuffix(strings.ToLower(q.Name.String()), "."))
	if addrs == nil {
		reply.RCode = dnsmessage.RCodeNameError
	}
	if q.Type == dnsmessage.TypeA {
		for _, addr := range addrs {
			reply.Answers = append(reply.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: dnsTTL},
				Body:   &dnsmessage.AResource{A: addr.As4()},
			})
		}
	}
	packed, err := reply.Pack()
	if err != nil {
		return nil
	}
	return packed
}
