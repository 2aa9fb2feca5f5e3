package breaker

import (
	"testing"
	"time"
)

// steady is a report of three hosts without errors, of a machine whose window is full.
func steady(b testing.TB) (*Machine, Observation) {
	b.Helper()
	m := New(standard(), began, 1)
	o := Observation{At: began, Generation: 1, InFlight: Gauge{7, true}, Hosts: []HostResults{{"a", 40, 0}, {"b", 41, 0}, {"c", 39, 0}}}
	m.Observe(o)
	return m, o
}

func BenchmarkMachineObserve(b *testing.B) {
	m, o := steady(b)
	b.ReportAllocs()
	for b.Loop() {
		o.At = o.At.Add(100 * time.Millisecond)
		m.Observe(o)
	}
}

func BenchmarkMachineObserveFailures(b *testing.B) {
	m, o := steady(b)
	s := standard()
	s.FailureThreshold.Set = false
	m.Configure(s)
	o.Hosts = []HostResults{{"a", 9, 1}, {"b", 10, 0}, {"c", 9, 1}}
	look := Observation{Generation: 1, Layer1: Layer1{Answer: Looked, Total: 3, Ejected: []string{"c"}}}
	b.ReportAllocs()
	for b.Loop() {
		o.At = o.At.Add(100 * time.Millisecond)
		m.Observe(o)
		look.At, look.Layer1.Question = o.At, m.Question()
		m.Observe(look)
	}
}

func TestMachineObserveAllocatesNothing(t *testing.T) {
	m, o := steady(t)
	if n := testing.AllocsPerRun(1000, func() {
		o.At = o.At.Add(100 * time.Millisecond)
		m.Observe(o)
	}); n != 0 {
		t.Errorf("%v allocations for a report without errors", n)
	}
}
