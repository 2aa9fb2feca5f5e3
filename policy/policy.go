// Package policy is the model of a Breakwater policy: what one service behind
// Envoy is allowed, how often it is retried, when its breaker opens and what a
// caller gets then.
//
// It reads YAML, layers the built-in values, the environment, defaults.yaml,
// profiles and the service's own document over each other, and reports every
// violation with the file, line and column the user wrote. It knows nothing of
// Envoy's protos, has no clock, no logger and does no I/O: bytes come in, values
// go out. The one invariant: a Set that Build returns is complete and valid,
// whatever the input was.
package policy

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Set is everything that is served: all services and the gateway in front of
// them. A Set is immutable once Build has returned it, and so is all it points to.
type Set struct {
	// Services in ascending order of name.
	Services []*Service
	// Gateway is never nil.
	Gateway *Gateway
	// Digest is a hash of every effective value, in hex. Equal digests mean that
	// the same would be served.
	Digest string

	// state is nil for a Set that Build did not make.
	state *state
}

// Holds reports whether the Set has a service that no document names and that is there only because its file is Changed
// or Gone.
func (s *Set) Holds() bool { return s.state != nil && s.state.holds }

// Lookup returns the service of that name, or nil.
func (s *Set) Lookup(name string) *Service {
	i, ok := slices.BinarySearchFunc(s.Services, name, func(svc *Service, name string) int {
		return strings.Compare(svc.Name, name)
	})
	if !ok {
		return nil
	}
	return s.Services[i]
}

// Position is a place in a file of the user's. Line and Column count from 1; 0
// means that the place is not known.
type Position struct {
	File   string
	Line   int
	Column int
}

func (p Position) String() string {
	switch {
	case p.File == "":
		return "-"
	case p.Line == 0:
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Layer says which of the layers a value comes from, in ascending precedence.
type Layer string

// The layers of DESIGN section 3.
const (
	LayerBuiltIn     Layer = "built-in"
	LayerEnvironment Layer = "environment"
	LayerDefaults    Layer = "defaults"
	LayerProfile     Layer = "profile"
	LayerService     Layer = "service"
)

// Origin says where one effective value comes from.
type Origin struct {
	Layer Layer
	// Position in the user's file; zero for built-in and environment values.
	Position Position
	// Variable is the environment variable's name, or the profile's name; empty otherwise.
	Variable string
	// Clamped is true if a default was pulled to a value that the user set, so as
	// not to contradict it.
	Clamped bool
}

// Count is a threshold that can be off. The zero value is off.
type Count struct {
	// N is the threshold; at least 1 if Set.
	N   uint32
	Set bool
}

// Ratio is a share between 0 and 1 that can be off. The zero value is off.
type Ratio struct {
	// Share is in (0, 1].
	Share float64
	Set   bool
}

// Duration is a time that can be off. The zero value is off.
type Duration struct {
	D   time.Duration
	Set bool
}

// Service is one service's effective policy: every value is final.
type Service struct {
	// Name is a DNS label of at most 63 characters: it is Envoy's cluster name too.
	Name string
	// Profile is the shared set that the policy names; empty for none.
	Profile  string
	Upstream Upstream
	// Routes has at least one element.
	Routes      []Route
	Timeout     Timeout
	Retry       Retry
	Breaker     Breaker
	Limits      Limits
	HealthCheck *HealthCheck // nil: no active health checks
	Fallback    *Fallback    // nil: no fallback

	// Position of the document's service field.
	Position Position
	// Origins has an entry for each effective leaf value, by its dotted path, such as
	// "breaker.failure_threshold".
	Origins map[string]Origin
	// Digest is a hash of the effective values (not of positions or origins), in hex.
	Digest string
	// Stale is true if the document on disk has an error, so that this is the
	// last good version of it.
	Stale bool

	// source is the service's own document.
	source source
	// variables are those that its values show.
	variables variables
}

// Scheme is how Envoy speaks to an upstream.
type Scheme string

// The schemes of an upstream URL.
const (
	SchemeHTTP  Scheme = "http"  // HTTP/1.1 in clear text
	SchemeHTTPS Scheme = "https" // HTTP/1.1 over TLS
	SchemeH2C   Scheme = "h2c"   // HTTP/2 in clear text
	SchemeH2    Scheme = "h2"    // HTTP/2 over TLS
	SchemeGRPC  Scheme = "grpc"  // gRPC (HTTP/2) in clear text
	SchemeGRPCS Scheme = "grpcs" // gRPC (HTTP/2) over TLS
)

// TLS reports whether the scheme is encrypted.
func (s Scheme) TLS() bool { return s == SchemeHTTPS || s == SchemeH2 || s == SchemeGRPCS }

// HTTP2 reports whether the scheme speaks HTTP/2.
func (s Scheme) HTTP2() bool { return s != SchemeHTTP && s != SchemeHTTPS }

// GRPC reports whether the scheme carries gRPC, so that grpc-status counts.
func (s Scheme) GRPC() bool { return s == SchemeGRPC || s == SchemeGRPCS }

// Upstream is where the service runs.
type Upstream struct {
	Scheme Scheme
	// Hosts has at least one element, no two equal.
	Hosts []Host
	// TLS is set if Scheme.TLS().
	TLS *TLS
}

// ByAddress reports whether every host is an IP address. Only then can Envoy's
// state of one host alone be reset.
func (u Upstream) ByAddress() bool {
	for _, h := range u.Hosts {
		if _, err := netip.ParseAddr(h.Name); err != nil {
			return false
		}
	}
	return true
}

// Host is one host and port of an upstream.
type Host struct {
	// Name is an IP address or a DNS name.
	Name string
	Port uint16
}

// Addresses are the hosts' addresses, in the policy's order.
func (u Upstream) Addresses() []string {
	out := make([]string, len(u.Hosts))
	for i, h := range u.Hosts {
		out[i] = h.Address()
	}
	return out
}

// Address is the host as name:port; an IPv6 address is in brackets.
func (h Host) Address() string { return net.JoinHostPort(h.Name, strconv.Itoa(int(h.Port))) }

// TLS says how an encrypted upstream is verified. Certificates are always verified.
type TLS struct {
	// ServerName is sent as SNI and must be in the certificate. Build fills in the
	// host name where the policy gives none; it is empty only where the one host is
	// an IP address, which must then be in the certificate itself.
	ServerName string
	// CAFile is a path on Envoy's host; empty means the system's bundle there.
	CAFile string
	// CertFile and KeyFile are the client's certificate, paths on Envoy's host;
	// both empty for none.
	CertFile, KeyFile string
}

// PathMatch is how a route's path is compared.
type PathMatch string

// The kinds of path match, in descending precedence.
const (
	MatchPath   PathMatch = "path"   // the whole path, without the query
	MatchPrefix PathMatch = "prefix" // whole path segments: /a matches /a and /a/b, not /ab
	MatchRegex  PathMatch = "regex"  // the whole path, RE2
)

// Route sends requests to the service.
type Route struct {
	Match PathMatch
	// Value is the path, prefix or expression. A prefix is "/" or has no slash at its end.
	Value string
	// Hosts are the host names it applies to: exact, "*.suffix", or empty for every
	// host that no other route names. An IPv6 address is in brackets, as in a URL.
	Hosts []string
	// Methods in upper case; empty for all.
	Methods []string
	Headers []HeaderMatch
	// Rewrite replaces the matched prefix or path; for a regex it is the substitution
	// (\1 is the first group). Empty: the path stays.
	Rewrite  string
	Position Position
}

// HeaderMatch is one condition on a request header. Exactly one of Exact, Prefix,
// Regex and Present applies.
type HeaderMatch struct {
	Name    string
	Exact   string
	Prefix  string
	Regex   string
	Present bool
	Invert  bool
}

// Timeout bounds what a caller waits for.
type Timeout struct {
	// Connect bounds the TCP (and TLS) handshake with a host.
	Connect time.Duration
	// Request bounds the whole request, all attempts and back-off included. Off: no bound.
	Request Duration
	// PerTry bounds one attempt. Off by default: a timed-out request is then not retried.
	PerTry Duration
	// Idle bounds the time without a byte in either direction of a request. Off: no bound.
	Idle Duration
}

// Retry says what is tried again. MaxRetries 0 means never.
type Retry struct {
	MaxRetries uint32
	// BaseDelay and MaxDelay bound Envoy's exponential, fully jittered back-off.
	BaseDelay, MaxDelay time.Duration
	// On are Envoy's retry conditions (5xx, reset, connect-failure, …) or status codes.
	On []string
	// Methods are those that are retried on every condition in On. Other methods are
	// retried only if the request provably never reached the service.
	Methods []string
	// Budget is the share of active requests that may be retries.
	Budget float64
}

// Breaker says when the service's circuit breaker opens and closes.
type Breaker struct {
	// FailureThreshold is the number of failures in the window that opens.
	FailureThreshold Count
	// SuccessThreshold is the number of successes in half-open that closes.
	SuccessThreshold uint32
	// Timeout is the time a breaker stays open before it lets probes through.
	Timeout time.Duration
	// WindowSize is the number of attempts looked back on.
	WindowSize uint32
	// FailureRate is the share of failed attempts that opens.
	FailureRate Ratio
	// MinRequests is the number of attempts below which FailureRate does not apply.
	MinRequests uint32
	SlowCall    *SlowCall // nil: off
	// HalfOpenMaxRequests is the number of probes at a time.
	HalfOpenMaxRequests uint32
	// Backoff multiplies Timeout for each consecutive re-opening; 1 for none.
	Backoff float64
	// MaxTimeout bounds Timeout times Backoff.
	MaxTimeout time.Duration
	// Errors are the response statuses that count as failures, as ranges. Connection
	// errors and timeouts always count. Nil: Envoy's own rule, 5xx.
	Errors []StatusRange
	// Shadow observes and reports, and never acts.
	Shadow bool
}

// StatusRange is a range of HTTP statuses, both ends included.
type StatusRange struct{ From, To uint16 }

// SlowCall opens the breaker on slow attempts.
type SlowCall struct {
	// Duration above which an attempt is slow.
	Duration time.Duration
	// Rate is the share of slow attempts that opens, in (0, 1].
	Rate float64
	// MinRequests is the number of attempts below which Rate does not apply.
	MinRequests uint32
}

// Limits bound what Envoy holds open towards the service, per proxy.
type Limits struct {
	MaxConnections, MaxPendingRequests, MaxRequests uint32
}

// HealthCheck is Envoy's active health check.
type HealthCheck struct {
	// Path of the HTTP check. Empty for a gRPC upstream: the gRPC health service is asked.
	Path                                 string
	Interval, Timeout                    time.Duration
	HealthyThreshold, UnhealthyThreshold uint32
	// Uneject lets a passing check end an ejection early. False by default.
	Uneject bool
}

// Fallback is what a caller gets while the breaker is open. Either Service or the
// static reply is set.
type Fallback struct {
	// Service is another service of the set.
	Service string
	// Status, Headers and Body are the static reply.
	Status  uint32
	Headers []Header
	Body    string
}

// Header is one response header.
type Header struct{ Name, Value string }

// Gateway is the listener in front of all services, from gateway.yaml.
type Gateway struct {
	// Host and Port are the address that every Envoy listens on.
	Host string
	Port uint16
	// ExposeAdmin is the host:port of Breakwater's HTTP API as Envoy reaches it, if
	// /api/v1/circuit-breakers is to be served on the gateway's port too. Empty: off.
	ExposeAdmin string
	// AdminSecret is what the gateway proves to that API with that a request came through it. It is no value of
	// gateway.yaml, and no part of the digest. Empty: the API takes the gateway for the caller.
	AdminSecret string `json:"-"`
	// AccessLog is "stdout", "stderr", a path on Envoy's host, or "" for off.
	AccessLog string
	// Tracing is nil if off.
	Tracing *Tracing
	// MaxHeadersKB bounds the size of a request's headers, in KiB.
	MaxHeadersKB uint32
	// MaxHeaders bounds the number of a request's headers.
	MaxHeaders uint32
	// Position of gateway.yaml; zero if there is none.
	Position Position
	// Origins has an entry for each effective value, by its dotted path in gateway.yaml,
	// where address is two: address.host and address.port. A value of that file has
	// LayerService.
	Origins map[string]Origin
	// Stale is true if gateway.yaml has an error, so that this is the last good
	// version of it, or what holds without one.
	Stale bool

	// source is gateway.yaml; zero without one.
	source source
}

// Tracing is OpenTelemetry export from Envoy.
type Tracing struct {
	// Collector is the host:port of an OTLP/gRPC receiver.
	Collector string
	// Sampling is the share of requests traced, in [0, 1].
	Sampling    float64
	ServiceName string
}
