package admin

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/breaker"
	"github.com/breakwater/breakwater/envoy"
)

func windowProto(w breaker.ProxyWindow) *adminpb.ProxyWindow {
	out := &adminpb.ProxyWindow{
		Proxy:    w.Proxy,
		Size:     w.WindowSize,
		Batches:  make([]*adminpb.WindowBatch, len(w.Batches)),
		Measured: w.Measured,
		Slow:     w.Slow,
	}
	for i, b := range w.Batches {
		out.Batches[i] = &adminpb.WindowBatch{Attempts: b.Attempts, Failures: b.Failures}
	}
	if w.FailureThreshold.Set {
		out.FailureThreshold = w.FailureThreshold.N
	}
	if w.FailureRate.Set {
		out.FailureRate, out.MinRequests = w.FailureRate.Share, w.MinRequests
	}
	if w.SlowRate.Set {
		out.SlowRate, out.SlowMinRequests = w.SlowRate.Share, w.SlowMinRequests
	}
	return out
}

func proxyTrafficProto(p breaker.ProxyTraffic) *adminpb.ProxyTraffic {
	out := &adminpb.ProxyTraffic{Proxy: p.Proxy, Error: p.Error}
	if p.Error != "" {
		return out
	}
	out.Retries = p.Retries
	out.Latency = each(p.Latency, latencyBucketProto)
	for _, o := range envoy.Outcomes {
		out.Outcomes = append(out.Outcomes, &adminpb.OutcomeCount{Outcome: o, Total: p.Requests[o]})
	}
	return out
}

// historyProto leaves the services out.
func historyProto(h breaker.History) *adminpb.GetHistoryResponse {
	return &adminpb.GetHistoryResponse{
		Since:   timestampProto(h.Since),
		Start:   timestampProto(h.Start),
		End:     timestampProto(h.End),
		Step:    durationpb.New(h.Step),
		Proxies: h.Proxies,
	}
}

func serviceHistoryProto(s breaker.ServiceHistory) *adminpb.ServiceHistory {
	return &adminpb.ServiceHistory{Service: s.Service, Attempts: s.Attempts, Failures: s.Failures, Refused: s.Refused}
}

func latencyBucketProto(b envoy.LatencyBucket) *adminpb.LatencyBucket {
	out := &adminpb.LatencyBucket{Count: b.Count}
	if b.Upper != 0 {
		out.Upper = durationpb.New(b.Upper)
	}
	return out
}
