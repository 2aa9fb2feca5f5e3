package policy

import (
	"bytes"
	"iter"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func noEnv(string) (string, bool) { return "", false }

func mapKeys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }

// checkSet fails the test if the set is not what the model promises.
func checkSet(t testing.TB, set *Set) {
	t.Helper()
	if set == nil || set.Gateway == nil {
		t.Fatal("no set, or no gateway")
	}
	if set.Digest == "" {
		t.Error("the set has no digest")
	}
	checkGateway(t, set.Gateway)
	for i, s := range set.Services {
		if i > 0 && set.Services[i-1].Name >= s.Name {
			t.Errorf("%s is not in order", s.Name)
		}
		if set.Lookup(s.Name) != s {
			t.Errorf("%s is not found", s.Name)
		}
		checkService(t, set, s)
	}
}

func checkGateway(t testing.TB, g *Gateway) {
	t.Helper()
	if _, err := netip.ParseAddr(g.Host); err != nil || g.Port == 0 {
		t.Errorf("gateway address %q %d", g.Host, g.Port)
	}
	if g.MaxHeadersKB == 0 || g.MaxHeaders == 0 {
		t.Errorf("header limits %d, %d", g.MaxHeadersKB, g.MaxHeaders)
	}
	if g.Tracing != nil && (g.Tracing.Collector == "" || g.Tracing.Sampling < 0 || g.Tracing.Sampling > 1) {
		t.Errorf("tracing %+v", g.Tracing)
	}
}

func checkService(t testing.TB, set *Set, s *Service) {
	t.Helper()
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf(s.Name+": "+format, args...)
	}
	if !isLabel(s.Name) || s.Digest == "" || s.Digest != s.digest() {
		fail("name or digest %q", s.Digest)
	}
	u := s.Upstream
	if len(u.Hosts) == 0 || !slices.Contains(schemes, string(u.Scheme)) || (u.TLS != nil) != u.Scheme.TLS() {
		fail("upstream %+v", u)
	}
	for i, h := range u.Hosts {
		if h.Port == 0 || (!isIP(h.Name) && !isHostName(h.Name)) || slices.Contains(u.Hosts[:i], h) {
			fail("host %+v", h)
		}
	}
	if u.TLS != nil && u.TLS.ServerName == "" && !u.ByAddress() {
		fail("no server name for %+v", u.Hosts)
	}
	if len(s.Routes) == 0 {
		fail("no routes")
	}
	for _, r := range s.Routes {
		if r.Match == MatchRegex {
			if _, err := regexp.Compile(r.Value); err != nil {
				fail("route: %v", err)
			}
		} else if !strings.HasPrefix(r.Value, "/") || (r.Match == MatchPrefix && r.Value != "/" && strings.HasSuffix(r.Value, "/")) {
			fail("route %q", r.Value)
		}
	}
	positive := map[string]time.Duration{
		"connect": s.Timeout.Connect, "base_delay": s.Retry.BaseDelay, "max_delay": s.Retry.MaxDelay,
		"breaker.timeout": s.Breaker.Timeout, "max_timeout": s.Breaker.MaxTimeout,
	}
	for name, d := range map[string]Duration{"request": s.Timeout.Request, "per_try": s.Timeout.PerTry, "idle": s.Timeout.Idle} {
		if d.Set {
			positive[name] = d.D
		}
	}
	b := s.Breaker
	if h := s.HealthCheck; h != nil {
		positive["interval"], positive["health_check.timeout"] = h.Interval, h.Timeout
		if h.Timeout > h.Interval || h.HealthyThreshold == 0 || h.UnhealthyThreshold == 0 || (h.Path == "") != u.Scheme.GRPC() {
			fail("health check %+v", h)
		}
	}
	if c := b.SlowCall; c != nil {
		positive["slow_call"] = c.Duration
		if c.Rate <= 0 || c.Rate > 1 || c.MinRequests == 0 || c.MinRequests > b.WindowSize {
			fail("slow call %+v", c)
		}
	}
	for name, d := range positive {
		if d <= 0 {
			fail("%s is %s", name, d)
		}
	}
	if s.Retry.MaxDelay < s.Retry.BaseDelay || s.Retry.Budget <= 0 || s.Retry.Budget > 1 || len(s.Retry.On) == 0 {
		fail("retry %+v", s.Retry)
	}
	if t := s.Timeout; t.PerTry.Set && t.Request.Set && t.PerTry.D > t.Request.D {
		fail("timeout %+v", t)
	}
	if b.WindowSize == 0 || b.FailureThreshold.N > b.WindowSize || b.FailureThreshold.Set != (b.FailureThreshold.N > 0) ||
		b.MinRequests == 0 || b.MinRequests > b.WindowSize || b.SuccessThreshold == 0 || b.Backoff < 1 ||
		b.MaxTimeout < b.Timeout || b.HalfOpenMaxRequests == 0 {
		fail("breaker %+v", b)
	}
	if l := s.Limits; l.MaxConnections == 0 || l.MaxPendingRequests == 0 || l.MaxRequests == 0 {
		fail("limits %+v", l)
	}
	if f := s.Fallback; f != nil {
		switch {
		case f.Service == "" && (f.Status < 200 || f.Status > 599):
			fail("fallback %+v", f)
		case f.Service != "" && (set.Lookup(f.Service) == nil || f.Service == s.Name):
			fail("fallback to %q", f.Service)
		case len(f.Body) > maxValue:
			fail("fallback body of %d bytes", len(f.Body))
		}
		for at, seen := f.Service, 0; at != ""; seen++ {
			if seen > len(set.Services) {
				fail("fallbacks lead in a circle")
				break
			}
			other := set.Lookup(at)
			if other == nil || other.Fallback == nil {
				break
			}
			at = other.Fallback.Service
		}
	}
	for _, path := range []string{"timeout.connect", "breaker.failure_threshold", "breaker.max_timeout", "retry.on", "limits.max_requests", "upstream", "routes"} {
		if s.Origins[path].Layer == "" {
			fail("%s has no origin", path)
		}
	}
}

// checkPositions fails the test if a problem is not inside a file that it can be in.
func checkPositions(t testing.TB, files []File, problems []Problem) {
	t.Helper()
	for _, p := range problems {
		if p.Message == "" || strings.ContainsAny(p.Message, "\n\r") {
			t.Errorf("message %q", p.Message)
		}
		if p.Position.File == environmentFile || p.Position == (Position{}) {
			continue
		}
		i := slices.IndexFunc(files, func(f File) bool { return f.Name == p.Position.File })
		if i < 0 {
			t.Errorf("%s: there is no such file", p)
			continue
		}
		if p.Position.Line == 0 && p.Position.Column == 0 {
			continue // the whole file
		}
		// YAML has more line breaks than the line feed.
		lines := 1
		for _, br := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} {
			lines += bytes.Count(files[i].Data, []byte(br))
		}
		if p.Position.Line < 1 || p.Position.Line > lines || p.Position.Column < 1 || p.Position.Column > len(files[i].Data)+2 {
			t.Errorf("%s is outside of the file, which has %d lines", p, lines)
		}
	}
}
