package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/breakwater/breakwater/breaker"
)

// legacyList is the original system's answer to GET /api/v1/circuit-breakers.
type legacyList struct {
	// CircuitBreakers by service; encoding/json puts the keys in ascending order.
	CircuitBreakers map[string]legacyBreaker `json:"circuit_breakers"`
}

// legacyBreaker has the original system's five fields first, in its order, and then
// what Breakwater adds.
//
// The counts are sums over all proxies. The original counted calls of its own process;
// Envoy counts attempts, so a retried call counts for each attempt. A limit's overflows are
// in none of them.
type legacyBreaker struct {
	// State is what is enforced: closed for a breaker that only observes.
	State string `json:"state"`
	// FailureCount is what counts towards the failure threshold: the failures in the window
	// of the last window_size attempts. It stands still while the breaker is not closed.
	FailureCount uint64 `json:"failure_count"`
	// SuccessCount is what counts towards the success threshold: the successes of probes
	// while the breaker is half-open, else 0.
	SuccessCount uint64 `json:"success_count"`
	// RecentFailures is FailureCount: the original counted the failures of one window twice.
	RecentFailures uint64 `json:"recent_failures"`
	// TotalCalls are all attempts that the proxies have reported to this Breakwater.
	TotalCalls uint64 `json:"total_calls"`
	// Summary is Breaker.Summary.
	Summary string `json:"summary"`
	// HostsEjected and HostsTotal are sums over all proxies: a host that two proxies see
	// counts twice.
	HostsEjected int `json:"hosts_ejected"`
	HostsTotal   int `json:"hosts_total"`
	// Proxies has each proxy's state by its id; never null.
	Proxies map[string]breaker.State `json:"proxies"`
}

func newLegacyBreaker(b breaker.Breaker) legacyBreaker {
	l := legacyBreaker{
		State:   string(b.State),
		Summary: b.Summary,
		Proxies: make(map[string]breaker.State, len(b.Proxies)),
	}
	for _, p := range b.Proxies {
		l.TotalCalls += p.Attempts
		l.FailureCount += p.RecentErrors
		l.RecentFailures += p.RecentErrors
		l.SuccessCount += p.Successes
		l.HostsEjected += p.EjectedHosts
		l.HostsTotal += p.TotalHosts
		l.Proxies[p.Proxy] = p.State
	}
	return l
}

func (s *service) serveLegacyList(w http.ResponseWriter, r *http.Request) {
	breakers, err := s.model.Breakers(r.Context(), breaker.Query{Proxies: true})
	if err != nil {
		writeError(w, toStatus(err))
		return
	}
	list := legacyList{CircuitBreakers: map[string]legacyBreaker{}}
	for b := range breakers {
		list.CircuitBreakers[b.Service] = newLegacyBreaker(b)
	}
	writeJSON(w, http.StatusOK, list)
}

// legacyReset is the answer to POST /api/v1/circuit-breakers/{service}/reset.
type legacyReset struct {
	// Message says in words what was done.
	Message string `json:"message"`
	Service string `json:"service"`
	// State of the service's breaker after the reset.
	State string `json:"state"`
	// OK is true if every proxy proved the reset; false if none is connected.
	OK bool `json:"ok"`
	// Host is the one host that was reset, or empty for all.
	Host string `json:"host"`
	// Proxies is never null.
	Proxies []legacyProxyReset `json:"proxies"`
}

// legacyProxyReset is one proxy's proof: what its own admin API reported.
type legacyProxyReset struct {
	Proxy         string   `json:"proxy"`
	Acknowledged  bool     `json:"acknowledged"`
	EjectedBefore []string `json:"ejected_before"`
	EjectedAfter  []string `json:"ejected_after"`
	Note          string   `json:"note"`
	Error         string   `json:"error"`
}

// serveLegacyReset resets a service, or one host of it, on all proxies. Host, reason
// and actor come from an optional JSON body; the query parameter host does where the
// body names none. It answers 200 if every proxy proved the reset, and 502 with the
// same body if one did not, so that a script that looks at nothing else notices.
func (s *service) serveLegacyReset(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Host   string `json:"host"`
		Reason string `json:"reason"`
		Actor  string `json:"actor"`
	}
	if err := decodeBody(r.Body, &body); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			writeTooLarge(w, fmt.Sprintf("the body has more than %d bytes", tooLarge.Limit))
			return
		}
		writeError(w, status.Errorf(codes.InvalidArgument, "the body is no JSON object of host, reason and actor: %v", err))
		return
	}
	if body.Host == "" {
		body.Host = r.URL.Query().Get("host")
	}
	result, err := s.reset(r.Context(), breaker.ResetRequest{
		Service: r.PathValue("service"),
		Host:    body.Host,
		Action:  breaker.Action{Actor: body.Actor, Reason: body.Reason},
	})
	if err != nil {
		writeError(w, err)
		return
	}
	// Without an answer, as for a service that went away meanwhile, the reset is no less
	// done.
	state := breaker.Unknown
	if after, err := s.model.Breaker(r.Context(), result.Service); err == nil {
		state = after.State
	}
	code := http.StatusOK
	if !result.OK() {
		code = http.StatusBadGateway
	}
	writeJSON(w, code, newLegacyReset(result, state))
}

// decodeBody reads one JSON object into v, or none. Unknown fields are errors.
func decodeBody(body io.Reader, v any) error {
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if errors.Is(err, io.EOF) {
		return nil
	}
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) && wrongType.Field != "" {
		return fmt.Errorf("%s is a %s", wrongType.Field, wrongType.Value)
	}
	if errors.As(err, &wrongType) {
		return fmt.Errorf("it is a JSON %s", wrongType.Value)
	}
	if err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more behind it")
	}
	return nil
}

func newLegacyReset(r breaker.ResetResult, after breaker.State) legacyReset {
	l := legacyReset{
		Message: resetMessage(r),
		Service: r.Service,
		State:   string(after),
		OK:      r.OK(),
		Host:    r.Host,
		Proxies: make([]legacyProxyReset, len(r.Proxies)),
	}
	for i, p := range r.Proxies {
		l.Proxies[i] = legacyProxyReset{
			Proxy:         p.Proxy,
			Acknowledged:  p.Acknowledged,
			EjectedBefore: append([]string{}, p.Before...),
			EjectedAfter:  append([]string{}, p.After...),
			Note:          p.Note,
			Error:         p.Error,
		}
	}
	return l
}

func resetMessage(r breaker.ResetResult) string {
	what := "Circuit breaker for " + r.Service
	if r.Host != "" {
		what += ", host " + r.Host + ","
	}
	failed := 0
	for _, p := range r.Proxies {
		if p.Error != "" {
			failed++
		}
	}
	switch {
	case len(r.Proxies) == 0:
		return what + " has been reset; no proxy is connected"
	case failed > 0:
		return fmt.Sprintf("%s was not proved to be reset on %d of %d proxies", what, failed, len(r.Proxies))
	case !r.Pushed:
		return what + " had nothing to reset"
	}
	return what + " has been reset"
}
