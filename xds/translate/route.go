package translate

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
)

// Fields of a route's metadata, in the namespace envoy.MetadataKey, all of them text.
// Local replies and the access log read them.
const (
	metadataService    = "service"
	metadataRetryAfter = "retry_after"
	// metadataKind is absent from a route to the service itself.
	metadataKind = "kind"
	// metadataBreaker is absent from a route that is in force whatever the breaker's state is.
	metadataBreaker = "breaker"

	// The static fallback of a route to the service itself.
	metadataFallbackStatus = "fallback_status"
	metadataFallbackType   = "fallback_type"
	metadataFallbackBody   = "fallback_body"

	kindFallback = "fallback"
	kindAdmin    = "admin"

	breakerHalfOpen = "half_open"
)

// Route is one of Envoy's routes with its place in the table.
type Route struct {
	// Hosts that it applies to; empty for every host that no other route names.
	Hosts []string
	Route *routev3.Route

	rank rank
	// retry is a hash of the route's retry policy, and bare the same route without it,
	// for a virtual host whose policy is the same. Empty and nil if the route sends
	// nothing to a cluster.
	retry string
	bare  *routev3.Route
}

// rank orders the routes of a virtual host, for Envoy takes the first that matches.
type rank struct {
	match      int // exact path, then prefix, then regex
	length     int // of a prefix, the longest first
	predicates int // on headers and methods, the most first
	service    string
	index      int // in the policy
	part       int // among those that one route of a policy becomes
}

func (r rank) compare(o rank) int {
	return cmp.Or(
		cmp.Compare(r.match, o.match),
		cmp.Compare(o.length, r.length),
		cmp.Compare(o.predicates, r.predicates),
		cmp.Compare(r.service, o.service),
		cmp.Compare(r.index, o.index),
		cmp.Compare(r.part, o.part),
	)
}

func rankOf(s *policy.Service, index int) rank {
	r := s.Routes[index]
	k := rank{service: s.Name, index: index, predicates: len(r.Headers)}
	if len(r.Methods) > 0 {
		k.predicates++
	}
	switch r.Match {
	case policy.MatchPath:
		k.match = 0
	case policy.MatchPrefix:
		k.match, k.length = 1, len(r.Value)
	case policy.MatchRegex:
		k.match = 2
	}
	return k
}

// routes builds Envoy's routes for each route of the policy: the fallback's if there is
// one, then the one of half-open, then one for the methods that are retried on everything
// the policy says, then one for the others.
func routes(s *policy.Service) ([]Route, error) {
	var all []Route
	for i, r := range s.Routes {
		parts, err := routeParts(s, r)
		if err != nil {
			return nil, fmt.Errorf("routes[%d]: %w", i, err)
		}
		for part, route := range parts {
			if err := route.ValidateAll(); err != nil {
				return nil, fmt.Errorf("routes[%d]: %w", i, err)
			}
			k := rankOf(s, i)
			k.part = part
			hash, bare := withoutRetry(route)
			all = append(all, Route{Hosts: r.Hosts, Route: route, rank: k, retry: hash, bare: bare})
		}
	}
	return all, nil
}

func routeParts(s *policy.Service, r policy.Route) ([]*routev3.Route, error) {
	var parts []*routev3.Route
	if s.Fallback != nil {
		fallback, err := fallbackRoute(s, r)
		if err != nil {
			return nil, err
		}
		parts = append(parts, fallback)
	}
	parts = append(parts, halfOpenRoute(s, r))
	retried, others := splitMethods(s.Retry, r.Methods)
	if retried.any {
		policy, err := fullRetry(s)
		if err != nil {
			return nil, err
		}
		parts = append(parts, serviceRoute(s, r, retried.methods, policy))
	}
	if others.any {
		policy, err := safeRetry(s)
		if err != nil {
			return nil, err
		}
		parts = append(parts, serviceRoute(s, r, others.methods, policy))
	}
	return parts, nil
}

// serviceRoute sends what matches to the service's cluster.
func serviceRoute(s *policy.Service, r policy.Route, methods []string, retry *routev3.RetryPolicy) *routev3.Route {
	action := clusterAction(s, r, s.Name)
	action.RetryPolicy = retry
	route := &routev3.Route{
		Match:  match(r, methods),
		Action: &routev3.Route_Route{Route: action},
	}
	metadata := serviceMetadata(s)
	if f := s.Fallback; f != nil && f.Service == "" {
		openFallback(route, metadata, f, isOpen)
	}
	route.Metadata = routeMetadata(metadata)
	return route
}

// HalfOpenKey is the runtime key, in percent, that makes a service's requests probes: they are not tried again, and what
// its limits keep from the service is answered as by an open breaker.
func HalfOpenKey(service string) string { return "breakwater.half_open." + service }

// halfOpenRoute is serviceRoute while its runtime key says so.
func halfOpenRoute(s *policy.Service, r policy.Route) *routev3.Route {
	action := clusterAction(s, r, s.Name)
	action.RetryPolicy = noRetry(s)
	route := &routev3.Route{
		Match:  whileRuntime(match(r, r.Methods), HalfOpenKey(s.Name)),
		Action: &routev3.Route_Route{Route: action},
	}
	metadata := serviceMetadata(s)
	metadata[metadataBreaker] = breakerHalfOpen
	if f := s.Fallback; f != nil && f.Service == "" {
		openFallback(route, metadata, f, isOpen+" || "+isOverflow)
	}
	route.Metadata = routeMetadata(metadata)
	return route
}

// whileRuntime makes a match hold only while a runtime key, in percent, says so.
func whileRuntime(m *routev3.RouteMatch, key string) *routev3.RouteMatch {
	m.RuntimeFraction = &corev3.RuntimeFractionalPercent{
		DefaultValue: &typev3.FractionalPercent{Numerator: 0, Denominator: typev3.FractionalPercent_HUNDRED},
		RuntimeKey:   key,
	}
	return m
}

// clusterAction is the part of a route action that does not depend on the method.
func clusterAction(s *policy.Service, r policy.Route, cluster string) *routev3.RouteAction {
	a := &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster},
		// Explicit zeroes: without a timeout Envoy's own 15 s apply, without an idle
		// timeout the listener's.
		Timeout:     durationpb.New(orZero(s.Timeout.Request)),
		IdleTimeout: durationpb.New(orZero(s.Timeout.Idle)),
	}
	// The server behind TLS chooses its site by SNI and by Host: the two must agree, or
	// it answers 421 (RFC 9110, section 15.5.20). In clear text the client's Host stays.
	if t := s.Upstream.TLS; s.Upstream.Scheme.TLS() && cluster == s.Name && t != nil && t.ServerName != "" {
		a.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: t.ServerName}
		a.AppendXForwardedHost = true
	}
	rewrite(a, r)
	return a
}

// rewrite replaces the matched path. Envoy replaces the bytes of a prefix alone, so
// that a slash at either end needs care: /a to / must make /x of /a/x, not //x.
func rewrite(a *routev3.RouteAction, r policy.Route) {
	switch {
	case r.Rewrite == "":
	case r.Match == policy.MatchRegex:
		a.RegexRewrite = substitute("^(?:"+r.Value+")$", r.Rewrite)
	case r.Match == policy.MatchPrefix && r.Value == "/":
		a.PrefixRewrite = strings.TrimSuffix(r.Rewrite, "/") + "/"
	case r.Match == policy.MatchPrefix && strings.HasSuffix(r.Rewrite, "/"):
		a.RegexRewrite = substitute("^"+regexp.QuoteMeta(r.Value)+"/*", strings.ReplaceAll(r.Rewrite, `\`, `\\`))
	default:
		a.PrefixRewrite = r.Rewrite
	}
}

func substitute(pattern, with string) *matcherv3.RegexMatchAndSubstitute {
	return &matcherv3.RegexMatchAndSubstitute{
		Pattern:      &matcherv3.RegexMatcher{Regex: pattern},
		Substitution: with,
	}
}

func match(r policy.Route, methods []string) *routev3.RouteMatch {
	m := &routev3.RouteMatch{}
	switch {
	case r.Match == policy.MatchPath:
		m.PathSpecifier = &routev3.RouteMatch_Path{Path: r.Value}
	case r.Match == policy.MatchRegex:
		m.PathSpecifier = &routev3.RouteMatch_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: r.Value}}
	case r.Value == "/":
		m.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: "/"}
	default:
		m.PathSpecifier = &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: r.Value}
	}
	if len(methods) > 0 {
		m.Headers = append(m.Headers, methodMatch(methods))
	}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, headerMatch(h))
	}
	return m
}

func methodMatch(methods []string) *routev3.HeaderMatcher {
	if len(methods) == 1 {
		return &routev3.HeaderMatcher{
			Name:                 ":method",
			HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: exact(methods[0])},
		}
	}
	sorted := slices.Sorted(slices.Values(methods))
	for i := range sorted {
		sorted[i] = regexp.QuoteMeta(sorted[i])
	}
	return &routev3.HeaderMatcher{
		Name:                 ":method",
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: expression(strings.Join(sorted, "|"))},
	}
}

func headerMatch(h policy.HeaderMatch) *routev3.HeaderMatcher {
	m := &routev3.HeaderMatcher{Name: h.Name, InvertMatch: h.Invert}
	var s *matcherv3.StringMatcher
	switch {
	case h.Exact != "":
		s = exact(h.Exact)
	case h.Prefix != "":
		s = &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: h.Prefix}}
	case h.Regex != "":
		s = expression(h.Regex)
	default:
		m.HeaderMatchSpecifier = &routev3.HeaderMatcher_PresentMatch{PresentMatch: true}
		return m
	}
	m.HeaderMatchSpecifier = &routev3.HeaderMatcher_StringMatch{StringMatch: s}
	// By default an absent header matches neither a condition nor its opposite: "not
	// canary" would leave out all who say nothing.
	m.TreatMissingHeaderAsEmpty = h.Invert
	return m
}

func expression(re string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{
		SafeRegex: &matcherv3.RegexMatcher{Regex: re},
	}}
}

// serviceMetadata is what local replies need to know of the service. A caller is told
// to come back when the breaker lets probes through, in whole seconds.
func serviceMetadata(s *policy.Service) map[string]string {
	seconds := (s.Breaker.Timeout + time.Second - 1) / time.Second
	return map[string]string{
		metadataService:    s.Name,
		metadataRetryAfter: strconv.FormatInt(int64(max(1, seconds)), 10),
	}
}

func routeMetadata(fields map[string]string) *corev3.Metadata {
	values := make(map[string]*structpb.Value, len(fields))
	for k, v := range fields {
		values[k] = structpb.NewStringValue(v)
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
		envoy.MetadataKey: {Fields: values},
	}}
}

func orZero(d policy.Duration) time.Duration {
	if !d.Set {
		return 0
	}
	return d.D
}
