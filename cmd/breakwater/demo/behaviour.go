package demo

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Behaviour is how a service misbehaves. The zero value is a healthy service.
type Behaviour struct {
	// FailPercent of the requests, from 0 to 100, are answered with FailStatus.
	FailPercent float64
	// FailStatus is an HTTP status from 400 to 599; 0 means 500.
	FailStatus int
	// Delay before each reply.
	Delay time.Duration
	// Reset answers each request with a connection reset.
	Reset bool
	// Refuse closes the port, so that connections are refused.
	Refuse bool
}

// MaxDelay bounds Delay: a longer one is a slip of the keyboard.
const MaxDelay = time.Hour

// The parameters of a control request.
const (
	paramService = "service"
	paramFail    = "fail"
	paramStatus  = "status"
	paramDelay   = "delay"
	paramReset   = "reset"
	paramRefuse  = "refuse"
	paramHeal    = "heal"
)

// ParseBehaviour reads the parameters of a control request: fail=on, fail=20%,
// fail=503, status=503, delay=2s, reset=on, refuse=on and heal=on. Together they are the
// whole behaviour: what is not named is healthy. At least one must be given.
func ParseBehaviour(values url.Values) (Behaviour, error) {
	for name, v := range values {
		if !slices.Contains([]string{paramService, paramFail, paramStatus, paramDelay, paramReset, paramRefuse, paramHeal}, name) {
			return Behaviour{}, fmt.Errorf("%s: no such parameter: there are fail, status, delay, reset, refuse and heal", name)
		}
		if len(v) > 1 {
			return Behaviour{}, fmt.Errorf("%s: given more than once", name)
		}
	}
	var b Behaviour
	given := 0
	for _, p := range []struct {
		name string
		read func(string) error
	}{
		{paramFail, b.readFail},
		{paramStatus, b.readStatus},
		{paramDelay, b.readDelay},
		{paramReset, func(s string) error { return readSwitch(s, &b.Reset) }},
		{paramRefuse, func(s string) error { return readSwitch(s, &b.Refuse) }},
		{paramHeal, func(s string) error { return readHeal(s, values) }},
	} {
		if !values.Has(p.name) {
			continue
		}
		given++
		if err := p.read(values.Get(p.name)); err != nil {
			return Behaviour{}, fmt.Errorf("%s=%s: %w", p.name, values.Get(p.name), err)
		}
	}
	if given == 0 {
		return Behaviour{}, fmt.Errorf("give at least one of fail, delay, reset, refuse and heal")
	}
	if b.FailStatus != 0 && b.FailPercent == 0 {
		return Behaviour{}, fmt.Errorf("status: needs fail too")
	}
	return b, nil
}

func (b *Behaviour) readFail(s string) error {
	if percent, ok := strings.CutSuffix(s, "%"); ok {
		p, err := strconv.ParseFloat(percent, 64)
		if err != nil || !(p >= 0 && p <= 100) {
			return fmt.Errorf("a share must be from 0%% to 100%%")
		}
		b.FailPercent = p
		return nil
	}
	var fail bool
	if readSwitch(s, &fail) == nil {
		if fail {
			b.FailPercent = 100
		}
		return nil
	}
	if b.readStatus(s) != nil {
		return fmt.Errorf("must be on, off, a share such as 20%%, or a status from 400 to 599")
	}
	b.FailPercent = 100
	return nil
}

func (b *Behaviour) readStatus(s string) error {
	status, err := strconv.Atoi(s)
	if err != nil || status < 400 || status > 599 {
		return fmt.Errorf("must be a status from 400 to 599")
	}
	b.FailStatus = status
	return nil
}

func (b *Behaviour) readDelay(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > MaxDelay {
		return fmt.Errorf("must be a duration from 0s to %v, such as 500ms or 2s", MaxDelay)
	}
	b.Delay = d
	return nil
}

func readSwitch(s string, on *bool) error {
	switch s {
	case "", "on", "true", "1":
		*on = true
	case "off", "false", "0":
		*on = false
	default:
		return fmt.Errorf("must be on or off")
	}
	return nil
}

func readHeal(s string, values url.Values) error {
	var heal bool
	if err := readSwitch(s, &heal); err != nil {
		return err
	}
	for _, name := range []string{paramFail, paramStatus, paramDelay, paramReset, paramRefuse} {
		if heal && values.Has(name) {
			return fmt.Errorf("contradicts %s", name)
		}
	}
	return nil
}

// values are the parameters that ParseBehaviour reads back.
func (b Behaviour) values() url.Values {
	if b == (Behaviour{}) {
		return url.Values{paramHeal: {"on"}}
	}
	v := url.Values{}
	if b.FailPercent != 0 {
		v.Set(paramFail, formatPercent(b.FailPercent))
	}
	if b.FailStatus != 0 {
		v.Set(paramStatus, strconv.Itoa(b.FailStatus))
	}
	if b.Delay != 0 {
		v.Set(paramDelay, b.Delay.String())
	}
	if b.Reset {
		v.Set(paramReset, "on")
	}
	if b.Refuse {
		v.Set(paramRefuse, "on")
	}
	return v
}

// String says in words what the service does, such as "fails 20% with 503, 2s late".
func (b Behaviour) String() string {
	var parts []string
	if b.Refuse {
		parts = append(parts, "refuses connections")
	}
	if b.Reset {
		parts = append(parts, "resets connections")
	}
	if b.FailPercent != 0 {
		parts = append(parts, fmt.Sprintf("fails %s with %d", formatPercent(b.FailPercent), b.failStatus()))
	}
	if b.Delay != 0 {
		parts = append(parts, b.Delay.String()+" late")
	}
	if parts == nil {
		return "healthy"
	}
	return strings.Join(parts, ", ")
}

// MarshalJSON renders the behaviour as a control request would give it.
func (b Behaviour) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Fail    string `json:"fail"`
		Status  int    `json:"status,omitempty"`
		Delay   string `json:"delay"`
		Reset   bool   `json:"reset"`
		Refuse  bool   `json:"refuse"`
		Summary string `json:"summary"`
	}{formatPercent(b.FailPercent), b.FailStatus, b.Delay.String(), b.Reset, b.Refuse, b.String()})
}

func (b Behaviour) failStatus() int {
	if b.FailStatus == 0 {
		return http.StatusInternalServerError
	}
	return b.FailStatus
}

func formatPercent(p float64) string { return strconv.FormatFloat(p, 'g', -1, 64) + "%" }
