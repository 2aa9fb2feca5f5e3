package envoy

import (
	"cmp"
	"context"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
)

// maxFilter bounds the escaped length of one /clusters filter, in bytes, so that
// the request line stays far below Envoy's limit of 60 KiB for all headers.
const maxFilter = 4 << 10

// Clusters returns the state of the named clusters, or of all without a name. A
// name that Envoy does not have is left out of the result, so a caller must look
// for each. All clusters of a large Envoy cost its main thread 0.2 s, so name them;
// a long list is asked in several calls, one after the other.
func (a *Admin) Clusters(ctx context.Context, names ...string) (*adminv3.Clusters, error) {
	all := &adminv3.Clusters{}
	filters := []string{""}
	if len(names) > 0 {
		filters = clusterFilters(names, "", "")
	}
	for _, filter := range filters {
		query := url.Values{"format": {"json"}}
		if filter != "" {
			query.Set("filter", filter)
		}
		some := &adminv3.Clusters{}
		if err := a.getProto(ctx, "/clusters", query, some); err != nil {
			return nil, err
		}
		proto.Merge(all, some)
	}
	return all, nil
}

// clusterFilters returns expressions that together match exactly these names between head and tail. Envoy searches the
// cluster's name, not its alt_stat_name, for an unanchored RE2 expression.
func clusterFilters(names []string, head, tail string) []string {
	head, tail = "^"+head+"(", ")"+tail+"$"
	var filters []string
	filter, length := head, 0
	for _, name := range names {
		quoted := regexp.QuoteMeta(name)
		escaped := len(url.QueryEscape(quoted))
		if filter != head {
			if length+escaped > maxFilter {
				filters = append(filters, filter+tail)
				filter, length = head, 0
			} else {
				filter += "|"
				length += len(url.QueryEscape("|"))
			}
		}
		filter += quoted
		length += escaped
	}
	return append(filters, filter+tail)
}

// HostState is what Envoy says of one upstream host.
type HostState struct {
	// Address is ip:port, or the path of a Unix socket.
	Address string
	// Ejected by outlier detection.
	Ejected bool
	// Unhealthy by the active health check.
	Unhealthy bool
	// Requests are the attempts that ended, and Errors those of them that failed
	// (5xx, resets, timeouts, connect failures, gRPC's server-side statuses), since the
	// host was added. Envoy counts a request over the cluster's max_requests as one of
	// each, though the host never saw it: the cluster's counter
	// upstream_rq_active_overflow says how many. One over max_pending_requests is in
	// neither.
	Requests, Errors uint64
	// InFlight are the requests at the host now.
	InFlight uint64
}

// HostStates returns the hosts of a cluster in ascending order of address; nil for
// a nil status.
func HostStates(status *adminv3.ClusterStatus) []HostState {
	var hosts []HostState
	for _, h := range status.GetHostStatuses() {
		hosts = append(hosts, HostState{
			Address:   Address(h.GetAddress()),
			Ejected:   h.GetHealthStatus().GetFailedOutlierCheck(),
			Unhealthy: h.GetHealthStatus().GetFailedActiveHealthCheck(),
			Requests:  hostStat(h, "rq_success") + hostStat(h, "rq_error"),
			Errors:    hostStat(h, "rq_error"),
			InFlight:  hostStat(h, "rq_active"),
		})
	}
	slices.SortFunc(hosts, func(a, b HostState) int { return cmp.Compare(a.Address, b.Address) })
	return hosts
}

// Overloaded reports whether a limit of the cluster is hit at the moment of the
// status: as many requests are in flight or pending as may be, or all connections
// are taken while requests wait for one. A limit of 0 is not one that traffic hits.
func Overloaded(status *adminv3.ClusterStatus) bool {
	var active, pending, connections uint64
	for _, h := range status.GetHostStatuses() {
		active += hostStat(h, "rq_active")
		pending += hostStat(h, "rq_pending_active")
		connections += hostStat(h, "cx_active")
	}
	for _, t := range status.GetCircuitBreakers().GetThresholds() {
		if t.GetPriority() != corev3.RoutingPriority_DEFAULT {
			continue
		}
		hit := func(n uint64, limit uint32) bool { return limit > 0 && n >= uint64(limit) }
		if hit(active, t.GetMaxRequests().GetValue()) ||
			hit(pending, t.GetMaxPendingRequests().GetValue()) ||
			pending > 0 && hit(connections, t.GetMaxConnections().GetValue()) {
			return true
		}
	}
	return false
}

func hostStat(h *adminv3.HostStatus, name string) uint64 {
	for _, s := range h.GetStats() {
		if s.GetName() == name {
			return s.GetValue()
		}
	}
	return 0
}

// Address is an address as ip:port, or the path of a Unix socket.
func Address(a *corev3.Address) string {
	if path := a.GetPipe().GetPath(); path != "" {
		return path
	}
	sa := a.GetSocketAddress()
	return net.JoinHostPort(sa.GetAddress(), strconv.FormatUint(uint64(sa.GetPortValue()), 10))
}
