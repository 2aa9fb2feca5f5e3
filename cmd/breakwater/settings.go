package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// planeFlags are the flags of `serve`, and of `run`.
type planeFlags struct {
	policies       string
	xds            string
	http           string
	grpc           string
	gateway        string
	state          string
	log            logFlags
	httpHosts      []string
	httpReadOnly   bool
	strict         bool
	allowPlaintext bool
	lease          time.Duration
}

func (f *planeFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.policies, "policies", f.policies, "directory of the policies")
	flags.StringVar(&f.xds, "xds", "127.0.0.1:18000", "address of the xDS server, for Envoy")
	flags.StringVar(&f.http, "http", "127.0.0.1:8081", "address of the HTTP/JSON API and of /metrics")
	flags.StringSliceVar(&f.httpHosts, "http-host", nil, "name that clients use for --http, without the port; may be repeated. Given once, the HTTP API answers to these names, IP addresses and localhost alone, on every address")
	flags.BoolVar(&f.httpReadOnly, "http-read-only", false, "let the HTTP/JSON API only show: calls that change something are refused there; the gRPC admin API is as ever")
	flags.StringVar(&f.grpc, "grpc", "127.0.0.1:8082", "address of the gRPC admin API")
	flags.StringVar(&f.gateway, "gateway", "", "address that every Envoy listens on (default: that of gateway.yaml, else of $GATEWAY_HOST and $GATEWAY_PORT, else 127.0.0.1:8080)")
	flags.StringVar(&f.state, "state", defaultStateDir(), "directory of what outlives a restart")
	flags.DurationVar(&f.lease, "lease", 15*time.Second, "how long a proxy keeps a breaker open if it hears nothing more from the control plane")
	f.log.register(flags)
	flags.BoolVar(&f.strict, "strict", false, "refuse to start if a policy has an error or a warning")
	flags.BoolVar(&f.allowPlaintext, "allow-plaintext", false, "allow listeners without TLS off the loopback interface: for private networks only")
}

// minLease leaves time for a renewal, which comes when a third of it is over at the latest.
const minLease = time.Second

// defaultStateDir follows the XDG base directories.
func defaultStateDir() string {
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "breakwater")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "breakwater")
	}
	return filepath.Join(os.TempDir(), "breakwater")
}

// settings are planeFlags that were found usable, before anything on the machine was touched.
type settings struct {
	flags           planeFlags
	log             *loggers
	xds, http, grpc netip.AddrPort
	// gateway is the override of --gateway; nil without it.
	gateway *netip.AddrPort
	// policies is the absolute path of the policies' directory.
	policies string
}

// check reports what is wrong with the flags as a usage error. Logs will go to stderr.
func (f planeFlags) check(stderr io.Writer) (settings, error) {
	s := settings{flags: f}
	if f.policies == "" {
		return s, usagef("--policies is required")
	}
	var err error
	if s.policies, err = filepath.Abs(f.policies); err != nil {
		return s, usagef("--policies %s: %w", f.policies, err)
	}
	if s.log, err = f.log.open(stderr); err != nil {
		return s, err
	}
	for _, l := range []struct {
		to   *netip.AddrPort
		flag string
		addr string
	}{
		{&s.xds, "xds", f.xds},
		{&s.http, "http", f.http},
		{&s.grpc, "grpc", f.grpc},
	} {
		if *l.to, err = parseAddr(l.addr); err != nil {
			return s, usagef("--%s: %w", l.flag, err)
		}
		if !l.to.Addr().IsLoopback() && !f.allowPlaintext {
			return s, usagef("--%s %s: not a loopback address, and the listener has no TLS: give --allow-plaintext if the network is private", l.flag, l.addr)
		}
	}
	for _, name := range f.httpHosts {
		if name == "" || strings.ContainsAny(name, ":/ ") {
			return s, usagef("--http-host %q: must be a host name, without a scheme and a port", name)
		}
	}
	if f.lease < minLease {
		return s, usagef("--lease %s: must be at least %s", f.lease, minLease)
	}
	if f.gateway != "" {
		addr, err := parseAddr(f.gateway)
		if err != nil {
			return s, usagef("--gateway: %w", err)
		}
		s.gateway = &addr
	}
	return s, nil
}

// parseAddr takes ip:port, "localhost:port" and ":port".
func parseAddr(s string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is not host:port", s)
	}
	switch host {
	case "localhost":
		host = "127.0.0.1"
	case "":
		host = "0.0.0.0"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q: the host must be an IP address or localhost", s)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q: the port must be a number up to 65535", s)
	}
	return netip.AddrPortFrom(ip, uint16(n)), nil
}
