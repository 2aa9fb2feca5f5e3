package envoytest

import (
	"net"
	"testing"
	"time"
)

// pollInterval is the time between two looks at a condition.
const pollInterval = 10 * time.Millisecond

// Eventually calls look until it returns nil. If it still does not after timeout,
// the test ends with what was awaited and the last error. Call it from the test's
// own goroutine.
func Eventually(t testing.TB, timeout time.Duration, what string, look func() error) {
	t.Helper()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		err := look()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within %v; last state: %v", what, timeout, err)
		case <-poll.C:
		}
	}
}

// FreePort returns a TCP port of the loopback interface that nothing listens on now.
// Another process may take it before the caller does: prefer port 0 where that works.
func FreePort(t testing.TB) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}
