package xds

import (
	"testing"
	"time"
)

// The set is asked for with each report: an Apply of many services must not hold that up.
func TestSetWaitsForNoApply(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	apply(t, p, service("a"))
	p.mu.Lock() // as Apply does
	defer p.mu.Unlock()
	got := make(chan int, 1)
	go func() { got <- len(p.Set().Services) }()
	select {
	case n := <-got:
		if n != 1 {
			t.Errorf("%d services", n)
		}
	case <-time.After(5 * time.Second):
		t.Error("it waits")
	}
}
