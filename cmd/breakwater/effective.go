package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/policy"
)

const off = "off"

// effectiveSettings are all effective values of a policy with where each comes from, in
// ascending order of path. A value of a section that is off is left out, and the section
// itself shown as off.
func effectiveSettings(svc *policy.Service) []admin.Setting {
	values := map[string]string{
		"service":  svc.Name,
		"profile":  svc.Profile,
		"upstream": upstreamText(svc.Upstream),
		"routes":   joined(svc.Routes, routeText),

		"timeout.connect": svc.Timeout.Connect.String(),
		"timeout.request": durationText(svc.Timeout.Request),
		"timeout.per_try": durationText(svc.Timeout.PerTry),
		"timeout.idle":    durationText(svc.Timeout.Idle),

		"retry.max_retries": countText(svc.Retry.MaxRetries),
		"retry.base_delay":  svc.Retry.BaseDelay.String(),
		"retry.max_delay":   svc.Retry.MaxDelay.String(),
		"retry.on":          strings.Join(svc.Retry.On, ", "),
		"retry.methods":     strings.Join(svc.Retry.Methods, ", "),
		"retry.budget":      percent(svc.Retry.Budget),

		"limits.max_connections":      countText(svc.Limits.MaxConnections),
		"limits.max_pending_requests": countText(svc.Limits.MaxPendingRequests),
		"limits.max_requests":         countText(svc.Limits.MaxRequests),

		"health_check": off,
		"fallback":     off,
	}
	addBreaker(values, &svc.Breaker)
	if t := svc.Upstream.TLS; t != nil {
		values["tls.server_name"] = t.ServerName
		values["tls.ca_file"] = t.CAFile
		values["tls.cert_file"] = t.CertFile
		values["tls.key_file"] = t.KeyFile
	}
	if h := svc.HealthCheck; h != nil {
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
	if f := svc.Fallback; f != nil {
		delete(values, "fallback")
		addFallback(values, f)
	}
	var out []admin.Setting
	for _, path := range slices.Sorted(maps.Keys(svc.Origins)) {
		if value := values[path]; value != "" {
			out = append(out, admin.Setting{Path: path, Value: value, Origin: svc.Origins[path]})
		}
	}
	return out
}

func addBreaker(values map[string]string, b *policy.Breaker) {
	errors := "5xx"
	if b.Errors != nil {
		errors = joined(b.Errors, statusesText)
	}
	failures := off
	if b.FailureThreshold.Set {
		failures = countText(b.FailureThreshold.N)
	}
	rate := off
	if b.FailureRate.Set {
		rate = percent(b.FailureRate.Share)
	}
	maps.Copy(values, map[string]string{
		"breaker.failure_threshold":      failures,
		"breaker.success_threshold":      countText(b.SuccessThreshold),
		"breaker.timeout":                b.Timeout.String(),
		"breaker.window_size":            countText(b.WindowSize),
		"breaker.failure_rate":           rate,
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
		values["breaker.slow_call.rate"] = percent(s.Rate)
		values["breaker.slow_call.min_requests"] = countText(s.MinRequests)
	}
}

func addFallback(values map[string]string, f *policy.Fallback) {
	values["fallback.service"] = f.Service
	if f.Service == "" {
		values["fallback.status"] = countText(f.Status)
		values["fallback.headers"] = joined(f.Headers, func(h policy.Header) string { return h.Name + ": " + h.Value })
		values["fallback.body"] = f.Body
	}
	values["fallback.last_good"] = off
	if f.LastGoodMaxAge > 0 {
		delete(values, "fallback.last_good")
		values["fallback.last_good.max_age"] = f.LastGoodMaxAge.String()
	}
}

func upstreamText(u policy.Upstream) string {
	return fmt.Sprintf("%s://%s", u.Scheme, strings.Join(u.Addresses(), ","))
}

// routeText is such as "prefix /api/v1/fraud of fraud.example, GET".
func routeText(r policy.Route) string {
	text := fmt.Sprintf("%s %s", r.Match, r.Value)
	if len(r.Hosts) > 0 {
		text += " of " + strings.Join(r.Hosts, "/")
	}
	if len(r.Methods) > 0 {
		text += " " + strings.Join(r.Methods, "/")
	}
	if len(r.Headers) > 0 {
		text += " with " + joined(r.Headers, func(h policy.HeaderMatch) string { return h.Name })
	}
	return text
}

func statusesText(r policy.StatusRange) string {
	if r.From == r.To {
		return strconv.Itoa(int(r.From))
	}
	return fmt.Sprintf("%d-%d", r.From, r.To)
}

func durationText(d policy.Duration) string {
	if !d.Set {
		return off
	}
	return d.D.String()
}

func countText(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func decimal(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// percent is a share to a hundredth of a percent.
func percent(share float64) string {
	return decimal(float64(int64(share*10_000+0.5))/100) + "%"
}

func joined[T any](list []T, text func(T) string) string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = text(v)
	}
	return strings.Join(out, ", ")
}

// remaining is the time until t in words of its largest units: 1h5m, 42s; "now" if it is over.
func remaining(t, now time.Time) string {
	left := t.Sub(now)
	switch {
	case left <= 0:
		return "now"
	case left >= time.Minute:
		left = left.Round(time.Second)
	case left >= 10*time.Second:
		left = left.Round(time.Second)
	default:
		left = max(left.Round(100*time.Millisecond), 100*time.Millisecond)
	}
	text := left.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
