package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// fault is a violation that shows only once layers are merged.
type fault struct {
	// origin is that of the value at fault, other that of one it contradicts.
	origin, other Origin
	path, message string
	// missing is true if it is that something is not given, which another layer could give.
	missing bool
}

var layerOrder = []Layer{LayerBuiltIn, LayerEnvironment, LayerDefaults, LayerProfile, LayerService}

// problem reports the fault where the user can mend it: at the value of the
// higher layer.
func (f fault) problem() Problem {
	message := f.message
	if f.other.Layer != "" && f.other.Layer != f.origin.Layer {
		message += " (set " + f.other.place() + ")"
	}
	return Problem{Severity: SeverityError, Position: f.origin.Position, Path: f.path, Message: message}
}

// place says in words where a value was set.
func (o Origin) place() string {
	switch o.Layer {
	case LayerEnvironment:
		return "by " + o.Variable
	case LayerProfile:
		return "in profile " + o.Variable + " at " + o.Position.String()
	case LayerDefaults, LayerService:
		return "at " + o.Position.String()
	}
	return "by default"
}

// settler makes settings consistent: a built-in value gives way to one that a user
// set. What users set in contradiction are faults.
type settler struct{ faults []fault }

// ordered keeps low from exceeding high.
func ordered[T cmp.Ordered](s *settler, low, high *T, lowMeta, highMeta *meta, lowPath, highPath string, text func(T) string) {
	if *low <= *high {
		return
	}
	switch {
	case !highMeta.byUser():
		*high = *low
		highMeta.Origin.Clamped = true
	case !lowMeta.byUser():
		*low = *high
		lowMeta.Origin.Clamped = true
	default:
		f := fault{
			origin: lowMeta.Origin, other: highMeta.Origin, path: lowPath,
			message: fmt.Sprintf("%s must not be over %s, which is %s", lowMeta.says(text(*low)), highPath, highMeta.says(text(*high))),
		}
		if slices.Index(layerOrder, highMeta.Origin.Layer) > slices.Index(layerOrder, lowMeta.Origin.Layer) {
			f = fault{
				origin: highMeta.Origin, other: lowMeta.Origin, path: highPath,
				message: fmt.Sprintf("%s must not be under %s, which is %s", highMeta.says(text(*high)), lowPath, lowMeta.says(text(*low))),
			}
		}
		s.faults = append(s.faults, f)
	}
}

func (s *settler) counts(low, high *count, lowPath, highPath string) {
	if low.Set && high.Set && !low.Off && !high.Off {
		ordered(s, &low.V, &high.V, &low.meta, &high.meta, lowPath, highPath, func(v uint32) string { return fmt.Sprint(v) })
	}
}

func (s *settler) spans(low, high *span, lowPath, highPath string) {
	if low.Set && high.Set && !low.Off && !high.Off {
		ordered(s, &low.V, &high.V, &low.meta, &high.meta, lowPath, highPath, time.Duration.String)
	}
}

func (s *settler) fail(at *meta, path, format string, args ...any) {
	s.faults = append(s.faults, fault{origin: at.Origin, path: path, message: fmt.Sprintf(format, args...)})
}

// lacks reports that something is not given.
func (s *settler) lacks(at *meta, path, format string, args ...any) {
	s.fail(at, path, format, args...)
	s.faults[len(s.faults)-1].missing = true
}

// settle makes the settings consistent and returns what users set in contradiction.
func (v *settings) settle() []fault {
	var s settler
	b := &v.Breaker
	s.counts(&b.FailureThreshold, &b.WindowSize, "breaker.failure_threshold", "breaker.window_size")
	s.counts(&b.MinRequests, &b.WindowSize, "breaker.min_requests", "breaker.window_size")
	if b.SlowCall.Gate.State == gateOn {
		s.counts(&b.SlowCall.MinRequests, &b.WindowSize, "breaker.slow_call.min_requests", "breaker.window_size")
	}
	if !b.MaxTimeout.given() && !b.Timeout.wrong {
		b.MaxTimeout = span{meta: meta{Set: true, Origin: Origin{Layer: LayerBuiltIn}}, V: 10 * b.Timeout.V}
	}
	s.spans(&b.Timeout, &b.MaxTimeout, "breaker.timeout", "breaker.max_timeout")
	s.spans(&v.Retry.BaseDelay, &v.Retry.MaxDelay, "retry.base_delay", "retry.max_delay")
	s.spans(&v.Timeout.PerTry, &v.Timeout.Request, "timeout.per_try", "timeout.request")
	if !v.Timeout.Connect.byUser() || !v.Timeout.Request.byUser() {
		s.spans(&v.Timeout.Connect, &v.Timeout.Request, "timeout.connect", "timeout.request")
	}
	if h := &v.HealthCheck; h.Gate.State == gateOn {
		s.spans(&h.Timeout, &h.Interval, "health_check.timeout", "health_check.interval")
	}
	s.fallback(&v.Fallback)
	return s.faults
}

func (s *settler) fallback(f *fallbackSection) {
	if f.Gate.State != gateOn {
		return
	}
	static := f.Status.byUser() || f.Status.wrong || f.Headers.given() || f.Body.given()
	switch {
	case !static && !f.Service.given():
		s.lacks(&f.Gate.meta, "fallback", "needs service, or a static reply (status, headers, body)")
	case static && f.Service.given():
		s.fail(&f.Service.meta, "fallback.service", "cannot stand beside a static reply: either service or status, headers and body")
	}
	if f.Service.Set && !isLabel(f.Service.V) {
		s.fail(&f.Service.meta, "fallback.service", "%s is not a service name", f.Service.says(quoted(f.Service.V)))
	}
	if f.Body.Set && f.Body.V != "" && f.Status.Set && (f.Status.V == 204 || f.Status.V == 205 || f.Status.V == 304) {
		s.fail(&f.Body.meta, "fallback.body", "a reply with status %s has no body", f.Status.says(fmt.Sprint(f.Status.V)))
	}
}

// complete checks the settings of one service as a whole and takes out what a
// shared layer gives and this upstream has no use for. settle comes first.
func (v *settings) complete(upstream *upstreamValue) []fault {
	var s settler
	u := upstream.V
	if c := &v.Breaker.SlowCall; c.Gate.State == gateOn {
		if !c.Duration.given() {
			s.lacks(&c.Gate.meta, "breaker.slow_call.duration", "is required")
		}
		if !c.Rate.given() {
			s.lacks(&c.Gate.meta, "breaker.slow_call.rate", "is required")
		}
	}
	s.healthCheck(&v.HealthCheck, u)
	s.tls(&v.TLS, upstream)
	return s.faults
}

func (s *settler) healthCheck(h *healthCheckSection, u Upstream) {
	if h.Gate.State != gateOn {
		return
	}
	switch {
	case u.Scheme.GRPC() && h.Path.Set && h.Path.Origin.Layer == LayerService:
		s.fail(&h.Path.meta, "health_check.path", "the upstream speaks %s: its gRPC health service is asked, which has no path", u.Scheme)
	case u.Scheme.GRPC():
		h.Path = text{}
	case h.Path.wrong:
	case !h.Path.Set && u.Scheme == "":
	case !h.Path.Set:
		s.lacks(&h.Gate.meta, "health_check.path", "is required: the upstream speaks %s", u.Scheme)
	case !strings.HasPrefix(h.Path.V, "/"), strings.ContainsFunc(h.Path.V, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '#' }):
		s.fail(&h.Path.meta, "health_check.path", "%s is not a path: it begins with / and has no spaces", h.Path.says(quoted(h.Path.V)))
	}
}

func (s *settler) tls(t *tlsSection, upstream *upstreamValue) {
	u := upstream.V
	if u.Scheme != "" && !u.Scheme.TLS() {
		if t.Gate.State == gateOn && t.Gate.Origin.Layer == LayerService {
			s.fail(&t.Gate.meta, "tls", "needs an encrypted upstream (https, h2, grpcs), not %s", u.Scheme)
		}
		*t = tlsSection{}
		return
	}
	t.Gate.State = gateOn
	for _, f := range []struct {
		path string
		text *text
	}{{"tls.ca_file", &t.CAFile}, {"tls.cert_file", &t.CertFile}, {"tls.key_file", &t.KeyFile}} {
		if hasControl(f.text.V) {
			s.fail(&f.text.meta, f.path, "a path has no control characters")
		}
	}
	if (t.CertFile.V == "") != (t.KeyFile.V == "") && !t.CertFile.wrong && !t.KeyFile.wrong {
		at, path := &t.CertFile.meta, "tls.cert_file"
		if t.KeyFile.V != "" {
			at, path = &t.KeyFile.meta, "tls.key_file"
		}
		s.lacks(at, path, "cert_file and key_file need each other")
	}
	if t.ServerName.V != "" {
		if name := strings.ToLower(t.ServerName.V); isHostName(name) && !strings.HasSuffix(name, ".") {
			t.ServerName.V = name
		} else {
			s.fail(&t.ServerName.meta, "tls.server_name", "%s is not a host name", t.ServerName.says(quoted(t.ServerName.V)))
		}
		return
	}
	if t.ServerName.wrong || !upstream.Set {
		return
	}
	var names []string
	for _, h := range u.Hosts {
		if name := strings.TrimSuffix(h.Name, "."); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	switch {
	case len(names) > 1:
		s.faults = append(s.faults, fault{
			path: "tls.server_name", missing: true,
			message: "is required, for the hosts have several names: " + upstream.says(strings.Join(names, ", ")),
		})
	case !isIP(names[0]):
		t.ServerName = text{meta: meta{Set: true, Origin: Origin{Layer: LayerBuiltIn}}, V: names[0]}
	}
}
