package translate

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/breakwater/breakwater/policy"
)

// healthChecks is empty if the policy asks for none.
func healthChecks(s *policy.Service) []*corev3.HealthCheck {
	h := s.HealthCheck
	if h == nil {
		return nil
	}
	check := &corev3.HealthCheck{
		Timeout:            durationpb.New(h.Timeout),
		Interval:           durationpb.New(h.Interval),
		HealthyThreshold:   u32(h.HealthyThreshold),
		UnhealthyThreshold: u32(h.UnhealthyThreshold),
		// Envoy checks a cluster without traffic once in 60 s by default, whatever the
		// interval: a service would come back late after a quiet night.
		NoTrafficInterval: durationpb.New(h.Interval),
	}
	// The host is explicit: Envoy's default is the endpoint's hostname, which carries
	// the host's generation.
	host := checkedHost(s)
	if h.Path == "" {
		check.HealthChecker = &corev3.HealthCheck_GrpcHealthCheck_{
			GrpcHealthCheck: &corev3.HealthCheck_GrpcHealthCheck{Authority: host},
		}
	} else {
		http := &corev3.HealthCheck_HttpHealthCheck{
			Host: host,
			Path: h.Path,
			// The default is 200 alone; a check that answers 204 is well too.
			ExpectedStatuses: []*typev3.Int64Range{{Start: 200, End: 300}},
		}
		if s.Upstream.Scheme.HTTP2() {
			http.CodecClientType = typev3.CodecClientType_HTTP2
		}
		check.HealthChecker = &corev3.HealthCheck_HttpHealthCheck_{HttpHealthCheck: http}
	}
	return []*corev3.HealthCheck{check}
}

// checkedHost is the Host header of a health check: the name the upstream goes by.
func checkedHost(s *policy.Service) string {
	if s.Upstream.TLS != nil && s.Upstream.TLS.ServerName != "" {
		return s.Upstream.TLS.ServerName
	}
	for _, h := range s.Upstream.Hosts {
		if !isIP(h.Name) {
			return h.Name
		}
	}
	return s.Name
}
