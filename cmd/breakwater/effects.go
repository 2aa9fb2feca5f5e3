package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/breaker"
	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

// prospect is what is known of one service when the effects of a change of it are to be told. What
// it says of Envoy is what Envoy was seen to do: test/e2e/plan_test.go.
type prospect struct {
	change xds.ServiceChange
	// breaker as it is; zero for a service that is new.
	breaker breaker.Breaker
	// foreseen is what the new policy makes of it, by proxy.
	foreseen []breaker.Foresight
	// orders in force for the service.
	orders []breaker.StandingOrder
	// given are the paths that the service gives up and no other takes.
	given []string
	now   time.Time
}

// effects are what the change does, warnings first.
func (q *prospect) effects() []admin.Effect {
	var e effects
	switch q.change.Action {
	case xds.Added:
		e.info("", "new: its routes go live once every proxy has its cluster, after 5s at the latest")
	case xds.Removed:
		e.warn("", "goes: once no proxy has routes to it any more its cluster is removed; what its breaker knows is forgotten")
	case xds.Changed:
		q.cluster(&e)
		q.endpoints(&e)
		q.routes(&e)
		q.limits(&e)
		q.settings(&e)
	}
	for _, path := range q.given {
		e.warn("", "gives up "+path+": requests there get 404, or what a wider route answers")
	}
	q.standing(&e)
	return e.sorted()
}

// effects are merged where they differ in nothing but the proxy.
type effects struct{ list []admin.Effect }

func (e *effects) warn(proxy, text string) { e.add(admin.Effect{Warning: true, Text: text}, proxy) }

func (e *effects) info(proxy, text string) { e.add(admin.Effect{Text: text}, proxy) }

func (e *effects) add(effect admin.Effect, proxy string) {
	if proxy != "" {
		effect.Proxies = []string{proxy}
	}
	for i := range e.list {
		if x := &e.list[i]; x.Warning == effect.Warning && x.Text == effect.Text {
			x.Proxies = slices.Sorted(slices.Values(append(x.Proxies, effect.Proxies...)))
			return
		}
	}
	e.list = append(e.list, effect)
}

func (e *effects) sorted() []admin.Effect {
	slices.SortStableFunc(e.list, func(a, b admin.Effect) int {
		switch {
		case a.Warning == b.Warning:
			return 0
		case a.Warning:
			return -1
		}
		return 1
	})
	return e.list
}

// cluster says what its replacement costs. Envoy builds it anew with all hosts, and drains the connections of the old.
func (q *prospect) cluster(e *effects) {
	if q.change.Cluster != xds.Changed {
		return
	}
	replaces := "replaces cluster " + q.change.Service + ": "
	const drains = "drains its connection pools"
	if len(q.breaker.Proxies) == 0 {
		e.warn("", replaces+drains)
	}
	for i := range q.breaker.Proxies {
		switch p := &q.breaker.Proxies[i]; {
		case p.TotalHosts == 0:
			e.warn(p.Proxy, replaces+"clears any ejections, of which none can be seen now, "+drains)
		case p.EjectedHosts > 0:
			e.warn(p.Proxy, replaces+"clears "+count(p.EjectedHosts, "ejection", "ejections")+", "+drains)
		default:
			e.warn(p.Proxy, replaces+drains)
		}
	}
	e.info("", "requests under way end on the old connections; failures in a row and the counts by host begin at 0, those of the cluster go on")
}

// endpoints says which hosts come and go within a cluster that stays.
func (q *prospect) endpoints(e *effects) {
	if q.change.Endpoints != xds.Changed || q.change.Cluster != "" {
		return
	}
	before, after := q.change.Before.Upstream.Addresses(), q.change.After.Upstream.Addresses()
	var changes []string
	if added := without(after, before); len(added) > 0 {
		changes = append(changes, "adds "+strings.Join(added, ", "))
	}
	if removed := without(before, after); len(removed) > 0 {
		changes = append(changes, "removes "+strings.Join(removed, ", ")+", whose connections are drained")
	}
	if len(changes) == 0 {
		changes = append(changes, "their order changes")
	}
	e.info("", "endpoints only: "+strings.Join(changes, "; ")+"; the cluster stays, and ejections of the other hosts with it")
}

// without is what list has and other has not.
func without(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(other, s) })
}

func (q *prospect) routes(e *effects) {
	switch c := &q.change; {
	case c.Routes == "":
	case c.Cluster != "" || c.Endpoints != "":
		e.info("", "its routes change: requests under way end by the old ones")
	case c.Limits:
		e.info("", "its routes change: no connection is touched and no ejection cleared; requests under way end by the old ones")
	default:
		e.info("", "routes only: no connection is touched and no ejection cleared; requests under way end by the old routes")
	}
}

func (q *prospect) limits(e *effects) {
	if q.change.Limits {
		e.info("", "limits go by runtime, so that nothing is replaced; requests beyond them get 503 (overloaded) at once")
	}
}

// settings says what becomes of layer 2, which is Breakwater's own.
func (q *prospect) settings(e *effects) {
	c := &q.change
	before, after := breaker.SettingsOf(c.Before), breaker.SettingsOf(c.After)
	if before == after {
		return
	}
	if c.Cluster == "" && c.Endpoints == "" && c.Routes == "" && !c.Limits {
		e.info("", "breaker settings only: no resource of Envoy's changes, and states stay")
	}
	for _, f := range q.foreseen {
		q.window(e, f)
		q.deadline(e, f)
		if n := after.HalfOpenMaxRequests; f.Before.State == breaker.HalfOpen && n != before.HalfOpenMaxRequests {
			e.info(f.Proxy, fmt.Sprintf("is half-open: %s at a time may reach it from then on", count(int(n), "request", "requests")))
		}
		if before.Shadow != after.Shadow {
			q.shadow(e, f)
		}
	}
}

func (q *prospect) window(e *effects, f breaker.Foresight) {
	if was, is := f.Before.Attempts, f.After.Attempts; is < was {
		e.info(f.Proxy, fmt.Sprintf("its window keeps the newest %d of %d attempts, with %d of %s", is, was, f.After.Failures, count(int(f.Before.Failures), "failure", "failures")))
	}
	if f.Before.Opens != "" || f.After.Opens == "" {
		return
	}
	opens := "opens at the next report: "
	if f.After.Shadow {
		opens = "would open at the next report: "
	}
	e.warn(f.Proxy, opens+f.After.Opens)
}

func (q *prospect) deadline(e *effects, f breaker.Foresight) {
	if f.Before.State == breaker.Open && !f.After.Until.Equal(f.Before.Until) {
		e.warn(f.Proxy, fmt.Sprintf("is open and lets probes through %s instead of %s", q.when(f.After.Until), q.when(f.Before.Until)))
	}
}

// when is such as "in 40s", or "at once".
func (q *prospect) when(t time.Time) string {
	if !t.After(q.now) {
		return "at once"
	}
	return "in " + remaining(t, q.now)
}

func (q *prospect) shadow(e *effects, f breaker.Foresight) {
	acting := f.Before.State == breaker.Open || f.Before.State == breaker.HalfOpen
	switch {
	case f.Before.Shadow == f.After.Shadow: // an order, or a proxy that can not be told
	case f.After.Shadow && acting:
		e.warn(f.Proxy, fmt.Sprintf("only observes from then on: it is %s, and requests reach the service again", f.Before.State))
	case f.After.Shadow:
		e.info(f.Proxy, "only observes from then on, and ejects no host")
	case acting:
		e.warn(f.Proxy, fmt.Sprintf("acts from then on: it is %s, and keeps requests from the service", f.After.State))
	default:
		e.info(f.Proxy, "acts from then on")
	}
}

// standing says what becomes of operators' orders.
func (q *prospect) standing(e *effects) {
	for _, o := range q.orders {
		by := ""
		if o.Actor != "" {
			by = " of " + o.Actor
		}
		order := fmt.Sprintf("the order%s that it be %s", by, o.State)
		if o.Reason != "" {
			order += " (" + o.Reason + ")"
		}
		if !o.Until.IsZero() {
			order += ", for " + remaining(o.Until, q.now) + " more,"
		}
		switch q.change.Action {
		case xds.Added:
			e.warn(o.Proxy, order+" holds at once")
		case xds.Removed:
			e.warn(o.Proxy, order+" has nothing to hold then, and holds again if the service comes back")
		case xds.Changed:
			e.info(o.Proxy, order+" goes on")
		}
	}
}

// gatewayEffects are those of a change of what all services share.
func gatewayEffects(c *xds.GatewayChange) []admin.Effect {
	const drained = "connections from before keep the old settings, are told to close by and by and are closed after Envoy's drain time (--drain-time-s, 600 s unless set)"
	var e effects
	switch {
	case c.Listener == "":
	case c.Listener == xds.Added:
		e.info("", "opens the listener at "+c.After.Address())
	case c.InPlace:
		e.warn("", "updates the listener in place: new connections are taken all along; "+drained)
	default:
		e.warn("", "moves the listener to "+c.After.Address()+": the old address takes no new connections; "+drained)
	}
	if c.Clusters {
		e.info("", "a cluster of the gateway's own comes, goes or is replaced: no service's is touched")
	}
	if c.Routes {
		e.info("", "the routes to Breakwater's own API change: no connection is touched")
	}
	return e.sorted()
}

// givenUp are the paths that services of before the plan have and no service after it, by service.
func givenUp(plan *xds.Plan) map[string][]string {
	has := map[string]bool{}
	for _, svc := range plan.After {
		for _, path := range pathsOf(svc) {
			has[path] = true
		}
	}
	out := map[string][]string{}
	for _, c := range plan.Services {
		if c.Before == nil {
			continue
		}
		for _, path := range pathsOf(c.Before) {
			if !has[path] {
				out[c.Service] = append(out[c.Service], path)
			}
		}
	}
	return out
}

// pathsOf are the paths of a service's routes on each of their hosts, in words.
func pathsOf(svc *policy.Service) []string {
	var out []string
	for _, r := range svc.Routes {
		path := fmt.Sprintf("%s %s", r.Match, r.Value)
		for _, host := range r.Hosts {
			out = append(out, path+" of "+host)
		}
		if len(r.Hosts) == 0 {
			out = append(out, path)
		}
	}
	return out
}
