package policy

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

var schemes = []string{"http", "https", "h2c", "h2", "grpc", "grpcs"}

// upstreamValue is a URL, or a list of host:port or URLs of one scheme.
type upstreamValue struct {
	meta
	V Upstream // without TLS
}

func (u *upstreamValue) decode(d *decoder, n *yaml.Node, path string, f *field) {
	list := []*yaml.Node{n}
	if n.Kind != yaml.ScalarNode {
		var ok bool
		if list, ok = d.sequence(n, path, f); !ok {
			return
		}
	}
	u.V = Upstream{}
	for i, item := range list {
		at := path
		if n.Kind == yaml.SequenceNode {
			at = fmt.Sprintf("%s[%d]", path, i)
		}
		text, ok := d.value(item, at)
		if !ok {
			continue
		}
		scheme, host, err := parseUpstream(text.text)
		switch {
		case err != nil:
			d.reject(item, at, text, err)
		case u.V.Scheme != "" && u.V.Scheme != scheme:
			d.report(d.at(item), at, "all hosts of a service need the same scheme: %s is not %s", scheme, u.V.Scheme)
		case slices.Contains(u.V.Hosts, host):
			d.reject(item, at, text, misfitf("%s is given twice", barePart(host.Address())))
		default:
			u.V.Scheme = scheme
			u.V.Hosts = append(u.V.Hosts, host)
		}
	}
}

func (u *upstreamValue) encode() *yaml.Node {
	values := make([]string, len(u.V.Hosts))
	for i, h := range u.V.Hosts {
		values[i] = string(u.V.Scheme) + "://" + h.Address()
	}
	if len(values) == 1 {
		return stringNode(values[0])
	}
	return encodeList(values)
}

// parseUpstream reads a URL, or host:port for clear-text HTTP/1.1. The default
// ports are 80 and, over TLS, 443.
func parseUpstream(s string) (Scheme, Host, error) {
	fail := func(format string, args ...any) (Scheme, Host, error) {
		return "", Host{}, misfitf(format, args...)
	}
	full := s
	if !strings.Contains(s, "://") {
		full = "http://" + s
	}
	u, err := url.Parse(full)
	if err != nil && strings.Contains(s, "@") {
		// It may hold a password, which is not to be shown.
		return fail("is not a URL or host:port; an upstream can not carry a user or password")
	}
	if err != nil {
		return fail("%s is not a URL or host:port", quotedPart(s))
	}
	if !slices.Contains(schemes, u.Scheme) {
		if near := meant(u.Scheme, schemes); near != "" {
			return fail("unknown scheme %s%s", quotedPart(u.Scheme), near)
		}
		return fail("unknown scheme %s: one of %s", quotedPart(u.Scheme), strings.Join(schemes, ", "))
	}
	switch {
	case u.User != nil:
		return fail("an upstream can not carry a user or password")
	case (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "":
		return fail("%s has more than scheme, host and port: use rewrite in a route to change the path", quotedPart(s))
	}
	scheme := Scheme(u.Scheme)
	host := Host{Name: strings.ToLower(u.Hostname()), Port: 80}
	if scheme.TLS() {
		host.Port = 443
	}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if host.Port, err = parsePort(port); err != nil {
			return fail("%s: %s", quotedPart(s), err)
		}
	}
	if addr, err := netip.ParseAddr(host.Name); err == nil {
		if addr.Zone() != "" || addr.IsUnspecified() || addr.IsMulticast() {
			return fail("%s is not the address of a host", barePart(host.Name))
		}
		host.Name = addr.Unmap().String()
	} else if !isHostName(host.Name) {
		return fail("%s is not a host name or IP address", quotedPart(host.Name))
	}
	return scheme, host, nil
}

func parsePort(s string) (uint16, error) {
	v, err := strconv.ParseUint(s, 10, 16)
	if err != nil || v == 0 || !isDigits(s) {
		return 0, misfitf("the port must be from 1 to 65535, not %s", quotedPart(s))
	}
	return uint16(v), nil
}

func isIP(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Zone() == ""
}

// isHostName reports whether s is a DNS name in lower case, perhaps with a dot at
// its end. Underscores are allowed, as container names have them. A name whose
// last label is a number is taken for a wrong IP address.
func isHostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' ||
			strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return !isDigits(labels[len(labels)-1])
}

// address is a host:port.
type address struct {
	meta
	Host string
	Port uint16
	Off  bool
}

func (a *address) parse(s string, _ kind, f *field) error {
	if s == off && f.off != "" {
		a.Host, a.Port, a.Off = "", 0, true
		return nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return misfitf("must be host:port%s, not %s", orOff(f), quotedPart(s))
	}
	if host = strings.ToLower(host); !isIP(host) && !isHostName(host) {
		return misfitf("%s is not a host name or IP address", quotedPart(host))
	}
	number, err := parsePort(port)
	if err != nil {
		return err
	}
	a.Host, a.Port, a.Off = host, number, false
	return nil
}

func (a *address) String() string {
	if a.Off || a.Host == "" {
		return ""
	}
	return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
}

func (a *address) encode() *yaml.Node {
	if a.Off {
		return scalarNode(off)
	}
	return stringNode(a.String())
}
