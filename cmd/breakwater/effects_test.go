package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/breaker"
	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

func setOf(t *testing.T, text string, prev *policy.Set) *policy.Set {
	t.Helper()
	files := []policy.File{{Name: "a.yaml", Data: []byte(text)}}
	if services, gateway, ok := strings.Cut(text, "# gateway.yaml\n"); ok {
		files = []policy.File{{Name: "a.yaml", Data: []byte(services)}, {Name: "gateway.yaml", Data: []byte(gateway)}}
	}
	set, problems := policy.Build(files, func(string) (string, bool) { return "", false }, prev)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return set
}

// planned publishes one set and plans another.
func planned(t *testing.T, before, after string) *xds.Plan {
	t.Helper()
	p := xds.NewPublisher(xds.PublisherOptions{})
	was := setOf(t, before, nil)
	p.Apply(was)
	plan, err := p.Plan(t.Context(), setOf(t, after, was))
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// effectLines has a warning as "! proxies: text" and the others as "- …".
func effectLines(list []admin.Effect) []string {
	var out []string
	for _, e := range list {
		mark, where := "-", ""
		if e.Warning {
			mark = "!"
		}
		if len(e.Proxies) > 0 {
			where = strings.Join(e.Proxies, ", ") + ": "
		}
		out = append(out, fmt.Sprintf("%s %s%s", mark, where, e.Text))
	}
	return out
}

const (
	routesOnly   = "- routes only: no connection is touched and no ejection cleared; requests under way end by the old routes"
	routesToo    = "- its routes change: requests under way end by the old ones"
	begins       = "- requests under way end on the old connections; failures in a row and the counts by host begin at 0, those of the cluster go on"
	breakerOnly  = "- breaker settings only: no resource of Envoy's changes, and states stay"
	drained      = "connections from before keep the old settings, are told to close by and by and are closed after Envoy's drain time (--drain-time-s, 600 s unless set)"
	replacedOnly = "! p1, p2: replaces cluster a: drains its connection pools"
)

func TestEffects(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	calm := []breaker.ProxyBreaker{{Proxy: "p1", State: breaker.Closed, TotalHosts: 2}, {Proxy: "p2", State: breaker.Closed, TotalHosts: 2}}
	closed := func(attempts, failures uint64) breaker.Outlook {
		return breaker.Outlook{State: breaker.Closed, Attempts: attempts, Failures: failures}
	}
	open := func(until time.Duration) breaker.Outlook {
		return breaker.Outlook{State: breaker.Open, Until: now.Add(until)}
	}
	shadowed := func(o breaker.Outlook) breaker.Outlook {
		o.Shadow = true
		return o
	}
	opens := func(o breaker.Outlook, cause string) breaker.Outlook {
		o.Opens = cause
		return o
	}
	for _, tt := range []struct {
		name          string
		before, after string
		proxies       []breaker.ProxyBreaker
		foreseen      []breaker.Foresight
		orders        []breaker.StandingOrder
		want          []string
	}{
		{
			name: "routes only", before: plainPolicy, after: plainPolicy + "timeout: {request: 7s}\nretry: {max_retries: 1}\n", proxies: calm,
			want: []string{routesOnly},
		},
		{
			name: "a cluster with ejections", before: plainPolicy, after: plainPolicy + "timeout: {connect: 1s}\n",
			proxies: []breaker.ProxyBreaker{
				{Proxy: "p1", TotalHosts: 3, EjectedHosts: 2}, {Proxy: "p2", TotalHosts: 3}, {Proxy: "p3", TotalHosts: 3, EjectedHosts: 2}, {Proxy: "p4", State: breaker.Unknown},
			},
			want: []string{
				"! p1, p3: replaces cluster a: clears 2 ejections, drains its connection pools",
				"! p2: replaces cluster a: drains its connection pools",
				"! p4: replaces cluster a: clears any ejections, of which none can be seen now, drains its connection pools",
				begins,
			},
		},
		{
			name: "a cluster, without a proxy", before: plainPolicy, after: plainPolicy + "breaker: {failure_threshold: 7}\n",
			want: []string{"! replaces cluster a: drains its connection pools", begins},
		},
		{
			name: "a cluster and routes", before: plainPolicy, after: plainPolicy + "timeout: {connect: 1s, request: 7s}\n", proxies: calm,
			want: []string{replacedOnly, begins, routesToo},
		},
		{
			name: "hosts", before: "service: a\nupstream: [10.0.0.1:80, 10.0.0.2:80]\n", after: "service: a\nupstream: [10.0.0.2:80, 10.0.0.3:80]\n", proxies: calm,
			want: []string{"- endpoints only: adds 10.0.0.3:80; removes 10.0.0.1:80, whose connections are drained; the cluster stays, and ejections of the other hosts with it"},
		},
		{
			name: "from addresses to a name", before: plainPolicy, after: "service: a\nupstream: http://a.example:80\n", proxies: calm,
			want: []string{replacedOnly, begins},
		},
		{
			name: "limits", before: plainPolicy, after: plainPolicy + "limits: {max_requests: 10}\n", proxies: calm,
			want: []string{"- limits go by runtime, so that nothing is replaced; requests beyond them get 503 (overloaded) at once"},
		},
		{
			name: "limits and routes", before: plainPolicy, after: plainPolicy + "limits: {max_requests: 10}\nretry: {max_retries: 1}\n", proxies: calm,
			want: []string{
				"- its routes change: no connection is touched and no ejection cleared; requests under way end by the old ones",
				"- limits go by runtime, so that nothing is replaced; requests beyond them get 503 (overloaded) at once",
			},
		},
		{
			name: "a smaller window that trips", before: plainPolicy, after: plainPolicy + "breaker: {window_size: 20, failure_rate: 50%}\n", proxies: calm,
			foreseen: []breaker.Foresight{
				{Proxy: "p1", Before: closed(90, 3), After: closed(20, 1)},
				{Proxy: "p2", Before: closed(90, 10), After: opens(closed(20, 10), "10 of the last 20 attempts failed: failure_rate is 50%")},
			},
			want: []string{
				"! p2: opens at the next report: 10 of the last 20 attempts failed: failure_rate is 50%",
				breakerOnly,
				"- p1: its window keeps the newest 20 of 90 attempts, with 1 of 3 failures",
				"- p2: its window keeps the newest 20 of 90 attempts, with 10 of 10 failures",
			},
		},
		{
			name: "a breaker that is open", before: plainPolicy, after: plainPolicy + "breaker: {timeout: 10s}\n", proxies: calm,
			foreseen: []breaker.Foresight{{Proxy: "p1", Before: open(40 * time.Second), After: open(-10 * time.Second)}},
			want:     []string{replacedOnly, "! p1: is open and lets probes through at once instead of in 40s", begins, routesToo},
		},
		{
			name: "a breaker that is half-open", before: plainPolicy, after: plainPolicy + "breaker: {half_open: {max_requests: 3}}\n", proxies: calm,
			foreseen: []breaker.Foresight{{Proxy: "p1", Before: breaker.Outlook{State: breaker.HalfOpen}, After: breaker.Outlook{State: breaker.HalfOpen}}},
			want:     []string{breakerOnly, "- p1: is half-open: 3 requests at a time may reach it from then on"},
		},
		{
			name: "shadow", before: plainPolicy, after: plainPolicy + "breaker: {shadow: true}\n", proxies: calm,
			foreseen: []breaker.Foresight{
				{Proxy: "p1", Before: open(40 * time.Second), After: shadowed(open(40 * time.Second))},
				{Proxy: "p2", Before: closed(0, 0), After: shadowed(closed(0, 0))},
			},
			want: []string{
				replacedOnly, "! p1: only observes from then on: it is open, and requests reach the service again",
				begins, "- p2: only observes from then on, and ejects no host",
			},
		},
		{
			name: "no longer shadow", before: plainPolicy + "breaker: {shadow: true}\n", after: plainPolicy, proxies: calm,
			foreseen: []breaker.Foresight{
				{Proxy: "p1", Before: shadowed(open(40 * time.Second)), After: open(40 * time.Second)},
				{Proxy: "p2", Before: shadowed(closed(0, 0)), After: closed(0, 0)},
				{Proxy: "p3", Before: shadowed(closed(9, 9)), After: shadowed(closed(9, 9))}, // it can not be told
			},
			want: []string{
				replacedOnly, "! p1: acts from then on: it is open, and keeps requests from the service",
				begins, "- p2: acts from then on",
			},
		},
		{
			name: "orders", before: plainPolicy, after: plainPolicy + "timeout: {request: 7s}\n", proxies: calm,
			orders: []breaker.StandingOrder{
				{Service: "a", Proxy: "p1", State: breaker.ForcedOpen, Order: breaker.Order{Action: breaker.Action{Actor: "ann", Reason: "a drill"}, Until: now.Add(time.Minute)}},
				{Service: "a", State: breaker.Disabled},
			},
			want: []string{
				routesOnly,
				"- p1: the order of ann that it be forced_open (a drill), for 1m more, goes on",
				"- the order that it be disabled goes on",
			},
		},
		{
			name: "removed", before: plainPolicy + "---\nservice: b\nupstream: http://10.0.0.2:80\n", after: "service: b\nupstream: http://10.0.0.2:80\n", proxies: calm,
			orders: []breaker.StandingOrder{{Service: "a", State: breaker.ForcedOpen, Order: breaker.Order{Action: breaker.Action{Actor: "ann"}}}},
			want: []string{
				"! goes: once no proxy has routes to it any more its cluster is removed; what its breaker knows is forgotten",
				"! gives up prefix / of a: requests there get 404, or what a wider route answers",
				"! the order of ann that it be forced_open has nothing to hold then, and holds again if the service comes back",
			},
		},
		{
			name: "added", before: "service: b\nupstream: http://10.0.0.2:80\n", after: plainPolicy + "---\nservice: b\nupstream: http://10.0.0.2:80\n",
			orders: []breaker.StandingOrder{{Service: "a", State: breaker.ForcedOpen, Order: breaker.Order{Action: breaker.Action{Actor: "ann"}}}},
			want: []string{
				"! the order of ann that it be forced_open holds at once",
				"- new: its routes go live once every proxy has its cluster, after 5s at the latest",
			},
		},
		{
			name:   "a path that moves to another service, and one that goes",
			before: plainPolicy + "routes: [{prefix: /x}, {prefix: /y}, {path: /z, hosts: [h]}]\n---\nservice: b\nupstream: http://10.0.0.2:80\n",
			after:  plainPolicy + "routes: [{prefix: /y}]\n---\nservice: b\nupstream: http://10.0.0.2:80\nroutes: [{prefix: /x}]\n", proxies: calm,
			want: []string{"! gives up path /z of h: requests there get 404, or what a wider route answers", routesOnly},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan := planned(t, tt.before, tt.after)
			for _, c := range plan.Services {
				if c.Service != "a" {
					continue
				}
				q := prospect{change: c, foreseen: tt.foreseen, orders: tt.orders, given: givenUp(plan)["a"], now: now}
				q.breaker.Proxies = tt.proxies
				if diff := cmp.Diff(tt.want, effectLines(q.effects())); diff != "" {
					t.Errorf("effects (-want +got):\n%s", diff)
				}
				return
			}
			t.Errorf("nothing changes: %+v", plan)
		})
	}
}

func TestGatewayEffects(t *testing.T) {
	for _, tt := range []struct {
		name          string
		before, after string
		want          []string
	}{
		{"nothing", "access_log: off\n", "# reformatted\naccess_log: off\n", nil},
		{"what is done with connections", "access_log: stdout\n", "access_log: off\n", []string{
			"! updates the listener in place: new connections are taken all along; " + drained,
		}},
		{"the address", "address: 127.0.0.1:9000\n", "address: 127.0.0.1:9001\n", []string{
			"! moves the listener to 127.0.0.1:9001: the old address takes no new connections; " + drained,
		}},
		{"the admin API's routes", "access_log: off\n", "access_log: off\nexpose_admin: 127.0.0.1:8081\n", []string{
			"- a cluster of the gateway's own comes, goes or is replaced: no service's is touched",
			"- the routes to Breakwater's own API change: no connection is touched",
		}},
		{"tracing", "access_log: off\n", "access_log: off\ntracing: {collector: 127.0.0.1:4317}\n", []string{
			"! updates the listener in place: new connections are taken all along; " + drained,
			"- a cluster of the gateway's own comes, goes or is replaced: no service's is touched",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan := planned(t, plainPolicy+"# gateway.yaml\n"+tt.before, plainPolicy+"# gateway.yaml\n"+tt.after)
			if diff := cmp.Diff(tt.want, effectLines(gatewayEffects(&plan.Gateway))); diff != "" {
				t.Errorf("effects (-want +got):\n%s", diff)
			}
			if got := len(gatewayPlan(&plan.Gateway)); (got > 0) != (tt.want != nil) || len(plan.Services) > 0 {
				t.Errorf("%d plans of the gateway, and of services %+v", got, plan.Services)
			}
		})
	}
}
