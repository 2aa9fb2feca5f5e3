package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// resolve lays a document over the settings below it. Positions in its results
// count from the document's own first line; place moves them. The service is nil
// if there are problems.
func (doc *document) resolve(below *settings, at Position) (*Service, []Problem) {
	merged := doc.merged(below)
	faults := merged.settle()
	faults = append(faults, merged.complete(&doc.Upstream)...)
	if len(faults) > 0 || !doc.Upstream.Set {
		problems := make([]Problem, len(faults))
		for i, f := range faults {
			problems[i] = f.problem()
			problems[i].Service = doc.Service.V
			if f.origin.Layer != LayerService {
				// What the shared layers set is at fault only with this document.
				if problems[i].Position = doc.Upstream.Origin.Position; problems[i].Position == (Position{}) {
					problems[i].Position = at
				}
				if f.other.Layer == "" && f.origin.Layer != "" {
					problems[i].Message += " (set " + f.origin.place() + ")"
				}
			}
		}
		return nil, problems
	}
	svc := &Service{
		Name:        doc.Service.V,
		Profile:     doc.Profile.V,
		Upstream:    doc.Upstream.V,
		Routes:      doc.Routes.V,
		Timeout:     merged.timeout(),
		Retry:       merged.retry(),
		Breaker:     merged.breaker(),
		Limits:      merged.limits(),
		HealthCheck: merged.healthCheck(),
		Fallback:    merged.fallback(),
		Position:    at,
		Origins:     make(map[string]Origin, 64),
		variables:   variables{},
	}
	if doc.Upstream.V.Scheme.TLS() {
		svc.Upstream.TLS = merged.tls()
	}
	if len(svc.Routes) == 0 {
		svc.Routes = []Route{{Match: MatchPrefix, Value: "/", Hosts: []string{svc.Name}, Position: at}}
		svc.Origins["routes"] = Origin{Layer: LayerBuiltIn}
	}
	all := *doc
	all.settings = merged
	documentPlan.each(reflect.ValueOf(&all).Elem(), func(f *field, l leaf) {
		origin := l.base().Origin
		if origin.Layer == "" {
			origin.Layer = LayerBuiltIn
		}
		svc.Origins[f.path] = origin
		svc.variables.add(f.path, l)
	})
	if svc.Breaker.Errors == nil {
		svc.Origins["breaker.errors"] = Origin{Layer: LayerBuiltIn}
	}
	svc.Digest = svc.digest()
	return svc, nil
}

// contradictions are those among the document's own values, for a document of which it is not known what it is laid over.
func (doc *document) contradictions() []Problem {
	merged := doc.merged(&builtIn)
	var problems []Problem
	for _, f := range append(merged.settle(), merged.complete(&doc.Upstream)...) {
		if f.origin.Layer == LayerService && !f.missing && (f.other.Layer == "" || f.other.Layer == LayerService) {
			p := f.problem()
			p.Service = doc.Service.V
			problems = append(problems, p)
		}
	}
	return problems
}

// merged are the document's settings over those below.
func (doc *document) merged(below *settings) settings {
	merged := *below
	settingsPlan.merge(reflect.ValueOf(&merged).Elem(), reflect.ValueOf(&doc.settings).Elem())
	return merged
}

func (v *settings) timeout() Timeout {
	t := &v.Timeout
	return Timeout{Connect: t.Connect.V, Request: t.Request.optional(), PerTry: t.PerTry.optional(), Idle: t.Idle.optional()}
}

func (v *settings) retry() Retry {
	r := &v.Retry
	return Retry{
		MaxRetries: r.MaxRetries.V, BaseDelay: r.BaseDelay.V, MaxDelay: r.MaxDelay.V,
		On: r.On.V, Methods: r.Methods.V, Budget: r.Budget.V,
	}
}

func (v *settings) breaker() Breaker {
	b := &v.Breaker
	out := Breaker{
		FailureThreshold: b.FailureThreshold.optional(), SuccessThreshold: b.SuccessThreshold.V, Timeout: b.Timeout.V,
		WindowSize: b.WindowSize.V, FailureRate: b.FailureRate.optional(), MinRequests: b.MinRequests.V,
		HalfOpenMaxRequests: b.HalfOpen.MaxRequests.V, Backoff: b.Backoff.V, MaxTimeout: b.MaxTimeout.V,
		Errors: b.Errors.V, Shadow: b.Shadow.V,
	}
	if slices.Equal(out.Errors, []StatusRange{{From: 500, To: 599}}) {
		out.Errors = nil
	}
	if c := &b.SlowCall; c.Gate.State == gateOn {
		out.SlowCall = &SlowCall{Duration: c.Duration.V, Rate: c.Rate.V, MinRequests: c.MinRequests.V}
	}
	return out
}

func (v *settings) limits() Limits {
	l := &v.Limits
	return Limits{MaxConnections: l.MaxConnections.V, MaxPendingRequests: l.MaxPendingRequests.V, MaxRequests: l.MaxRequests.V}
}

func (v *settings) healthCheck() *HealthCheck {
	h := &v.HealthCheck
	if h.Gate.State != gateOn {
		return nil
	}
	return &HealthCheck{
		Path: h.Path.V, Interval: h.Interval.V, Timeout: h.Timeout.V,
		HealthyThreshold: h.HealthyThreshold.V, UnhealthyThreshold: h.UnhealthyThreshold.V, Uneject: h.Uneject.V,
	}
}

func (v *settings) fallback() *Fallback {
	f := &v.Fallback
	if f.Gate.State != gateOn {
		return nil
	}
	out := &Fallback{Service: f.Service.V}
	if out.Service == "" {
		out.Status, out.Headers, out.Body = f.Status.V, f.Headers.V, f.Body.V
	}
	return out
}

func (v *settings) tls() *TLS {
	t := &v.TLS
	return &TLS{ServerName: t.ServerName.V, CAFile: t.CAFile.V, CertFile: t.CertFile.V, KeyFile: t.KeyFile.V}
}

// digest hashes the effective values. Where they come from, and whether they are
// the newest, makes no difference to what is served.
func (s *Service) digest() string {
	values := *s
	values.Profile, values.Position, values.Origins, values.Digest, values.Stale = "", Position{}, nil, "", false
	values.Routes = slices.Clone(s.Routes)
	for i := range values.Routes {
		values.Routes[i].Position = Position{}
	}
	return digest(values)
}

// digest hashes the JSON of a value that holds no maps of more than one order.
func digest(values any) string {
	data, err := json.Marshal(values)
	if err != nil {
		// Every type of the model can be encoded, and no number in it is infinite.
		panic("policy: " + err.Error())
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// place returns the service with the positions of its document moved down by
// shift lines.
func (s *Service) place(shift int) *Service {
	if shift == 0 {
		return s
	}
	moved := *s
	moved.Position.Line += shift
	moved.source.line += shift
	moved.Routes = slices.Clone(s.Routes)
	for i := range moved.Routes {
		moved.Routes[i].Position.Line += shift
	}
	moved.Origins = maps.Clone(s.Origins)
	for path, o := range moved.Origins {
		if o.Layer == LayerService {
			o.Position.Line += shift
			moved.Origins[path] = o
		}
	}
	return &moved
}

// stale returns the service marked as the last good version.
func (s *Service) stale() *Service {
	if s.Stale {
		return s
	}
	marked := *s
	marked.Stale = true
	return &marked
}

// withoutFallback returns the service without its fallback. That is no last good version.
func (s *Service) withoutFallback() *Service {
	bare := *s
	bare.Fallback = nil
	bare.Origins = maps.Clone(s.Origins)
	bare.variables = maps.Clone(s.variables)
	maps.DeleteFunc(bare.Origins, func(path string, _ Origin) bool { return strings.HasPrefix(path, "fallback") })
	maps.DeleteFunc(bare.variables, func(path string, _ expansions) bool { return strings.HasPrefix(path, "fallback") })
	bare.Origins["fallback"] = Origin{Layer: LayerBuiltIn}
	bare.Digest = bare.digest()
	return &bare
}
