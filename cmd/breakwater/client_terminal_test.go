package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	"github.com/breakwater/breakwater/admin/adminpb"
)

// asMain makes the test's binary the command itself, for a terminal to run.
const asMain = "BREAKWATER_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// terminal is a real one: a window of tmux that runs the command.
type terminal struct {
	t    *testing.T
	tmux func(args ...string) (string, error)
}

// openTerminal runs the command in a terminal of so many cells.
func openTerminal(t *testing.T, width, height string, args ...string) *terminal {
	t.Helper()
	path, err := exec.LookPath("tmux")
	if err != nil {
		t.Fatal("there is no tmux: on Debian, apt-get install tmux")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "tmux")
	term := &terminal{t: t, tmux: func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), path, append([]string{"-u", "-S", socket, "-f", os.DevNull}, args...)...)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TMUX=", "NO_COLOR=1", asMain+"=1")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}}
	if out, err := term.tmux(append([]string{"new-session", "-d", "-x", width, "-y", height, self}, args...)...); err != nil {
		t.Fatalf("tmux: %v: %s", err, out)
	}
	t.Cleanup(func() { _, _ = exec.Command(path, "-S", socket, "kill-server").CombinedOutput() })
	return term
}

// shows waits until the terminal shows the lines below the first, which has the time.
func (x *terminal) shows(want string) {
	x.t.Helper()
	var got string
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		out, err := x.tmux("capture-pane", "-p")
		if err != nil {
			x.t.Fatalf("tmux: %v: %s", err, out)
		}
		_, got, _ = strings.Cut(strings.TrimRight(out, "\n"), "\n")
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			x.t.Fatalf("the terminal shows (-want +got):\n%s", cmp.Diff(want, got))
		}
	}
}

// onceAPI sends one snapshot, and goes on until the client ends it.
type onceAPI struct {
	adminpb.UnimplementedAdminServiceServer
	breakers []*adminpb.Breaker
}

func (f *onceAPI) WatchBreakers(_ *adminpb.WatchBreakersRequest, stream grpc.ServerStreamingServer[adminpb.WatchBreakersResponse]) error {
	if err := stream.Send(&adminpb.WatchBreakersResponse{Snapshot: true, Breakers: f.breakers}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

// TestWatchInTerminals: no row is wider than the terminal, and state and cause are read on a narrow one; a terminal that gets
// another size is filled at once. A character that takes two cells counts as two.
func TestWatchInTerminals(t *testing.T) {
	t.Parallel()
	row := func(service, state, cause string, o *adminpb.Overview) *adminpb.Breaker {
		o.Cause, o.Proxies, o.ProxiesInState, o.TotalHosts = cause, 12, 2, 3
		if state != "closed" {
			o.Until = noon // long ago
		}
		return &adminpb.Breaker{Service: service, State: state, Summary: state + " on 2 of 12 proxies", Overview: o}
	}
	api := &onceAPI{breakers: []*adminpb.Breaker{
		row("account-service", "closed", "", &adminpb.Overview{Attempts: 123456789}),
		row("fraud-service", "open", "5 of the last 37 attempts failed: 4 times 503, one connection was refused", &adminpb.Overview{RecentErrors: 5, RecentAttempts: 37, EjectedHosts: 1, Attempts: 37}),
		row("payments-of-the-whole-company", "forced_open", "forced open by 山田太郎: 毎月の避難訓練をしています、しばらくお待ちください", &adminpb.Overview{}),
	}}
	x := openTerminal(t, "80", "24", "watch", "--server", serveFake(t, api))
	x.shows(watch80)
	if out, err := x.tmux("resize-window", "-x", "100", "-y", "30"); err != nil {
		t.Fatalf("tmux: %v: %s", err, out)
	}
	x.shows(watch100)
	if out, err := x.tmux("resize-window", "-x", "40", "-y", "5"); err != nil {
		t.Fatalf("tmux: %v: %s", err, out)
	}
	x.shows(watch40)
	if out, err := x.tmux("resize-window", "-x", "200", "-y", "24"); err != nil {
		t.Fatalf("tmux: %v: %s", err, out)
	}
	x.shows(watch200)
	if out, err := x.tmux("send-keys", "C-c"); err != nil {
		t.Fatalf("tmux: %v: %s", err, out)
	}
}

const (
	watch80 = `
SERVICE                   STATE        UNTIL  SUMMARY
fraud-service             open         now    on 2 of 12: 5 of the last 37 atte…
payments-of-the-whole-c…  forced_open  now    on 2 of 12: forced open by 山田太…
account-service           closed       -      closed on 2 of 12 proxies`
	watch100 = `
SERVICE                        STATE        UNTIL  SUMMARY
fraud-service                  open         now    on 2 of 12: 5 of the last 37 attempts failed: 4 …
payments-of-the-whole-company  forced_open  now    on 2 of 12: forced open by 山田太郎: 毎月の避難…
account-service                closed       -      closed on 2 of 12 proxies`
	watch40 = `
SERVICE       STATE        SUMMARY
fraud-servi…  open         on 2 of 12: …
and 2 more`
	watch200 = `
SERVICE                        STATE        WINDOW  EJECTED  ATTEMPTS   ERRORS  UNTIL  SUMMARY
fraud-service                  open         5/37    1 of 3   37         0       now    open on 2 of 12 proxies: 5 of the last 37 attempts failed: 4 times 503, one connection was refused
payments-of-the-whole-company  forced_open  0/0     0 of 3   0          0       now    forced_open on 2 of 12 proxies: forced open by 山田太郎: 毎月の避難訓練をしています、しばらくお待ちください
account-service                closed       0/0     0 of 3   123456789  0       -      closed on 2 of 12 proxies`
)
