package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/breakwater/breakwater/admin/adminpb"
)

func TestForget(t *testing.T) {
	api := newFakeAPI()
	server := serveFake(t, api)
	for _, tt := range []struct {
		args   []string
		asked  *adminpb.ForgetProxyRequest
		prints string
	}{
		{
			[]string{"edge-3", "--reason=scaled down", "--actor=ann"},
			&adminpb.ForgetProxyRequest{Id: "edge-3", Reason: "scaled down", Actor: "ann"},
			"edge-3: forgotten; it disconnected at 2026-03-04T12:00:00Z\n",
		},
		{
			[]string{"edge-4", "-o", "yaml"},
			&adminpb.ForgetProxyRequest{Id: "edge-4", Actor: currentUser()},
			"proxy:\n  id: edge-4\n  node_cluster: \"\"\n  admin_address: \"\"\n  left: \"2026-03-04T12:00:00Z\"\n  replaced: false\nnot_saved: false\nnot_saved_reason: \"\"\n",
		},
	} {
		got, err := runClient(t, newForgetCmd(), append(tt.args, "--server", server)...)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.asked, api.lastAsked(), protocmp.Transform()); diff != "" {
			t.Errorf("%q asked (-want +got):\n%s", tt.args, diff)
		}
		if diff := cmp.Diff(tt.prints, got); diff != "" {
			t.Errorf("%q printed (-want +got):\n%s", tt.args, diff)
		}
	}
}

func TestForgetUsage(t *testing.T) {
	server := serveFake(t, newFakeAPI())
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitUsage, "forget takes 1 argument and got none; usage: forget PROXY [flags]"},
		{[]string{"edge-1", "--server", server}, exitFailed, "unknown proxy edge-1"},
	} {
		out, err := runClient(t, newForgetCmd(), tt.args...)
		if err == nil || err.Error() != tt.want || exitCode(err) != tt.code || out != "" {
			t.Errorf("%q: error %v with exit code %d and %q, want %q with %d", tt.args, err, exitCode(err), out, tt.want, tt.code)
		}
	}
}

func TestForgetCompletion(t *testing.T) {
	t.Setenv("BREAKWATER_SERVER", serveFake(t, newFakeAPI()))
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"forget", ""}, "edge-3\nedge-4\nedge-5\n:4\n"},
		{[]string{"forget", "edge-3", ""}, ":4\n"},
	} {
		got := runMain(t, append([]string{cobra.ShellCompNoDescRequestCmd}, tt.args...)...).stdout
		if got != tt.want {
			t.Errorf("completion of %q is %q, want %q", tt.args, got, tt.want)
		}
	}
}
