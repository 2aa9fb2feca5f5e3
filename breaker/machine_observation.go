package breaker

import (
	"fmt"
	"math"
	"time"

	"github.com/breakwater/breakwater/policy"
)

// Observation is what was seen of a service in one proxy: a load report, a look at layer 1, or both.
// What an observation does not know it leaves zero.
type Observation struct {
	// At is when it was made.
	At time.Time
	// Generation is the machine's generation when what is observed began: read it before asking.
	Generation uint64
	// Hosts are the attempts that ended since the last report, by host. Overflows are not attempts:
	// they never reached a host.
	Hosts []HostResults
	// InFlight is how many requests were at the service at the end.
	InFlight Gauge
	// Slow are the attempts that ended since the last report and whose duration was measured.
	Slow SlowCalls
	// Layer1 is what was seen of the ejections. It is taken to be younger than the attempts.
	Layer1 Layer1
}

// HostResults are attempts at one host that ended.
type HostResults struct {
	// Address is ip:port; empty if it is not known which host it was.
	Address             string
	Successes, Failures uint64
}

// Gauge is a number that may not be known. The zero value is unknown.
type Gauge struct {
	N     uint64 `json:"n"`
	Known bool   `json:"known"`
}

// SlowCalls are measured attempts. Slow over Measured counts as Measured.
type SlowCalls struct{ Measured, Slow uint64 }

// Answer says what became of a look at layer 1.
type Answer uint8

// The answers.
const (
	// NotAsked: the observation says nothing of layer 1.
	NotAsked Answer = iota
	// Looked: it was seen.
	Looked
	// Unavailable: it was asked and could not be seen. The machine then goes on with what it has.
	Unavailable
)

// Layer1 is what one look at Envoy's outlier detection saw.
type Layer1 struct {
	Answer Answer
	// Question is the machine's question that the look answers: the one that Machine.Question
	// returned before the look began. 0 for a look that was not asked for: it is taken in, but
	// judges no report.
	Question uint64
	// Ejected are the addresses of the ejected hosts.
	Ejected []string
	// Unhealthy is the number of hosts that fail their health check and are not ejected.
	Unhealthy int
	// Total is the number of hosts; 0 if the service's name does not resolve.
	Total int
}

// Rotation is how many of a service's hosts get requests. The zero value is unknown.
type Rotation struct {
	Known     bool `json:"known"`
	Ejected   int  `json:"ejected"`
	Unhealthy int  `json:"unhealthy"`
	Total     int  `json:"total"`
}

func (l Layer1) rotation() Rotation {
	if l.Answer != Looked {
		return Rotation{}
	}
	return Rotation{Known: true, Ejected: len(l.Ejected), Unhealthy: l.Unhealthy, Total: l.Total}
}

// in is the number of hosts in rotation.
func (r Rotation) in() int { return r.Total - r.Ejected - r.Unhealthy }

// allEjected reports whether it is known that there are hosts and that each is ejected. Hosts that fail their health
// check are another matter: the health check itself lets nothing through until it has seen them well.
func (r Rotation) allEjected() bool { return r.Known && r.Total > 0 && r.Ejected >= r.Total }

func (r Rotation) words(threshold policy.Count) string {
	if !threshold.Set {
		return hosts(r.Ejected, r.Total) + " ejected"
	}
	return fmt.Sprintf("%s ejected after %d consecutive %s", hosts(r.Ejected, r.Total), threshold.N, pick(int(threshold.N), "failure", "failures"))
}

// saw reports whether the observation is of anything.
func (o *Observation) saw() bool {
	return len(o.Hosts) > 0 || o.InFlight.Known || o.Slow.Measured > 0 || o.Layer1.Answer == Looked
}

// results are the attempts at all hosts.
func (o *Observation) results() (successes, failures uint64) {
	for i := range o.Hosts {
		successes = add(successes, o.Hosts[i].Successes)
		failures = add(failures, o.Hosts[i].Failures)
	}
	return successes, failures
}

// add is a + b, or the greatest number there is: counts come from outside.
func add(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}
