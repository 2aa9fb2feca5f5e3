package translate

import (
	"google.golang.org/protobuf/types/known/structpb"
)

// Enforcement is what a proxy is told of one service's breaker.
type Enforcement struct {
	Service string
	// Max is how many requests at a time may be at the service; 0: none, and its fallback answers if it has one.
	Max uint64
	// MaxPending is how many requests at a time may wait for a connection, if Max is not 0.
	MaxPending uint64
	// Fallback is true if the service has one.
	Fallback bool
}

// Enforce returns the runtime keys of enforcements. They work at once and cost a request nothing. lease is the name of a
// further key with the value renewal: a renewed layer has to differ.
func Enforce(enforcements []Enforcement, lease string, renewal int64) *structpb.Struct {
	keys := map[string]*structpb.Value{}
	if len(enforcements) == 0 {
		return &structpb.Struct{}
	}
	for _, e := range enforcements {
		if e.Max > 0 {
			e.halfOpen(keys)
		} else {
			e.open(keys)
		}
	}
	keys[lease] = structpb.NewNumberValue(float64(renewal))
	return &structpb.Struct{Fields: keys}
}

// always is a share of requests, in percent.
const always = 100

// MaintenanceKey is the runtime key, in percent, that keeps requests from a service's cluster.
func MaintenanceKey(service string) string { return "upstream.maintenance_mode." + service }

// open lets nothing through.
func (e Enforcement) open(keys map[string]*structpb.Value) {
	keys[MaintenanceKey(e.Service)] = structpb.NewNumberValue(always)
	if e.Fallback {
		keys[FallbackKey(e.Service)] = structpb.NewNumberValue(always)
	}
}

// halfOpen bounds the requests at the service. Those that wait for a connection have to be bounded too: towards a
// host that swallows SYNs all would wait for the connect timeout.
func (e Enforcement) halfOpen(keys map[string]*structpb.Value) {
	limits := "circuit_breakers." + e.Service + ".default."
	keys[limits+"max_requests"] = structpb.NewNumberValue(float64(e.Max))
	keys[limits+"max_pending_requests"] = structpb.NewNumberValue(float64(e.MaxPending))
	keys[HalfOpenKey(e.Service)] = structpb.NewNumberValue(always)
}
