package policy

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Setting is one effective value of a policy.
type Setting struct {
	// Path is dotted, such as "breaker.failure_threshold".
	Path string
	// Value as a policy would have it, such as "30s" or "off".
	Value  string
	Origin Origin
}

// Settings are all effective values with where each comes from, in ascending order of path.
// A value of a section that is off is left out, and the section itself shown as off.
// Services of one digest have the same values, but for profile, and services of different
// digests do not.
func (s *Service) Settings() []Setting {
	values := map[string]string{
		"service":  s.Name,
		"profile":  s.Profile,
		"upstream": s.Upstream.String(),
		"routes":   joined(s.Routes, Route.String),

		"timeout.connect": s.Timeout.Connect.String(),
		"timeout.request": s.Timeout.Request.String(),
		"timeout.per_try": s.Timeout.PerTry.String(),
		"timeout.idle":    s.Timeout.Idle.String(),

		"retry.max_retries": countText(s.Retry.MaxRetries),
		"retry.base_delay":  s.Retry.BaseDelay.String(),
		"retry.max_delay":   s.Retry.MaxDelay.String(),
		"retry.on":          strings.Join(s.Retry.On, ", "),
		"retry.methods":     strings.Join(s.Retry.Methods, ", "),
		"retry.budget":      Percent(s.Retry.Budget),

		"limits.max_connections":      countText(s.Limits.MaxConnections),
		"limits.max_pending_requests": countText(s.Limits.MaxPendingRequests),
		"limits.max_requests":         countText(s.Limits.MaxRequests),

		"health_check": off,
		"fallback":     off,
	}
	s.Breaker.addTo(values)
	if t := s.Upstream.TLS; t != nil {
		values["tls.server_name"] = t.ServerName
		values["tls.ca_file"] = t.CAFile
		values["tls.cert_file"] = t.CertFile
		values["tls.key_file"] = t.KeyFile
	}
	if h := s.HealthCheck; h != nil {
		delete(values, "health_check")
		maps.Copy(values, map[string]string{
			"health_check.path":                h.Path,
			"health_check.interval":            h.Interval.String(),
			"health_check.timeout":             h.Timeout.String(),
			"health_check.healthy_threshold":   countText(h.HealthyThreshold),
			"health_check.unhealthy_threshold": countText(h.UnhealthyThreshold),
			"health_check.uneject":             strconv.FormatBool(h.Uneject),
		})
	}
	if f := s.Fallback; f != nil {
		delete(values, "fallback")
		f.addTo(values)
	}
	return settingsOf(values, s.Origins)
}

// Settings are as those of a service. Tracing that is off is shown as that.
func (g *Gateway) Settings() []Setting {
	values := map[string]string{
		"address.host":        g.Host,
		"address.port":        strconv.Itoa(int(g.Port)),
		"expose_admin":        g.ExposeAdmin,
		"access_log":          g.AccessLog,
		"headers.max_size_kb": countText(g.MaxHeadersKB),
		"headers.max_count":   countText(g.MaxHeaders),
		"tracing":             off,
	}
	if g.AccessLog == "" {
		values["access_log"] = off
	}
	if t := g.Tracing; t != nil {
		delete(values, "tracing")
		values["tracing.collector"] = t.Collector
		values["tracing.sampling"] = Percent(t.Sampling)
		values["tracing.service_name"] = t.ServiceName
	}
	return settingsOf(values, g.Origins)
}

// settingsOf leaves out what has no value.
func settingsOf(values map[string]string, origins map[string]Origin) []Setting {
	out := make([]Setting, 0, len(values))
	for _, path := range slices.Sorted(maps.Keys(values)) {
		if value := values[path]; value != "" {
			out = append(out, Setting{Path: path, Value: value, Origin: origins[path]})
		}
	}
	return out
}

func (b *Breaker) addTo(values map[string]string) {
	errors := "5xx"
	if b.Errors != nil {
		errors = joined(b.Errors, StatusRange.String)
	}
	maps.Copy(values, map[string]string{
		"breaker.failure_threshold":      b.FailureThreshold.String(),
		"breaker.success_threshold":      countText(b.SuccessThreshold),
		"breaker.timeout":                b.Timeout.String(),
		"breaker.window_size":            countText(b.WindowSize),
		"breaker.failure_rate":           b.FailureRate.String(),
		"breaker.min_requests":           countText(b.MinRequests),
		"breaker.half_open.max_requests": countText(b.HalfOpenMaxRequests),
		"breaker.backoff":                decimal(b.Backoff),
		"breaker.max_timeout":            b.MaxTimeout.String(),
		"breaker.errors":                 errors,
		"breaker.shadow":                 strconv.FormatBool(b.Shadow),
		"breaker.slow_call":              off,
	})
	if s := b.SlowCall; s != nil {
		delete(values, "breaker.slow_call")
		values["breaker.slow_call.duration"] = s.Duration.String()
		values["breaker.slow_call.rate"] = Percent(s.Rate)
		values["breaker.slow_call.min_requests"] = countText(s.MinRequests)
	}
}

func (f *Fallback) addTo(values map[string]string) {
	values["fallback.service"] = f.Service
	if f.Service == "" {
		values["fallback.status"] = countText(f.Status)
		values["fallback.headers"] = joined(f.Headers, func(h Header) string { return h.Name + ": " + h.Value })
		values["fallback.body"] = f.Body
	}
}

// String gives the scheme and all addresses: http://a:80,b:80.
func (u Upstream) String() string {
	return fmt.Sprintf("%s://%s", u.Scheme, strings.Join(u.Addresses(), ","))
}

// String is such as "prefix /api/v1/fraud of fraud.example GET/POST with x-env: beta as /v1".
func (r Route) String() string {
	text := fmt.Sprintf("%s %s", r.Match, r.Value)
	if len(r.Hosts) > 0 {
		text += " of " + strings.Join(r.Hosts, "/")
	}
	if len(r.Methods) > 0 {
		text += " " + strings.Join(r.Methods, "/")
	}
	if len(r.Headers) > 0 {
		text += " with " + joined(r.Headers, HeaderMatch.String)
	}
	if r.Rewrite != "" {
		text += " as " + r.Rewrite
	}
	return text
}

// String is such as "x-env: beta", "x-env: be*" for a prefix, "x-env ~ be.*" for an
// expression and "not x-env" for a header that must not be there.
func (m HeaderMatch) String() string {
	text := m.Name
	switch {
	case m.Exact != "":
		text += ": " + m.Exact
	case m.Prefix != "":
		text += ": " + m.Prefix + "*"
	case m.Regex != "":
		text += " ~ " + m.Regex
	}
	if m.Invert {
		return "not " + text
	}
	return text
}

// String is a duration such as 30s, or off.
func (d Duration) String() string {
	if !d.Set {
		return off
	}
	return d.D.String()
}

// String is the number, or off.
func (c Count) String() string {
	if !c.Set {
		return off
	}
	return countText(c.N)
}

// String is such as 12.5%, or off.
func (r Ratio) String() string {
	if !r.Set {
		return off
	}
	return Percent(r.Share)
}

// Percent is a share as a policy would have it, such as "12.5%". It has 15 digits at most, for
// 0.07 times 100 is 7.000000000000001.
func Percent(share float64) string {
	text := strconv.FormatFloat(share*100, 'g', 15, 64)
	if v, err := strconv.ParseFloat(text, 64); err == nil {
		text = decimal(v)
	}
	return text + "%"
}

func countText(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func decimal(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func joined[T any](list []T, text func(T) string) string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = text(v)
	}
	return strings.Join(out, ", ")
}
