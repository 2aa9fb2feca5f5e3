package child_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/breakwater/breakwater/envoy/child"
)

// parentVariable makes the test binary a parent that starts a child, prints its pid
// and waits for ever.
const parentVariable = "CHILD_TEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(parentVariable) != "" {
		p, err := child.Start(exec.Command("sleep", "600"))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(p.Pid())
		<-p.Done()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func TestErrTellsHowItEnded(t *testing.T) {
	for script, want := range map[string]string{
		"exit 0":     "<nil>",
		"exit 3":     "exit status 3",
		"kill -9 $$": "signal: killed",
	} {
		p, err := child.Start(exec.Command("sh", "-c", script))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(p.Err()); got != want {
			t.Errorf("%s: %s, want %s", script, got, want)
		}
	}
}

func TestStartOfNothing(t *testing.T) {
	if _, err := child.Start(exec.Command("/does/not/exist")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Start = %v, want that it does not exist", err)
	}
}

func TestStop(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		grace        time.Duration
		killed       bool
	}{
		{"ends on SIGTERM", "echo up; exec sleep 600", 10 * time.Second, false},
		{"ignores SIGTERM", "trap '' TERM; echo up; while :; do sleep 0.01; done", 50 * time.Millisecond, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command("sh", "-c", tt.script)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			cmd.Stdout = w
			p, err := child.Start(cmd)
			w.Close()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := bufio.NewReader(r).ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			if killed := p.Stop(tt.grace); killed != tt.killed {
				t.Errorf("Stop() = %v, want %v", killed, tt.killed)
			}
			if p.Stop(tt.grace) {
				t.Error("a second Stop killed something")
			}
		})
	}
}

func TestChildEndsWithAKilledParent(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(self)
	parent.Env = append(os.Environ(), parentVariable+"=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the parent says %q", line)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for running(pid) {
		select {
		case <-deadline.C:
			t.Fatalf("the child %d lives on", pid)
		case <-poll.C:
		}
	}
}

// running reports whether the process is there and not a zombie that init has yet to
// wait for.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}
