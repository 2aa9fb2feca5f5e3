package envoytest_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"

	"github.com/breakwater/breakwater/test/envoytest"
)

func TestProcessEndsWithItsTest(t *testing.T) {
	var pids []int
	t.Run("two at a time", func(t *testing.T) {
		for range 2 {
			p := envoytest.StartWith(t, &bootstrapv3.Bootstrap{}, envoytest.Options{Concurrency: 1, LogLevel: "debug"})
			p.WaitReady(t, 10*time.Second)
			if !strings.Contains(p.Log(), "[debug]") {
				t.Errorf("the log has no entry of the level debug:\n%s", p.Log())
			}
			pids = append(pids, p.Pid())
		}
	})
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("Envoy %d is there after its test (%v)", pid, err)
		}
	}
}

func TestProcessStopAndKill(t *testing.T) {
	for name, end := range map[string]func(*envoytest.Process){"Stop": (*envoytest.Process).Stop, "Kill": (*envoytest.Process).Kill} {
		p := envoytest.Start(t, &bootstrapv3.Bootstrap{})
		if p.Exited() {
			t.Errorf("%s: ended before", name)
		}
		end(p)
		if !p.Exited() {
			t.Errorf("%s: did not end", name)
		}
	}
}

func TestEventuallyPrintsTheLastState(t *testing.T) {
	f := &fatal{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		n := 0
		envoytest.Eventually(f, 50*time.Millisecond, "the count reaches a million", func() error {
			n++
			return fmt.Errorf("the count is at least %d", min(n, 2))
		})
	}()
	<-done
	if want := "the count reaches a million: not within 50ms; last state: the count is at least 2"; f.message != want {
		t.Errorf("message = %q, want %q", f.message, want)
	}
}

// fatal is a test of which a failure is caught: it ends the goroutine, as that of a
// test does.
type fatal struct {
	testing.TB
	message string
}

func (f *fatal) Helper() {}

func (f *fatal) Fatalf(format string, args ...any) {
	f.message = fmt.Sprintf(format, args...)
	runtime.Goexit()
}
