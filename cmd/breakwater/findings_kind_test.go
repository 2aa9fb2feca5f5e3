package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/breaker"
	"github.com/breakwater/breakwater/policy"
)

var allStates = []breaker.State{breaker.ForcedOpen, breaker.Open, breaker.HalfOpen, breaker.Unknown, breaker.Disabled, breaker.Closed}

// fill sets every field of a struct, whatever fields it has, to something else than zero. A pointer, list or struct of another
// kind stays as it is.
func fill(into any) {
	v := reflect.ValueOf(into).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		if !f.CanSet() {
			continue
		}
		switch name := v.Type().Field(i).Name; f.Kind() {
		case reflect.String:
			f.SetString("the " + name)
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Int, reflect.Int32, reflect.Int64:
			f.SetInt(3)
		case reflect.Uint, reflect.Uint32, reflect.Uint64:
			f.SetUint(3)
		}
	}
}

// TestExplainSaysWhatStatusSays: each part of what `status` shows as a breaker's cause is in a finding about its proxy,
// whatever its state is and whatever fields the API's breaker has or gets.
func TestExplainSaysWhatStatusSays(t *testing.T) {
	now := time.Now()
	for _, state := range allStates {
		for _, hosts := range []string{"", "..", "e.", "u.", "eu.", "ee", "uu"} {
			var seen breaker.ProxyBreaker
			fill(&seen)
			seen.Proxy, seen.State, seen.ShadowState, seen.Since = "p", state, breaker.Open, now
			seen.TotalHosts, seen.EjectedHosts = len(hosts), strings.Count(hosts, "e")
			for i, h := range hosts {
				seen.Hosts = append(seen.Hosts, breaker.Host{Address: fmt.Sprintf("10.0.0.%d:80", i), Ejected: h == 'e', Unhealthy: h == 'u'})
			}
			shown := &adminpb.ProxyBreaker{}
			fill(shown)
			shown.State, shown.ShadowState, shown.Cause, shown.Successes = string(state), string(breaker.Open), seen.Cause, seen.Successes
			if state == breaker.HalfOpen { // its limit is that of the probes
				seen.Overloaded, shown.Overloaded = false, false
			} else { // there are no probes in any other
				seen.Successes, shown.Successes, seen.Waiting, shown.Waiting = 0, 0, false, false
			}
			findings := asked(policyOf(t, plainPolicy), now, seen).findings()
			for part := range strings.SplitSeq(causeOf(shown), "; ") {
				if !slices.ContainsFunc(findings, func(f admin.Finding) bool {
					return slices.Contains(f.Proxies, "p") && strings.Contains(f.What, part)
				}) {
					t.Errorf("%s with hosts %q: status says %q, explain does not: %+v", state, hosts, part, findings)
				}
			}
		}
	}
}

// trouble is what can be wrong with a service, by the field that shows it.
var trouble = map[string]func(*inquiry){
	"ProxyBreaker.State":          func(q *inquiry) { q.breaker.Proxies[0].State = breaker.Open },
	"ProxyBreaker.Cause":          func(q *inquiry) { q.breaker.Proxies[0].Cause = "a cause" },
	"ProxyBreaker.Since":          func(q *inquiry) { halfOpen(q).Since = q.now.Add(-time.Hour) },
	"ProxyBreaker.Until":          func(q *inquiry) { open(q).Until = q.now.Add(time.Minute) },
	"ProxyBreaker.Hosts":          func(q *inquiry) { q.breaker.Proxies[0].Hosts = []breaker.Host{{Ejected: true}} },
	"ProxyBreaker.RecentErrors":   func(q *inquiry) { q.breaker.Proxies[0].RecentErrors = 1 },
	"ProxyBreaker.RecentAttempts": func(q *inquiry) { failing(q).RecentAttempts = 7 },
	"ProxyBreaker.Successes":      func(q *inquiry) { halfOpen(q).Successes = 1 },
	"ProxyBreaker.ShadowState":    func(q *inquiry) { shadow(q).ShadowState = breaker.Open },
	"ProxyBreaker.Overloaded":     func(q *inquiry) { q.breaker.Proxies[0].Overloaded = true },
	"ProxyBreaker.TotalHosts":     func(q *inquiry) { ejecting(q).TotalHosts = 5 },
	"Host.Address":                func(q *inquiry) { ejecting(q).Hosts[0].Address = "10.0.0.9:80" },
	"Host.Ejected":                func(q *inquiry) { q.breaker.Proxies[0].Hosts = []breaker.Host{{Ejected: true}} },
	"Host.Unhealthy":              func(q *inquiry) { q.breaker.Proxies[0].Hosts = []breaker.Host{{Unhealthy: true}} },
	"Host.InFlight": func(q *inquiry) {
		p := halfOpen(q)
		p.Since, p.Hosts = q.now.Add(-time.Hour), []breaker.Host{{InFlight: 1}}
	},
	"StandingOrder.Proxy":        func(q *inquiry) { standing(q).Proxy = "gone" },
	"StandingOrder.State":        func(q *inquiry) { standing(q).State = breaker.Disabled },
	"StandingOrder.Order":        func(q *inquiry) { standing(q).Until = q.now.Add(time.Hour) },
	"StandingOrder.NotSaved":     func(q *inquiry) { standing(q).NotSaved = true },
	"ConfigStatus.StorageFaults": func(q *inquiry) { q.config.StorageFaults = []admin.StorageFault{{Document: "orders"}} },
	"StorageFault.Document":      func(q *inquiry) { q.config.StorageFaults = []admin.StorageFault{{Document: "orders"}} },
	"StorageFault.Error":         func(q *inquiry) { q.config.StorageFaults = []admin.StorageFault{{Error: "disk full"}} },
	"StorageFault.Corrupt":       func(q *inquiry) { q.config.StorageFaults = []admin.StorageFault{{Corrupt: true}} },
	"StorageFault.Since":         func(q *inquiry) { q.config.StorageFaults = []admin.StorageFault{{Since: q.now}} },
	"Proxy.Faults":               func(q *inquiry) { q.connected = []admin.Proxy{{ID: "p", Faults: []string{"is too old"}}} },
	"Order.Action":               func(q *inquiry) { standing(q).Actor = "ann" },
	"Order.Until":                func(q *inquiry) { standing(q).Until = q.now.Add(time.Hour) },
	"Action.Actor":               func(q *inquiry) { standing(q).Actor = "ann" },
	"Action.Reason":              func(q *inquiry) { standing(q).Reason = "a drill" },
	"ProxyHealth.Reachable":      func(q *inquiry) { unknown(q); q.health["p"] = breaker.ProxyHealth{LastReport: q.now} },
	"ProxyHealth.Error":          func(q *inquiry) { q.health["p"] = breaker.ProxyHealth{Error: "refused", LastReport: q.now} },
	"ProxyHealth.LastReport":     func(q *inquiry) { q.health["p"] = breaker.ProxyHealth{Reachable: true} },
	"ConfigStatus.Problems":      func(q *inquiry) { problem(q) },
	"ConfigStatus.Rejections":    func(q *inquiry) { rejected(q) },
	"ConfigStatus.StaleServices": func(q *inquiry) { q.config.StaleServices = []string{"a"} },
	"Rejection.Service":          func(q *inquiry) { rejected(q).Service = "" },
	"Rejection.TypeURL":          func(q *inquiry) { rejected(q).TypeURL = "" },
	"Rejection.Proxies":          func(q *inquiry) { rejected(q).Proxies = nil },
	"Rejection.Message":          func(q *inquiry) { rejected(q).Message = "no" },
	"Rejection.Partial":          func(q *inquiry) { rejected(q).Partial = true },
	"Rejection.Position":         func(q *inquiry) { rejected(q).Position = policy.Position{File: "a.yaml"} },
	"Problem.Severity":           func(q *inquiry) { problem(q).Severity = policy.SeverityWarning },
	"Problem.Position":           func(q *inquiry) { problem(q).Position = policy.Position{File: "a.yaml"} },
	"Problem.Service":            func(q *inquiry) { problem(q).Service = "a" },
	"Problem.Path":               func(q *inquiry) { problem(q).Path = "retry" },
	"Problem.Message":            func(q *inquiry) { problem(q).Message = "is wrong" },
	"Problem.Rule":               func(q *inquiry) { problem(q).Rule = "a-rule" },
	"DisconnectedProxy.ID":       func(q *inquiry) { q.disconnected = []admin.DisconnectedProxy{{ID: "gone"}} },
	"DisconnectedProxy.Since":    func(q *inquiry) { q.disconnected = []admin.DisconnectedProxy{{Since: q.now}} },
}

// noTrouble are the fields that name things, count them or repeat what another says.
var noTrouble = []string{
	"ProxyBreaker.Proxy", "ProxyBreaker.EjectedHosts", "ProxyBreaker.Requests", "ProxyBreaker.Errors",
	"ProxyBreaker.Attempts", "ProxyBreaker.Failures", "ProxyBreaker.Shadow", "ProxyBreaker.Order", "ProxyBreaker.Waiting", "Host.Requests", "Host.Errors",
	"StandingOrder.Service", "StandingOrder.Since", "StandingOrder.Left",
	// What is wrong with a proxy is in its health, its faults and the rejections.
	"Proxy.ID", "Proxy.NodeCluster", "Proxy.Version", "Proxy.Address", "Proxy.AdminAddress", "Proxy.ConnectedSince",
	"Proxy.AdminReachable", "Proxy.AdminError", "Proxy.Resources", "Proxy.LastReport",
	"ConfigStatus.MoreProblems", "Problem.More", // those that are listed say what is wrong
	"ConfigStatus.OK", "ConfigStatus.Digest", "ConfigStatus.LastSuccess", "ConfigStatus.LastAttempt", "ConfigStatus.Services",
	"Rejection.Resource", "Rejection.Excerpt", "DisconnectedProxy.NodeCluster", "DisconnectedProxy.Replaced", "DisconnectedProxy.AdminAddress",
}

func in(q *inquiry, state breaker.State) *breaker.ProxyBreaker {
	p := &q.breaker.Proxies[0]
	p.State = state
	return p
}

func open(q *inquiry) *breaker.ProxyBreaker     { return in(q, breaker.Open) }
func halfOpen(q *inquiry) *breaker.ProxyBreaker { return in(q, breaker.HalfOpen) }
func unknown(q *inquiry) *breaker.ProxyBreaker  { return in(q, breaker.Unknown) }

func failing(q *inquiry) *breaker.ProxyBreaker {
	p := &q.breaker.Proxies[0]
	p.RecentErrors = 1
	return p
}

func shadow(q *inquiry) *breaker.ProxyBreaker {
	p := &q.breaker.Proxies[0]
	p.Shadow = true
	return p
}

func ejecting(q *inquiry) *breaker.ProxyBreaker {
	p := &q.breaker.Proxies[0]
	p.Hosts, p.TotalHosts = []breaker.Host{{Ejected: true}}, 2
	return p
}

func standing(q *inquiry) *breaker.StandingOrder {
	q.orders = []breaker.StandingOrder{{State: breaker.ForcedOpen}}
	return &q.orders[0]
}

func rejected(q *inquiry) *admin.Rejection {
	q.config.Rejections = []admin.Rejection{{Service: "a", TypeURL: "cluster", Proxies: []string{"p"}}}
	return &q.config.Rejections[0]
}

func problem(q *inquiry) *admin.Problem {
	q.config.Problems = []admin.Problem{{Problem: policy.Problem{Severity: policy.SeverityError}}}
	return &q.config.Problems[0]
}

// TestEveryTroubleIsExplained: each field of what `status` and `proxies` are made from is either known to be no trouble, or
// changes what explain says. A field that is new has to be put into one of the two lists.
func TestEveryTroubleIsExplained(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	healthy := func() *inquiry {
		return asked(policyOf(t, plainPolicy), now, breaker.ProxyBreaker{Proxy: "p", State: breaker.Closed, TotalHosts: 1, Hosts: []breaker.Host{{}}}, breaker.ProxyBreaker{Proxy: "q", State: breaker.Closed})
	}
	if got := said(healthy()); len(got) > 0 {
		t.Fatalf("nothing is wrong, and it says %q", got)
	}
	fields := map[string]bool{}
	for _, v := range []any{
		breaker.ProxyBreaker{},
		breaker.Host{},
		breaker.StandingOrder{},
		breaker.Order{},
		breaker.Action{},
		breaker.ProxyHealth{},
		admin.ConfigStatus{},
		admin.Rejection{},
		policy.Problem{},
		admin.Proxy{},
		admin.DisconnectedProxy{},
		admin.StorageFault{},
	} {
		for field := range reflect.TypeOf(v).Fields() {
			name := reflect.TypeOf(v).Name() + "." + field.Name
			fields[name] = true
			if slices.Contains(noTrouble, name) {
				continue
			}
			change := trouble[name]
			if change == nil {
				t.Errorf("nothing is known of %s: have it in a finding and in trouble, or in noTrouble", name)
				continue
			}
			q := healthy()
			if change(q); len(said(q)) == 0 {
				t.Errorf("explain says nothing of %s", name)
			}
		}
	}
	for name := range trouble {
		if !fields[name] {
			t.Errorf("there is no %s", name)
		}
	}
	for _, name := range noTrouble {
		if !fields[name] || trouble[name] != nil {
			t.Errorf("there is no %s, or it is trouble", name)
		}
	}
}

// alerts are what explain says when an alert fires, or nothing where it is not about any service.
var alerts = map[string]struct {
	change func(*inquiry)
	says   string
}{
	"BreakwaterDown":       {},                                      // nobody answers
	"NodeIDShared":         {trouble["Proxy.Faults"], "is too old"}, // any fault is said as it is
	"EnvoyDown":            {trouble["ProxyHealth.Error"], "Envoy does not answer"},
	"ProxyGone":            {trouble["DisconnectedProxy.ID"], "disconnected"},
	"NoProxyConnected":     {func(q *inquiry) { q.breaker.Proxies = nil }, "no proxy is connected"},
	"ConfigRejected":       {trouble["ConfigStatus.StaleServices"], "the last good version is in force"},
	"StateNotSaved":        {trouble["ConfigStatus.StorageFaults"], "not been able to save orders"},
	"ConfigNacked":         {trouble["ConfigStatus.Rejections"], "Envoy rejected this policy"},
	"BreakerStateUnknown":  {func(q *inquiry) { unknown(q).Cause = "refused" }, "cannot be seen: refused"},
	"LoadReportsLate":      {trouble["ProxyHealth.LastReport"], "no load report"},
	"CircuitBreakerOpen":   {trouble["ProxyBreaker.State"], "the breaker is open"},
	"HighErrorRate":        {counting("rq_error"), "an attempt failed"},
	"ClientsLeave":         {counting("proxy_abandoned_total"), "a caller left"},
	"HighRetryRate":        {counting("upstream_rq_retry"), "a failed attempt was made again"},
	"RetryBudgetExhausted": {counting("upstream_rq_retry_overflow"), "the retry budget was used up"},
	"ServiceOverloaded":    {trouble["ProxyBreaker.Overloaded"], "a limit is hit"},
	"PanicMode":            {counting("lb_healthy_panic"), "panic mode"},
	"ForcedOpen":           {func(q *inquiry) { in(q, breaker.ForcedOpen).Cause = "forced open by ann" }, "forced open by ann"},
	"ForcedStateForgotten": {func(q *inquiry) { standing(q) }, "an override stands"},

	"CircuitBreakerOpenLong": {trouble["ProxyBreaker.State"], "the breaker is open"},
}

func counting(stat string) func(*inquiry) {
	return func(q *inquiry) {
		q.counts = []admin.ProxyCounts{{Proxy: "p", Counts: []admin.FailureCount{countOf(stat, 5)}}}
	}
}

// TestEveryAlertIsExplained: who is woken by an alert on a service and asks explain is told of it.
func TestEveryAlertIsExplained(t *testing.T) {
	paths, err := filepath.Glob("../../deploy/prometheus/rules/*.yml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no rules: %v", err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Groups []struct{ Rules []struct{ Alert string } }
		}
		if err := yaml.Unmarshal(data, &file); err != nil {
			t.Fatal(err)
		}
		for _, g := range file.Groups {
			for _, r := range g.Rules {
				known, ok := alerts[r.Alert]
				switch {
				case r.Alert == "":
				case !ok:
					t.Errorf("it is not known what explain says when %s fires", r.Alert)
				case known.change != nil:
					q := asked(policyOf(t, plainPolicy), time.Now(), breaker.ProxyBreaker{Proxy: "p", State: breaker.Closed})
					known.change(q)
					if got := strings.Join(said(q), "\n"); !strings.Contains(got, known.says) {
						t.Errorf("%s: explain does not say %q: %q", r.Alert, known.says, got)
					}
				}
			}
		}
	}
}
