package main

import (
	"net"
	"os/user"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/breakwater/breakwater/admin/adminpb"
)

const statusTail = `
edge-2 runs Envoy 1.38.3; Breakwater needs 1.39 or later
edge-2 has another fault
policies: 2 services, not all that is on disk is served, last applied without an error 2026-03-04T12:00:00Z
error: fraud.yaml:3:5: retry.max_delay: is under base_delay
warning: search.yaml: can never trip (never-trips)
rejected: search.yaml:1:1: search-service: RouteConfiguration gateway was refused by edge-1, while others accepted it: bad regex [31m
served by the last good version: fraud-service
not saved since 2026-03-04T12:00:00Z: orders: no space left on device
cannot read state.db, since 2026-03-04T12:00:00Z: state state.db is corrupt; what could not be read is lost
`

func TestClientOutput(t *testing.T) {
	for _, tt := range []struct {
		name string
		cmd  func() *cobra.Command
		args []string
		want string
	}{
		{"status", newStatusCmd, nil, `SERVICE         STATE    WINDOW  EJECTED  ATTEMPTS  ERRORS  UNTIL  SUMMARY
fraud-service   open     5/5     2 of 2   45        10      now    open on 1 of 2 proxies: 2 of 2 hosts ejected; a limit is hit
search-service  unknown  0/0     ?        0         0       -      no proxy is connected

OVERRIDE OF     PROXY   STATE        BY   SINCE                 ENDS IN  REASON
fraud-service   edge-3  forced_open  ann  2026-03-04T12:00:00Z  now      a drill
search-service  (all)   disabled     -    2026-03-04T12:00:00Z  -        (not saved)

breakers: 1 open, 1 unknown` + statusTail},
		{"status of one", newStatusCmd, []string{"fraud-service"}, `fraud-service: open on 1 of 2 proxies

PROXY   STATE   WINDOW  EJECTED  ATTEMPTS  ERRORS  SINCE                 UNTIL  CAUSE
edge-1  closed  5/37    0 of 2   10        0       2026-03-04T12:00:00Z  -      1 probe has succeeded; shadow: it would be half_open
edge-2  open    5/5     2 of 2   35        10      2026-03-04T12:00:00Z  now    2 of 2 hosts ejected; a limit is hit

PROXY   HOST           ROTATION            ATTEMPTS  ERRORS
edge-2  10.0.0.1:8005  ejected             20        5
edge-2  10.0.0.2:8005  ejected, unhealthy  15        5

OVERRIDE OF    PROXY   STATE        BY   SINCE                 ENDS IN  REASON
fraud-service  edge-3  forced_open  ann  2026-03-04T12:00:00Z  now      a drill
` + statusTail},
		{"status of one as JSON", newStatusCmd, []string{"search-service", "-o", "json"}, `{
  "breakers": [
    {
      "service": "search-service",
      "state": "unknown",
      "summary": "no proxy is connected",
      "proxies": [],
      "overview": {
        "cause": "",
        "since": null,
        "until": null,
        "proxies": 0,
        "proxies_in_state": 0,
        "ejected_hosts": 0,
        "total_hosts": 0,
        "attempts": "0",
        "failures": "0",
        "shadow": false,
        "shadow_state": "",
        "order": null,
        "overloaded": false,
        "recent_attempts": "0",
        "recent_errors": "0",
        "successes": "0",
        "waiting": false
      },
      "continued": false
    }
  ],
  "orders": [
    {
      "service": "search-service",
      "proxy": "",
      "since": "2026-03-04T12:00:00Z",
      "order": {
        "state": "disabled",
        "actor": "",
        "reason": "",
        "until": null
      },
      "not_saved": true
    }
  ],
  "config": {
    "ok": false,
    "digest": "abc",
    "last_success": "2026-03-04T12:00:00Z",
    "last_attempt": "2026-03-04T12:00:00Z",
    "services": 2,
    "problems": [
      {
        "severity": "error",
        "position": {
          "file": "fraud.yaml",
          "line": 3,
          "column": 5
        },
        "service": "fraud-service",
        "path": "retry.max_delay",
        "message": "is under base_delay",
        "rule": "",
        "excerpt": []
      },
      {
        "severity": "warning",
        "position": {
          "file": "search.yaml",
          "line": 0,
          "column": 0
        },
        "service": "",
        "path": "",
        "message": "can never trip",
        "rule": "never-trips",
        "excerpt": []
      }
    ],
    "rejections": [
      {
        "service": "search-service",
        "type_url": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "resource": "gateway",
        "proxies": [
          "edge-1"
        ],
        "message": "bad\nregex \u001b[31m",
        "partial": true,
        "position": {
          "file": "search.yaml",
          "line": 1,
          "column": 1
        },
        "excerpt": [
          {
            "line": 1,
            "text": "service: search-service"
          }
        ],
        "more_proxies": 0
      }
    ],
    "stale_services": [
      "fraud-service"
    ],
    "more_problems": 0,
    "storage_faults": [
      {
        "document": "orders",
        "error": "no space left\non device",
        "since": "2026-03-04T12:00:00Z",
        "corrupt": false
      },
      {
        "document": "state.db",
        "error": "state state.db is corrupt",
        "since": "2026-03-04T12:00:00Z",
        "corrupt": true
      }
    ],
    "more_rejections": 0
  }
}
`},
		{"reset", newResetCmd, []string{"fraud-service"}, `fraud-service: reset
PROXY   RESULT  STATE BEFORE  EJECTED BEFORE               EJECTED AFTER  NOTE
edge-1  proved  open          10.0.0.1:8005 10.0.0.2:8005  -              0 of 2 hosts ejected
`},
		{"reset as YAML", newResetCmd, []string{"fraud-service", "-o=yaml"}, `service: fraud-service
host: ""
ok: true
pushed: true
generation: "7"
proxies:
  - proxy: edge-1
    acknowledged: true
    ejected_before:
      - 10.0.0.1:8005
      - 10.0.0.2:8005
    ejected_after: []
    note: 0 of 2 hosts ejected
    error: ""
    from: open
not_saved: false
not_saved_reason: ""
`},
		{"proxies", newProxiesCmd, nil, `PROXY   CLUSTER  VERSION       ADDRESS          CONNECTED SINCE       LAST LOAD REPORT      ADMIN API
edge-1  edge     envoy/1.40.0  127.0.0.1:40000  2026-03-04T12:00:00Z  2026-03-04T12:00:00Z  127.0.0.1:9901
edge-2  -        -             127.0.0.1:40001  2026-03-04T12:00:00Z  -                     -: its bootstrap names no admin port
edge-2 runs Envoy 1.38.3; Breakwater needs 1.39 or later
edge-2 has another fault
edge-1 last refused Cluster v2 at 2026-03-04T12:00:00Z: no such filter

DISCONNECTED  CLUSTER  SINCE                 ADMIN API
edge-3        edge     2026-03-04T12:00:00Z  127.0.0.1:9903
edge-4        -        2026-03-04T12:00:00Z  -

One that was ended for good: breakwater forget PROXY

REPLACED  CLUSTER  SINCE                 ADMIN API
edge-5    edge     2026-03-04T12:00:00Z  127.0.0.1:9905

A new proxy of the same node cluster connected within a minute; no alert fires.
`},
		{"log-level", newLogLevelCmd, nil, "SUBSYSTEM  LEVEL\n(server)   info\nxds        debug\n"},
		{"log-level set", newLogLevelCmd, []string{"trace"}, "SUBSYSTEM  LEVEL\n(server)   trace\n"},
		{"log-level as YAML", newLogLevelCmd, []string{"-o", "yaml"}, "levels:\n  - subsystem: \"\"\n    level: info\n  - subsystem: xds\n    level: debug\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := runClient(t, tt.cmd(), append(tt.args, "--server", serveFake(t, newFakeAPI()))...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClientEmptyServer(t *testing.T) {
	api := &fakeAPI{config: &adminpb.GetConfigStatusResponse{Ok: true, Services: 1}, reset: &adminpb.ResetBreakerResponse{Service: "a", Ok: true}}
	server := serveFake(t, api)
	for _, tt := range []struct {
		cmd  *cobra.Command
		args []string
		want string
	}{
		{newStatusCmd(), nil, "no service is served\n\npolicies: 1 service, all that is on disk is served\n"},
		{newProxiesCmd(), nil, "no proxy is connected\n"},
		{newResetCmd(), []string{"a"}, "a: nothing to reset\nno proxy is connected\n"},
	} {
		got, err := runClient(t, tt.cmd, append(tt.args, "--server", server)...)
		if err != nil || got != tt.want {
			t.Errorf("%s printed %q, %v, want %q", tt.cmd.Name(), got, err, tt.want)
		}
	}
}

func TestClientColours(t *testing.T) {
	t.Setenv("TTY_FORCE", "1")
	t.Setenv("TERM", "xterm-256color")
	t.Setenv("COLORTERM", "")
	t.Setenv("CLICOLOR_FORCE", "")
	server := serveFake(t, newFakeAPI())
	for _, tt := range []struct{ noColor, want, not string }{
		{"", "\x1b[31mopen\x1b[m", ""},
		{"1", "open", "\x1b[3"},
	} {
		t.Setenv("NO_COLOR", tt.noColor)
		got, err := runClient(t, newStatusCmd(), "--server", server)
		if err != nil || !strings.Contains(got, tt.want) || tt.not != "" && strings.Contains(got, tt.not) {
			t.Errorf("colours turned off by %q: %q, %v", tt.noColor, got, err)
		}
	}
}

func TestClientRequests(t *testing.T) {
	api := newFakeAPI()
	t.Setenv("BREAKWATER_SERVER", serveFake(t, api))
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		cmd  *cobra.Command
		args []string
		want proto.Message
	}{
		{newResetCmd(), []string{"fraud-service"}, &adminpb.ResetBreakerRequest{Service: "fraud-service", Actor: me.Username}},
		{
			newResetCmd(),
			[]string{"fraud-service", "--host=10.0.0.1:8005", "--reason=fixed", "--actor=ann"},
			&adminpb.ResetBreakerRequest{Service: "fraud-service", Host: "10.0.0.1:8005", Reason: "fixed", Actor: "ann"},
		},
		{newLogLevelCmd(), []string{"debug", "--subsystem=xds"}, &adminpb.SetLogLevelRequest{Level: "debug", Subsystem: "xds"}},
	} {
		if _, err := runClient(t, tt.cmd, tt.args...); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, api.lastAsked(), protocmp.Transform()); diff != "" {
			t.Errorf("%s %v asked (-want +got):\n%s", tt.cmd.Name(), tt.args, diff)
		}
	}
}

func TestClientResetNotProved(t *testing.T) {
	api := newFakeAPI()
	api.reset.Ok = false
	api.reset.Proxies = append(api.reset.Proxies, &adminpb.ProxyReset{Proxy: "edge-2", EjectedBefore: []string{"10.0.0.1:8005"}, EjectedAfter: []string{"10.0.0.1:8005"}, Error: "no acknowledgement within 5 s"})
	server := serveFake(t, api)
	got, err := runClient(t, newResetCmd(), "fraud-service", "--server", server)
	want := `fraud-service: not proved to be reset
PROXY   RESULT  STATE BEFORE  EJECTED BEFORE               EJECTED AFTER  NOTE
edge-1  proved  open          10.0.0.1:8005 10.0.0.2:8005  -              0 of 2 hosts ejected
edge-2  failed  -             10.0.0.1:8005                10.0.0.1:8005  no acknowledgement within 5 s
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	if exitCode(err) != exitFailed || err.Error() != "fraud-service was not proved to be reset on 1 of 2 proxies" {
		t.Errorf("error %v with exit code %d", err, exitCode(err))
	}
}

func TestClientErrors(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	server := serveFake(t, newFakeAPI())
	hanging := serveFake(t, &fakeAPI{hang: true})
	older := serveFake(t, adminpb.UnimplementedAdminServiceServer{})
	for _, tt := range []struct {
		name string
		cmd  *cobra.Command
		args []string
		code int
		want string
	}{
		{
			"refused", newStatusCmd(),
			[]string{"--server", nobody},
			exitFailed,
			"no server at " + nobody + " (connection refused): start one with `breakwater serve` or `breakwater run`, or name another with --server or BREAKWATER_SERVER",
		},
		{"too slow", newProxiesCmd(), []string{"--server", hanging, "--timeout=50ms"}, exitFailed, "no answer from " + hanging + " within 50ms"},
		{
			"another version", newProxiesCmd(),
			[]string{"--server", older},
			exitFailed,
			"the server at " + older + " does not know this call: it may be of another version (method ListProxies not implemented)",
		},
		{"unknown service", newResetCmd(), []string{"nope", "--server", server}, exitFailed, `unknown service "nope"`},
		{"status of unknown service", newStatusCmd(), []string{"nope", "--server", server}, exitFailed, `unknown service "nope"`},
		{"no service", newResetCmd(), nil, exitUsage, "reset takes 1 argument and got none; usage: reset SERVICE [flags]"},
		{"two services", newStatusCmd(), []string{"a", "b"}, exitUsage, `status takes at most 1 argument and got ["a" "b"]; usage: status [SERVICE] [flags]`},
		{"unknown flag", newProxiesCmd(), []string{"--colour"}, exitUsage, "unknown flag: --colour"},
		{"bad output", newProxiesCmd(), []string{"-o", "xml"}, exitUsage, `output "xml" is none of table, json, yaml`},
		{"bad server", newProxiesCmd(), []string{"--server", "here"}, exitUsage, `server "here" is not of the form host:port`},
		{"bad timeout", newProxiesCmd(), []string{"--timeout", "0s"}, exitUsage, "timeout 0s is not above 0"},
		{"bad level", newLogLevelCmd(), []string{"loud"}, exitUsage, `level "loud" is none of trace, debug, info, warn, error, off`},
		{"subsystem alone", newLogLevelCmd(), []string{"--subsystem=xds"}, exitUsage, "--subsystem needs a level, one of trace, debug, info, warn, error, off"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := runClient(t, tt.cmd, tt.args...)
			if err == nil || err.Error() != tt.want || exitCode(err) != tt.code {
				t.Errorf("error %q with exit code %d, want %q with %d", err, exitCode(err), tt.want, tt.code)
			}
			if out != "" {
				t.Errorf("printed %q", out)
			}
		})
	}
}

func TestClientCompletion(t *testing.T) {
	t.Setenv("BREAKWATER_SERVER", serveFake(t, newFakeAPI()))
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"status", ""}, "fraud-service\nsearch-service\n:4\n"},
		{[]string{"reset", "fraud-service", ""}, ":4\n"},
		{[]string{"reset", "-o", ""}, "table\njson\nyaml\n:4\n"},
		{[]string{"log-level", "d"}, "debug\n:4\n"},
	} {
		root := &cobra.Command{Use: "breakwater"}
		root.AddCommand(newStatusCmd(), newResetCmd(), newLogLevelCmd())
		var out strings.Builder
		root.SetOut(&out)
		root.SetArgs(append([]string{cobra.ShellCompNoDescRequestCmd}, tt.args...))
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		if out.String() != tt.want {
			t.Errorf("completion of %q is %q, want %q", tt.args, out.String(), tt.want)
		}
	}
}
