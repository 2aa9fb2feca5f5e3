package shop

import (
	"sync"
	"testing"
)

// TestLoopbackIsOfOneTest asks for many addresses at once, as tests do that run side by side.
func TestLoopbackIsOfOneTest(t *testing.T) {
	var (
		wg    sync.WaitGroup
		hosts sync.Map
	)
	for range 16 {
		wg.Go(func() {
			if host := loopback(t); host != "" {
				if _, taken := hosts.LoadOrStore(host, true); taken {
					t.Errorf("%s was given twice", host)
				}
			}
		})
	}
	wg.Wait()
}
