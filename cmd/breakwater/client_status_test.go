package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/breakwater/breakwater/admin/adminpb"
)

// TestStatusShowsTroubleFirst: by gravity, and then by name.
func TestStatusShowsTroubleFirst(t *testing.T) {
	api := newFakeAPI()
	api.config, api.orders, api.breakers = &adminpb.GetConfigStatusResponse{Ok: true, Services: 9}, nil, nil
	for name, b := range map[string]*adminpb.Breaker{
		"a": {State: "closed"}, "b": {State: "disabled"}, "c": {State: "half_open", Overview: &adminpb.Overview{Waiting: true}}, "d": {State: "forced_open"},
		"e": {State: "unknown"}, "f": {State: "half_open", Overview: &adminpb.Overview{}}, "g": {State: "open"}, "h": {State: "closed"}, "i": {State: "open"},
	} {
		b.Service, b.Summary = name, b.GetState()+" on 1 of 1 proxy"
		api.breakers = append(api.breakers, b)
	}
	server := serveFake(t, api)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "g i f e d b c a h"},
		{[]string{"--trouble"}, "g i f e"},
	} {
		got, err := runClient(t, newStatusCmd(), append(tt.args, "--server", server)...)
		if err != nil {
			t.Fatal(err)
		}
		table, rest, _ := strings.Cut(got, "\n\n")
		var names []string
		for _, line := range strings.Split(table, "\n")[1:] {
			names = append(names, strings.Fields(line)[0])
		}
		if diff := cmp.Diff(tt.want, strings.Join(names, " ")); diff != "" {
			t.Errorf("%v: services (-want +got):\n%s", tt.args, diff)
		}
		const counts = "breakers: 2 open, 2 half_open (1 waiting for traffic), 1 unknown, 1 forced_open, 1 disabled, 2 closed\n"
		if !strings.HasPrefix(rest, counts) {
			t.Errorf("%v: %q, want %q first", tt.args, rest, counts)
		}
		if req, ok := api.lastAsked().(*adminpb.ListBreakersRequest); !ok || !req.GetSummary() {
			t.Errorf("asked %v, want a summary", api.lastAsked())
		}
	}
	api.breakers = api.breakers[:0]
	api.breakers = append(api.breakers, &adminpb.Breaker{Service: "a", State: "closed"})
	got, err := runClient(t, newStatusCmd(), "--trouble", "--server", server)
	if err != nil || !strings.HasPrefix(got, "no service is in trouble\n\nbreakers: 1 closed\n") {
		t.Errorf("without trouble: %q, %v", got, err)
	}
	if _, err := runClient(t, newStatusCmd(), "a", "--trouble", "--server", server); exitCode(err) != exitUsage {
		t.Errorf("--trouble of one service: %v", err)
	}
}
