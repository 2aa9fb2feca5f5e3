package envoytest

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
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

// FreePort takes its ports from firstPort to lastPort: below those that Linux and macOS give to outgoing
// connections and to listeners on port 0, of which a busy machine has many at any moment.
const (
	firstPort = 20000
	lastPort  = 32000
)

// nextPort is the port that FreePort looks at next, counted from firstPort. Packages that are tested at the
// same time begin at different ones.
var nextPort atomic.Uint32

func init() { nextPort.Store(uint32(os.Getpid()) * 97) }

// FreePort returns a TCP port of the loopback interface that nothing listens on now, and that this process has
// not given to anybody lately. Another process may take it before the caller does: prefer port 0 where that works.
func FreePort(t testing.TB) uint16 {
	t.Helper()
	for range lastPort - firstPort {
		port := firstPort + (nextPort.Add(1)-1)%(lastPort-firstPort)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue // somebody has it
		}
		_ = l.Close()
		return uint16(port)
	}
	t.Fatalf("no port from %d to %d is free", firstPort, lastPort)
	return 0
}
