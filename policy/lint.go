package policy

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// The lint rules, as they appear in Problem.Rule.
const (
	// RuleNeverTrips: no criterion is left that could open the breaker.
	RuleNeverTrips = "breaker-never-trips"
	// RuleRetriesExceedTimeout: the attempts do not fit into timeout.request.
	RuleRetriesExceedTimeout = "retries-exceed-timeout"
	// RuleNonIdempotentRetry: retry.methods names a method that is not idempotent. Not for gRPC where each condition of retry.on says
	// that nothing was done: unavailable, connect-failure, refused-stream, reset-before-request, envoy-ratelimited.
	RuleNonIdempotentRetry = "non-idempotent-retry"
	// RuleAmplification: more than 5 attempts for a request, or retries that may more
	// than double the load on a failing service.
	RuleAmplification = "amplification"
	// RuleOverlappingRoutes: two services have the same route, or a regex has no request
	// left to match, because the prefix / is there too and goes before it.
	RuleOverlappingRoutes = "overlapping-routes"
	// RuleFailureCountLow: ordinary error rates reach the failure count: 1 % of 100
	// requests a second does so at least once an hour.
	RuleFailureCountLow = "failure-count-low"
	// RuleHealthCheckUnejects: a passing health check ends an ejection early.
	RuleHealthCheckUnejects = "health-check-unejects"
	// RuleConnectExceedsRequest: timeout.connect is over timeout.request.
	RuleConnectExceedsRequest = "connect-exceeds-request"
	// RuleAllow: a comment # lint:allow RULE: reason names no rule, gives no reason, or accepts nothing.
	RuleAllow = "lint-allow"
)

// acceptable are the rules that a comment can accept.
var acceptable = []string{
	RuleNeverTrips, RuleRetriesExceedTimeout, RuleNonIdempotentRetry, RuleAmplification, RuleOverlappingRoutes,
	RuleFailureCountLow, RuleHealthCheckUnejects, RuleConnectExceedsRequest,
}

// Lint returns warnings about what is valid and yet probably not meant. Built-in
// values alone never raise one. A warning about a value that several services share
// is given once, where it is set. One that a comment of its document accepts is left out:
// "# lint:allow RULE: reason", on its line or above it or above the block that it is in.
func Lint(set *Set) []Problem {
	l := linter{allowances: map[string][]*allowance{}, found: map[string]*findings{}, seen: map[Problem]bool{}, intervals: map[[2]uint32]time.Duration{}}
	if set.state != nil {
		l.accept("", set.state.layers.source)
	}
	for _, s := range set.Services {
		l.accept(s.Name, s.source)
	}
	for _, s := range set.Services {
		l.service(s)
	}
	l.overlaps(set.Services)
	l.shadowed(set.Services)
	l.judgeAllowances()
	var out []Problem
	for _, f := range l.found {
		out = append(out, f.listed...)
	}
	slices.SortStableFunc(out, compareProblems)
	return out
}

type linter struct {
	// found are the warnings by service; those of no service are of what services share.
	found map[string]*findings
	// allowances are the comments by service, as found.
	allowances map[string][]*allowance
	// seen are the warnings about shared layers, without their messages.
	seen map[Problem]bool
	// intervals are the results of tripInterval by failure count and window.
	intervals map[[2]uint32]time.Duration
}

// accept takes in the comments of a service's document.
func (l *linter) accept(service string, s source) {
	if a := s.allowances(); len(a) > 0 {
		l.allowances[service] = a
	}
}

// warn asks for the message only if the warning is given.
func (l *linter) warn(service string, at Origin, rule, path string, message func() string) {
	p := Problem{Severity: SeverityWarning, Position: at.Position, Service: service, Path: path, Rule: rule}
	if at.Layer == LayerEnvironment {
		p.Position = Position{File: environmentFile}
	}
	if at.Layer != LayerService {
		p.Service = ""
		if l.seen[p] {
			return
		}
		l.seen[p] = true
	}
	if !l.allows(p) {
		l.add(p, message)
	}
}

func (l *linter) add(p Problem, message func() string) {
	f := l.found[p.Service]
	if f == nil {
		f = &findings{}
		l.found[p.Service] = f
	}
	f.add(p, message)
}

// check warns at the value of the highest layer among those that the rule is about.
// If users set none of them, it does not warn.
func (l *linter) check(s *Service, rule string, paths []string, message func() string) {
	var at string
	for _, path := range paths {
		o := s.Origins[path]
		if o.Clamped || slices.Index(layerOrder, o.Layer) <= 0 {
			continue
		}
		if at == "" || slices.Index(layerOrder, o.Layer) > slices.Index(layerOrder, s.Origins[at].Layer) {
			at = path
		}
	}
	if at != "" {
		l.warn(s.Name, s.Origins[at], rule, at, message)
	}
}

func (l *linter) service(s *Service) {
	l.retries(s)
	b := &s.Breaker
	if !b.FailureThreshold.Set && !b.FailureRate.Set && b.SlowCall == nil {
		l.check(s, RuleNeverTrips, []string{"breaker.failure_threshold", "breaker.failure_rate", "breaker.slow_call"}, func() string {
			return "the breaker can never trip: failure_threshold, failure_rate and slow_call are all off, and only Envoy's ejection of single hosts after 5 failures in a row is left"
		})
	}
	if every := l.tripInterval(b); every <= time.Hour {
		l.check(s, RuleFailureCountLow, []string{"breaker.failure_threshold", "breaker.window_size"}, func() string {
			return fmt.Sprintf("%s failures among %s attempts is what ordinary errors reach: at 1%% errors and 100 requests a second about every %s; consider failure_rate with failure_threshold: off",
				s.says("breaker.failure_threshold", b.FailureThreshold.String()), s.says("breaker.window_size", countText(b.WindowSize)), roughly(every))
		})
	}
	if s.HealthCheck != nil && s.HealthCheck.Uneject {
		l.check(s, RuleHealthCheckUnejects, []string{"health_check.uneject"}, func() string {
			return "a passing health check ends an ejection before breaker.timeout, so that an open breaker closes early"
		})
	}
	if t := &s.Timeout; t.Request.Set && t.Connect > t.Request.D {
		l.check(s, RuleConnectExceedsRequest, []string{"timeout.connect", "timeout.request"}, func() string {
			return fmt.Sprintf("timeout.connect %s is over timeout.request %s and can never be reached",
				s.says("timeout.connect", t.Connect.String()), s.says("timeout.request", t.Request.String()))
		})
	}
}

func (l *linter) retries(s *Service) {
	r := &s.Retry
	if r.MaxRetries == 0 {
		return
	}
	attempts := r.MaxRetries + 1
	if t := &s.Timeout; t.PerTry.Set && t.Request.Set && t.PerTry.D*time.Duration(attempts) > t.Request.D {
		l.check(s, RuleRetriesExceedTimeout, []string{"timeout.per_try", "retry.max_retries", "timeout.request"}, func() string {
			return fmt.Sprintf("%s attempts of %s do not fit into timeout.request %s: the last ones never happen",
				s.attempts(), s.says("timeout.per_try", t.PerTry.String()), s.says("timeout.request", t.Request.String()))
		})
	}
	var unsafe []string
	for _, m := range []string{"POST", "PATCH", "LOCK"} {
		if slices.Contains(r.Methods, m) {
			unsafe = append(unsafe, m)
		}
	}
	if len(unsafe) > 0 && !s.retriesOnlyWhatWasNotBegun() {
		l.check(s, RuleNonIdempotentRetry, []string{"retry.methods"}, func() string {
			return fmt.Sprintf("%s is not idempotent: a retry may do the same thing twice", s.says("retry.methods", strings.Join(unsafe, ", ")))
		})
	}
	if load := amplification(r); attempts > 5 || load > 2 {
		l.check(s, RuleAmplification, []string{"retry.max_retries", "retry.budget"}, func() string {
			return fmt.Sprintf("a failing service may get %s attempts for one request and %.1f times its load in all: more than 5 attempts or twice the load makes an outage worse",
				s.attempts(), load)
		})
	}
}

// notBegun are the retry conditions of which each says that the service did nothing yet: the transport's, and gRPC's own word for a
// call that is not taken. Not cancelled, deadline-exceeded and internal, which come in the midst of the work, nor
// resource-exhausted, which is also the status of an answer that became too large.
var notBegun = []string{"connect-failure", "refused-stream", "reset-before-request", "envoy-ratelimited", "unavailable"}

// retriesOnlyWhatWasNotBegun reports whether the service is one of gRPC, whose calls are all POST, and no retry can do a thing twice.
func (s *Service) retriesOnlyWhatWasNotBegun() bool {
	return s.Upstream.Scheme.GRPC() && !slices.ContainsFunc(s.Retry.On, func(on string) bool { return !slices.Contains(notBegun, on) })
}

// attempts is the number of attempts for one request at most, for a message.
func (s *Service) attempts() string {
	n := countText(s.Retry.MaxRetries + 1)
	if says := s.says("retry.max_retries", n); says != n {
		return "1 + " + says
	}
	return n
}

// amplification is the greatest factor by which retries raise the load: a budget b
// of all active requests allows 1/(1-b) times the callers' requests.
func amplification(r *Retry) float64 {
	attempts := float64(r.MaxRetries) + 1
	if r.Budget >= 1 {
		return attempts
	}
	return min(attempts, 1/(1-r.Budget))
}

const (
	ordinaryErrorRate = 0.01
	ordinaryRequests  = 100 // a second
)

func (l *linter) tripInterval(b *Breaker) time.Duration {
	if !b.FailureThreshold.Set {
		return math.MaxInt64
	}
	key := [2]uint32{b.FailureThreshold.N, b.WindowSize}
	every, ok := l.intervals[key]
	if !ok {
		every = tripInterval(key[0], key[1])
		l.intervals[key] = every
	}
	return every
}

// tripInterval is the time between trips that a failure count alone causes at
// ordinary errors, taking each window by itself.
func tripInterval(failures, window uint32) time.Duration {
	n, k := float64(window), float64(failures)
	// The probability of at least k failures among n.
	tail := 0.0
	for i := k; i <= n && i < k+100; i++ {
		lgN, _ := math.Lgamma(n + 1)
		lgI, _ := math.Lgamma(i + 1)
		lgRest, _ := math.Lgamma(n - i + 1)
		tail += math.Exp(lgN - lgI - lgRest + i*math.Log(ordinaryErrorRate) + (n-i)*math.Log1p(-ordinaryErrorRate))
	}
	if k < n*ordinaryErrorRate {
		tail = 1
	}
	seconds := n / ordinaryRequests / tail
	if seconds > time.Duration(math.MaxInt64).Seconds()/2 {
		return math.MaxInt64
	}
	return time.Duration(seconds * float64(time.Second))
}

// roughly rounds to one unit.
func roughly(d time.Duration) string {
	switch {
	case d >= 2*time.Minute:
		return fmt.Sprintf("%.0f minutes", d.Minutes())
	case d >= 2*time.Second:
		return fmt.Sprintf("%.0f seconds", d.Seconds())
	}
	return "second"
}

// owner is a route and whose it is.
type owner struct {
	service *Service
	route   *Route
}

// hostsOf gives the hosts of a route, "*" for every host that no other names.
func hostsOf(r *Route) []string {
	if len(r.Hosts) == 0 {
		return []string{"*"}
	}
	return r.Hosts
}

// shadowed warns of expressions that can match nothing, for a prefix goes before them
// that takes every request of their hosts.
func (l *linter) shadowed(services []*Service) {
	everything := map[string]owner{}
	for _, s := range services {
		for i := range s.Routes {
			r := &s.Routes[i]
			if r.Match != MatchPrefix || r.Value != "/" || len(r.Methods) > 0 || len(r.Headers) > 0 {
				continue
			}
			for _, host := range hostsOf(r) {
				everything[host] = owner{service: s, route: r}
			}
		}
	}
	for _, s := range services {
		for i := range s.Routes {
			r := &s.Routes[i]
			open := func(host string) bool { return everything[host].route == nil }
			if hosts := hostsOf(r); r.Match == MatchRegex && !slices.ContainsFunc(hosts, open) {
				o := everything[hosts[0]]
				l.warn(s.Name, Origin{Layer: LayerService, Position: r.Position}, RuleOverlappingRoutes, originPath(s, i), func() string {
					return fmt.Sprintf("gets no requests: the prefix / of service %s at %s goes before every regex", o.service.title(), o.route.Position)
				})
			}
		}
	}
}

// overlaps warns of routes that two services have in common: of each that another has too, once for a host.
func (l *linter) overlaps(services []*Service) {
	routes := 0
	for _, s := range services {
		routes += len(s.Routes)
	}
	owners := make(map[string][]owner, routes)
	for _, s := range services {
		for i := range s.Routes {
			r := &s.Routes[i]
			var warned []*Service
			for _, host := range hostsOf(r) {
				key := host + "\x00" + string(r.Match) + "\x00" + r.Value
				if len(r.Headers) > 0 {
					key += fmt.Sprintf("\x00%#v", r.Headers)
				}
				for _, o := range owners[key] {
					if o.service == s || !methodsOverlap(o.route.Methods, r.Methods) {
						continue
					}
					if !slices.Contains(warned, o.service) {
						l.warn(s.Name, Origin{Layer: LayerService, Position: r.Position}, RuleOverlappingRoutes, cmp.Or(originPath(s, i), "routes"), func() string {
							return fmt.Sprintf("service %s has the same route at %s: only one of them gets the requests",
								o.service.title(), o.route.Position)
						})
					}
					warned = append(warned, o.service)
					break
				}
				owners[key] = append(owners[key], owner{service: s, route: r})
			}
		}
	}
}

// originPath is the path of a route in its document, or "" for the route that a
// service has by default.
func originPath(s *Service, i int) string {
	if s.Origins["routes"].Layer != LayerService {
		return ""
	}
	return fmt.Sprintf("routes[%d]", i)
}

// methodsOverlap reports whether some request has a method of both. A route that
// names methods goes before one that does not, so those two are told apart.
func methodsOverlap(a, b []string) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	return slices.ContainsFunc(a, func(m string) bool { return slices.Contains(b, m) })
}
