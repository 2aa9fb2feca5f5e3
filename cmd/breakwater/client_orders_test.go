package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/breakwater/breakwater/admin/adminpb"
)

func TestOrderCommands(t *testing.T) {
	for _, tt := range []struct {
		cmd    *cobra.Command
		args   []string
		asked  proto.Message
		prints string
	}{
		{
			newForceOpenCmd(),
			[]string{"fraud-service", "--proxy=edge-1", "--ttl=90s", "--reason=drill", "--actor=ann"},
			&adminpb.ForceOpenBreakerRequest{Service: "fraud-service", Proxy: "edge-1", Ttl: durationpb.New(90 * time.Second), Reason: "drill", Actor: "ann"},
			"fraud-service: forced open until 2026-03-04T12:00:00Z\n",
		},
		{
			newForceOpenCmd(),
			[]string{"fraud-service", "--reason=drill", "--for-ever"},
			&adminpb.ForceOpenBreakerRequest{Service: "fraud-service", Actor: currentUser(), Reason: "drill", ForEver: true},
			"fraud-service: forced open\n",
		},
		{
			newDisableCmd(),
			[]string{"fraud-service", "--ttl=1h", "--reason=drill", "--actor=ann"},
			&adminpb.DisableBreakerRequest{Service: "fraud-service", Ttl: durationpb.New(time.Hour), Reason: "drill", Actor: "ann"},
			"fraud-service: disabled\n",
		},
		{
			newDisableCmd(),
			[]string{"fraud-service", "--reason=drill"},
			&adminpb.DisableBreakerRequest{Service: "fraud-service", Actor: currentUser(), Reason: "drill"},
			"fraud-service: disabled\n",
		},
		{
			newReleaseCmd(),
			[]string{"fraud-service", "--proxy=edge-1", "--reason=done", "--actor=ann"},
			&adminpb.ReleaseBreakerRequest{Service: "fraud-service", Proxy: "edge-1", Reason: "done", Actor: "ann"},
			"fraud-service: released\n",
		},
	} {
		api := newFakeAPI()
		got, err := runClient(t, tt.cmd, append(tt.args, "--server", serveFake(t, api))...)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.asked, api.lastAsked(), protocmp.Transform()); diff != "" {
			t.Errorf("%s asked (-want +got):\n%s", tt.cmd.Name(), diff)
		}
		want := tt.prints + "PROXY   RESULT  STATE        NOTE\nedge-1  proved  forced_open  Envoy sends no request to the service\n"
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s printed (-want +got):\n%s", tt.cmd.Name(), diff)
		}
	}
}

func TestOrderNotProved(t *testing.T) {
	api := newFakeAPI()
	api.ordered = append(api.ordered, &adminpb.ProxyOrder{Proxy: "edge-2", State: "closed", Error: "the proxy did not accept it within 5s"})
	server := serveFake(t, api)
	for _, tt := range []struct {
		cmd  *cobra.Command
		done string
	}{{newForceOpenCmd(), "forced open"}, {newDisableCmd(), "disabled"}, {newReleaseCmd(), "released"}} {
		got, err := runClient(t, tt.cmd, "a", "--reason=drill", "--server", server)
		want := "a: not proved to be " + tt.done + `
PROXY   RESULT  STATE        NOTE
edge-1  proved  forced_open  Envoy sends no request to the service
edge-2  failed  closed       the proxy did not accept it within 5s
`
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("output (-want +got):\n%s", diff)
		}
		if exitCode(err) != exitFailed || err.Error() != "a was not proved to be "+tt.done+" on 1 of 2 proxies" {
			t.Errorf("error %v with exit code %d", err, exitCode(err))
		}
	}
}

// An action that reached no proxy is a failure, though it is kept.
func TestOrderWithoutProxies(t *testing.T) {
	server := serveFake(t, &fakeAPI{})
	for _, tt := range []struct {
		cmd               *cobra.Command
		args              []string
		prints, complains string
	}{
		{newForceOpenCmd(), []string{"--reason=drill"}, "a: forced open\nno proxy is connected: it holds for those that connect\n", "a was forced open on no proxy"},
		{newDisableCmd(), []string{"--reason=drill"}, "a: disabled\nno proxy is connected: it holds for those that connect\n", "a was disabled on no proxy"},
		{newForceOpenCmd(), []string{"--reason=drill", "--proxy=edge-9"}, "a: forced open\nedge-9 is not connected: it holds when it connects\n", "a was forced open on no proxy"},
		{newReleaseCmd(), []string{"-o", "yaml"}, "service: a\nok: false\nproxies: []\nnot_saved: false\nnot_saved_reason: \"\"\n", "a was released on no proxy"},
	} {
		got, err := runClient(t, tt.cmd, append(tt.args, "a", "--server", server)...)
		if got != tt.prints || exitCode(err) != exitFailed || err.Error() != tt.complains {
			t.Errorf("%s %q printed %q, %v, want %q, %s", tt.cmd.Name(), tt.args, got, err, tt.prints, tt.complains)
		}
	}
}

// What was done and could not be saved says so.
func TestOrderNotSaved(t *testing.T) {
	api := newFakeAPI()
	api.unsaved = "cannot save the overrides: no space left on device"
	server := serveFake(t, api)
	for _, cmd := range []*cobra.Command{newForceOpenCmd(), newDisableCmd(), newReleaseCmd(), newResetCmd()} {
		got, err := runClient(t, cmd, "a", "--reason=drill", "--server", server)
		if want := "\nnot saved: " + api.unsaved + "; a restart of Breakwater before it is saved takes it back\n"; err != nil || !strings.Contains(got, want) {
			t.Errorf("%s printed %q, %v, want %q in it", cmd.Name(), got, err, want)
		}
	}
}

func TestOrderUsage(t *testing.T) {
	server := serveFake(t, newFakeAPI())
	for _, tt := range []struct {
		cmd  *cobra.Command
		args []string
		code int
		want string
	}{
		{newForceOpenCmd(), nil, exitUsage, "force-open takes 1 argument and got none; usage: force-open SERVICE [flags]"},
		{newForceOpenCmd(), []string{"nope", "--reason=drill", "--server", server}, exitFailed, `unknown service "nope"`},
		{newForceOpenCmd(), []string{"a"}, exitUsage, "force-open needs a --reason"},
		{newDisableCmd(), []string{"a", "--reason= "}, exitUsage, "disable needs a --reason"},
		{newForceOpenCmd(), []string{"a", "--reason=drill", "--ttl=-1s"}, exitUsage, "--ttl is -1s and must be positive; --for-ever is for an override without an end"},
		{newDisableCmd(), []string{"a", "--reason=drill", "--ttl=0"}, exitUsage, "--ttl is 0s and must be positive; --for-ever is for an override without an end"},
		{newDisableCmd(), []string{"a", "--reason=drill", "--ttl=1m", "--for-ever"}, exitUsage, "--ttl and --for-ever exclude each other"},
		{newDisableCmd(), []string{"a", "--proxy=edge-1"}, exitUsage, "unknown flag: --proxy"},
		{newReleaseCmd(), []string{"a", "--ttl=1s"}, exitUsage, "unknown flag: --ttl"},
		{newEventsCmd(), []string{"--follow", "-o", "yaml"}, exitUsage, "--follow prints a table or JSON lines, not yaml"},
		{newWatchCmd(), []string{"-o", "yaml"}, exitUsage, "watch prints a table or JSON lines, not yaml"},
		{newEventsCmd(), []string{"--limit=-1"}, exitUsage, `invalid argument "-1" for "-n, --limit" flag: strconv.ParseUint: parsing "-1": invalid syntax`},
	} {
		out, err := runClient(t, tt.cmd, tt.args...)
		if err == nil || err.Error() != tt.want || exitCode(err) != tt.code || out != "" {
			t.Errorf("%s %q: error %v with exit code %d and %q, want %q with %d", tt.cmd.Name(), tt.args, err, exitCode(err), out, tt.want, tt.code)
		}
	}
}

func TestOrderCompletion(t *testing.T) {
	t.Setenv("BREAKWATER_SERVER", serveFake(t, newFakeAPI()))
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"force-open", ""}, "fraud-service\nsearch-service\n:4\n"},
		{[]string{"force-open", "fraud-service", ""}, ":4\n"},
		{[]string{"release", "--proxy", ""}, "edge-1\nedge-2\n:4\n"},
		{[]string{"explain", ""}, "fraud-service\nsearch-service\n:4\n"},
		{[]string{"events", ""}, "fraud-service\nsearch-service\n:4\n"},
		{[]string{"watch", "fraud-service", ""}, "search-service\n:4\n"},
	} {
		got := runMain(t, append([]string{cobra.ShellCompNoDescRequestCmd}, tt.args...)...).stdout
		if got != tt.want {
			t.Errorf("completion of %q is %q, want %q", tt.args, got, tt.want)
		}
	}
}
