package admin

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/breaker"
	"github.com/breakwater/breakwater/policy"
)

// each converts every element; the result is nil for none.
func each[M, P any](in []M, convert func(M) P) []P {
	if len(in) == 0 {
		return nil
	}
	out := make([]P, len(in))
	for i, m := range in {
		out[i] = convert(m)
	}
	return out
}

// timestampProto is nil for the zero time.
func timestampProto(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func breakerProto(b breaker.Breaker) *adminpb.Breaker {
	out := summaryProto(b)
	out.Proxies = each(b.Proxies, proxyBreakerProto)
	return out
}

// summaryProto is breakerProto without the proxies.
func summaryProto(b breaker.Breaker) *adminpb.Breaker {
	return &adminpb.Breaker{
		Service:  b.Service,
		State:    string(b.State),
		Summary:  b.Summary,
		Overview: overviewProto(b.Overview),
	}
}

func overviewProto(o breaker.Overview) *adminpb.Overview {
	out := &adminpb.Overview{
		Cause:          o.Cause,
		Since:          timestampProto(o.Since),
		Until:          timestampProto(o.Until),
		Proxies:        uint32(o.Proxies),
		ProxiesInState: uint32(o.InState),
		EjectedHosts:   uint32(o.EjectedHosts),
		TotalHosts:     uint32(o.TotalHosts),
		Attempts:       o.Attempts,
		Failures:       o.Failures,
		Shadow:         o.Shadow,
		ShadowState:    string(o.ShadowState),
		Overloaded:     o.Overloaded,
		RecentAttempts: o.RecentAttempts,
		RecentErrors:   o.RecentErrors,
		Successes:      o.Successes,
		Waiting:        o.Waiting,
	}
	if o.Order != nil {
		out.Order = orderProto(o.Ordered, *o.Order)
	}
	return out
}

func proxyBreakerProto(p breaker.ProxyBreaker) *adminpb.ProxyBreaker {
	return &adminpb.ProxyBreaker{
		Proxy:        p.Proxy,
		State:        string(p.State),
		Cause:        p.Cause,
		Since:        timestampProto(p.Since),
		Until:        timestampProto(p.Until),
		Hosts:        each(p.Hosts, hostProto),
		EjectedHosts: uint32(p.EjectedHosts),
		TotalHosts:   uint32(p.TotalHosts),
		Requests:     p.Requests,
		Errors:       p.Errors,
		RecentErrors: p.RecentErrors,
		Overloaded:   p.Overloaded,

		Attempts:       p.Attempts,
		Failures:       p.Failures,
		RecentAttempts: p.RecentAttempts,
		Successes:      p.Successes,
		Waiting:        p.Waiting,
		Shadow:         p.Shadow,
		ShadowState:    string(p.ShadowState),
		Order:          proxyOrderOf(p),
	}
}

// proxyOrderOf is what an operator has ordered in a proxy; nil for nothing. The order is in
// force, so the breaker is in the state that it asks for.
func proxyOrderOf(p breaker.ProxyBreaker) *adminpb.Order {
	if p.Order == nil {
		return nil
	}
	return orderProto(p.State, *p.Order)
}

func hostProto(h breaker.Host) *adminpb.Host {
	return &adminpb.Host{
		Address:   h.Address,
		Ejected:   h.Ejected,
		Unhealthy: h.Unhealthy,
		Requests:  h.Requests,
		Errors:    h.Errors,
	}
}

func resetProto(r breaker.ResetResult) *adminpb.ResetBreakerResponse {
	out := &adminpb.ResetBreakerResponse{
		Service:    r.Service,
		Host:       r.Host,
		Ok:         r.OK(),
		Pushed:     r.Pushed,
		Generation: r.Generation,
		Proxies:    each(r.Proxies, proxyResetProto),

		NotSaved:       r.NotSaved != "",
		NotSavedReason: r.NotSaved,
	}
	boundReset(out)
	return out
}

func proxyResetProto(p breaker.ProxyReset) *adminpb.ProxyReset {
	return &adminpb.ProxyReset{
		Proxy:         p.Proxy,
		Acknowledged:  p.Acknowledged,
		EjectedBefore: p.Before,
		EjectedAfter:  p.After,
		Note:          brief(p.Note),
		Error:         brief(p.Error),
		From:          string(p.From),
	}
}

func proxyProto(p Proxy) *adminpb.Proxy {
	return &adminpb.Proxy{
		Id:             p.ID,
		NodeCluster:    p.NodeCluster,
		Version:        p.Version,
		Address:        p.Address,
		AdminAddress:   p.AdminAddress,
		ConnectedSince: timestampProto(p.ConnectedSince),
		AdminReachable: p.AdminReachable,
		AdminError:     p.AdminError,
		Resources:      each(p.Resources, proxyResourcesProto),
		LastLoadReport: timestampProto(p.LastReport),
		Faults:         p.Faults,
	}
}

func disconnectedProxyProto(p DisconnectedProxy) *adminpb.DisconnectedProxy {
	return &adminpb.DisconnectedProxy{Id: p.ID, NodeCluster: p.NodeCluster, AdminAddress: p.AdminAddress, Left: timestampProto(p.Since), Replaced: p.Replaced}
}

func proxyResourcesProto(r ProxyResources) *adminpb.ProxyResources {
	resources := &adminpb.ProxyResources{TypeUrl: r.TypeURL, AcknowledgedVersion: r.Acknowledged}
	if n := r.LastNACK; n != nil {
		resources.LastNack = &adminpb.Nack{Version: n.Version, Message: n.Message, Time: timestampProto(n.Time)}
	}
	return resources
}

func configStatusProto(c ConfigStatus) *adminpb.GetConfigStatusResponse {
	out := &adminpb.GetConfigStatusResponse{
		Ok:            c.OK,
		Digest:        c.Digest,
		LastSuccess:   timestampProto(c.LastSuccess),
		LastAttempt:   timestampProto(c.LastAttempt),
		Services:      uint32(c.Services),
		Problems:      each(c.Problems, problemProto),
		MoreProblems:  uint32(c.MoreProblems),
		StaleServices: c.StaleServices,
		StorageFaults: each(c.StorageFaults, storageFaultProto),
	}
	out.Rejections, out.MoreRejections = fit(each(c.Rejections, rejectionProto), maxPart)
	return out
}

func storageFaultProto(f StorageFault) *adminpb.StorageFault {
	return &adminpb.StorageFault{Document: f.Document, Error: strings.ToValidUTF8(f.Error, "\uFFFD"), Since: timestampProto(f.Since), Corrupt: f.Corrupt}
}

func problemProto(p Problem) *adminpb.Problem {
	return &adminpb.Problem{
		Severity: string(p.Severity),
		Position: positionProto(p.Position),
		Service:  p.Service,
		Path:     p.Path,
		Message:  p.Message,
		Rule:     p.Rule,
		Excerpt:  each(p.Excerpt, sourceLineProto),
	}
}

func rejectionProto(r Rejection) *adminpb.Rejection {
	out := &adminpb.Rejection{
		Service:  r.Service,
		TypeUrl:  r.TypeURL,
		Resource: r.Resource,
		Message:  r.Message,
		Partial:  r.Partial,
		Position: positionProto(r.Position),
		Excerpt:  each(r.Excerpt, sourceLineProto),
	}
	out.Proxies, out.MoreProxies = fewIDs(r.Proxies)
	return out
}

func sourceLineProto(l policy.SourceLine) *adminpb.SourceLine {
	return &adminpb.SourceLine{Line: uint32(l.Line), Text: l.Text}
}

// positionProto is nil for an unknown position.
func positionProto(p policy.Position) *adminpb.Position {
	if p == (policy.Position{}) {
		return nil
	}
	return &adminpb.Position{File: p.File, Line: uint32(p.Line), Column: uint32(p.Column)}
}

func logLevelProto(l LogLevel) *adminpb.LogLevel {
	return &adminpb.LogLevel{Subsystem: l.Subsystem, Level: l.Level.String()}
}
