package admin

import (
	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/breaker"
	"github.com/breakwater/breakwater/policy"
)

func orderProto(state breaker.State, o breaker.Order) *adminpb.Order {
	return &adminpb.Order{
		State:  string(state),
		Actor:  o.Actor,
		Reason: o.Reason,
		Until:  timestampProto(o.Until),
	}
}

func standingOrderProto(o breaker.StandingOrder) *adminpb.StandingOrder {
	return &adminpb.StandingOrder{
		Service: o.Service,
		Proxy:   o.Proxy,
		Since:   timestampProto(o.Since),
		Order:   orderProto(o.State, o.Order),

		NotSaved: o.NotSaved,
	}
}

func proxyOrderProto(p breaker.ProxyOrder) *adminpb.ProxyOrder {
	return &adminpb.ProxyOrder{
		Proxy:        p.Proxy,
		Acknowledged: p.Acknowledged,
		State:        string(p.State),
		Note:         brief(p.Note),
		Error:        brief(p.Error),
	}
}

func eventProto(e breaker.Event) *adminpb.Event {
	return &adminpb.Event{
		Id:      e.ID,
		Time:    timestampProto(e.At),
		Kind:    string(e.Kind),
		Service: e.Service,
		Proxy:   e.Proxy,
		From:    string(e.From),
		To:      string(e.To),
		Cause:   e.Cause,
		Actor:   e.Actor,
		Shadow:  e.Shadow,
		Host:    e.Host,
		Until:   timestampProto(e.Until),
	}
}

func explanationProto(e Explanation) *adminpb.ExplainBreakerResponse {
	out := &adminpb.ExplainBreakerResponse{
		Breaker:  boundedBreaker(breakerProto(e.Breaker)),
		Findings: each(e.Findings, findingProto),
		Settings: each(e.Settings, settingProto),
	}
	out.Counts, out.MoreCounts = fit(each(e.Counts, proxyCountsProto), maxPart)
	return out
}

func findingProto(f Finding) *adminpb.Finding {
	out := &adminpb.Finding{What: f.What, Advice: f.Advice}
	out.Proxies, out.MoreProxies = fewIDs(f.Proxies)
	return out
}

func proxyCountsProto(p ProxyCounts) *adminpb.ProxyCounts {
	return &adminpb.ProxyCounts{Proxy: p.Proxy, Counts: each(p.Counts, failureCountProto), Error: p.Error}
}

func failureCountProto(c FailureCount) *adminpb.FailureCount {
	return &adminpb.FailureCount{Stat: c.Stat, Flag: c.Flag, Meaning: c.Meaning, Total: c.Total, Recent: c.Recent}
}

func settingProto(s policy.Setting) *adminpb.Setting {
	return &adminpb.Setting{
		Path:     s.Path,
		Value:    s.Value,
		Layer:    string(s.Origin.Layer),
		Variable: s.Origin.Variable,
		Position: positionProto(s.Origin.Position),
		Clamped:  s.Origin.Clamped,
	}
}
