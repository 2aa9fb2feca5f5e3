package translate

import (
	"math"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	runtimev3 "github.com/envoyproxy/go-control-plane/envoy/service/runtime/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
)

// What every cluster is built with, whatever its policy says: the policy's own
// values go by runtime, so that an edit of a limit does not replace the cluster and
// let its ejected hosts in again. They are the policy's built-in values too, and what
// holds if Envoy starts without the limits layer.
const (
	builtInMax           = 1024
	builtInBudgetPercent = 20
	// minRetryConcurrency is the number of retries at a time that are allowed however
	// few requests are active: Envoy's default.
	minRetryConcurrency = 3
)

// ClusterLimits are limits of one cluster that differ from the built-in ones. A
// zero field: as built in.
type ClusterLimits struct {
	MaxConnections, MaxPendingRequests, MaxRequests uint32
	// RetryBudgetPercent is the share of active requests that may be retries, in percent.
	RetryBudgetPercent float64
}

func clusterLimits(s *policy.Service) ClusterLimits {
	differing := func(n uint32) uint32 {
		if n == builtInMax {
			return 0
		}
		return n
	}
	l := ClusterLimits{
		MaxConnections:     differing(s.Limits.MaxConnections),
		MaxPendingRequests: differing(s.Limits.MaxPendingRequests),
		MaxRequests:        differing(s.Limits.MaxRequests),
	}
	// Rounded to a millionth of a percent, for 0.07 * 100 is 7.000000000000001, and never
	// to 0, which would be the built-in budget.
	if percent := max(1, math.Round(s.Retry.Budget*1e8)) / 1e6; percent != builtInBudgetPercent {
		l.RetryBudgetPercent = percent
	}
	return l
}

// circuitBreakers is the same for every cluster. Without a retry budget Envoy would
// allow three retries at a time, however many requests are active.
func circuitBreakers() *clusterv3.CircuitBreakers {
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections:     u32(builtInMax),
		MaxPendingRequests: u32(builtInMax),
		MaxRequests:        u32(builtInMax),
		RetryBudget: &clusterv3.CircuitBreakers_Thresholds_RetryBudget{
			BudgetPercent:       &typev3.Percent{Value: builtInBudgetPercent},
			MinRetryConcurrency: u32(minRetryConcurrency),
		},
		TrackRemaining: true,
	}}}
}

// Limits builds the runtime layer of the services' limits. It has keys only for what
// differs from the built-in values, so that it stays small.
func Limits(units []*Unit) *runtimev3.Runtime {
	clusters := map[string]*structpb.Value{}
	for _, u := range units {
		if keys := u.Limits.keys(); len(keys) > 0 {
			clusters[u.Service] = object(map[string]*structpb.Value{"default": object(keys)})
		}
	}
	layer := &structpb.Struct{}
	if len(clusters) > 0 {
		layer.Fields = map[string]*structpb.Value{"circuit_breakers": object(clusters)}
	}
	return &runtimev3.Runtime{Name: envoy.LimitsLayer, Layer: layer}
}

func (l ClusterLimits) keys() map[string]*structpb.Value {
	keys := map[string]*structpb.Value{}
	for name, n := range map[string]uint32{
		"max_connections":      l.MaxConnections,
		"max_pending_requests": l.MaxPendingRequests,
		"max_requests":         l.MaxRequests,
	} {
		if n > 0 {
			keys[name] = structpb.NewNumberValue(float64(n))
		}
	}
	if l.RetryBudgetPercent > 0 {
		keys["retry_budget"] = object(map[string]*structpb.Value{
			"budget_percent": structpb.NewNumberValue(l.RetryBudgetPercent),
		})
	}
	return keys
}

func object(fields map[string]*structpb.Value) *structpb.Value {
	return structpb.NewStructValue(&structpb.Struct{Fields: fields})
}
