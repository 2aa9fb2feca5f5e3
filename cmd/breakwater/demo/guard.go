package demo

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// guard turns away control requests that a browser sends for a page of another site: those
// that say so, and those to a name that such a page may have pointed at this address.
type guard struct {
	origin *http.CrossOriginProtection
	// names are the host names, in lower case, that the listeners were given.
	names []string
}

// newGuard allows the names among these addresses, each a host or a host:port.
func newGuard(addrs ...string) *guard {
	g := &guard{origin: http.NewCrossOriginProtection()}
	for _, addr := range addrs {
		if host := hostOf(addr); host != "" {
			g.names = append(g.names, host)
		}
	}
	return g
}

// admit answers a request that is not allowed, and reports whether it is.
func (g *guard) admit(w http.ResponseWriter, r *http.Request) bool {
	if !g.knows(r.Host) {
		writeError(w, http.StatusMisdirectedRequest, fmt.Errorf("host %q is not a name of this server: use its IP address or localhost", r.Host))
		return false
	}
	if err := g.origin.Check(r); err != nil {
		writeError(w, http.StatusForbidden, err)
		return false
	}
	return true
}

// knows reports whether a Host header is an IP address, localhost or a name of ours.
func (g *guard) knows(hostport string) bool {
	host := hostOf(hostport)
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == "localhost" || slices.Contains(g.names, host)
}

// hostOf is the host of a host:port or of a bare host, in lower case and without brackets
// or the root's dot.
func hostOf(hostport string) string {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}
