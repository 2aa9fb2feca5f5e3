package breaker

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

// statuses corrects the errors that load reports count for services whose policy says which statuses are errors: Envoy's
// load reports take 5xx for errors whatever the policy says (measured), unlike its outlier detection. For these services
// Envoy's counters by status are asked with each report.
type statuses struct {
	// counted are the last counters by service, and early the correction that was due and that the reports had no
	// attempts for yet.
	counted map[string]map[string]uint64
	early   map[string]correction
}

// correction is how many attempts that a load report takes for errors are successes, and the reverse.
type correction struct{ forgiven, blamed uint64 }

// statusCounters are the counters of answers by status, retried ones apart, and those of attempts that Envoy answers
// itself: a timeout with 504, a connection that failed or broke with 503.
const statusCounters = `(retry\.)?upstream_rq_[0-9]{3}|` + timeoutCounters + `|` + brokenCounters

const (
	timeoutCounters = `upstream_rq_timeout|upstream_rq_per_try_timeout`
	brokenCounters  = `upstream_rq_pending_failure_eject|upstream_rq_rx_reset|upstream_cx_destroy_remote_with_active_rq`
)

func (s *statuses) correct(ctx context.Context, admin *envoy.Admin, set *policy.Set, loads []xds.ServiceLoad) {
	var names []string
	var corrected []*xds.ServiceLoad
	for i := range loads {
		if len(loads[i].Hosts) == 0 {
			continue
		}
		if svc := set.Lookup(loads[i].Service); svc != nil && len(svc.Breaker.Errors) > 0 {
			names = append(names, svc.Name)
			corrected = append(corrected, &loads[i])
		}
	}
	if len(names) == 0 || admin == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	counters, err := admin.ClusterCounters(ctx, names, statusCounters)
	if err != nil {
		return // Envoy's own rule is the best that is known
	}
	if s.counted == nil {
		s.counted, s.early = map[string]map[string]uint64{}, map[string]correction{}
	}
	for _, l := range corrected {
		now, before := counters[l.Service], s.counted[l.Service]
		s.counted[l.Service] = now
		if before == nil {
			// How much of this is new is not known, and a breaker must not open by what is no error: as much as there ever
			// was is forgiven.
			due := correctionOf(set.Lookup(l.Service).Breaker.Errors, now)
			correction{forgiven: due.forgiven}.apply(l)
			continue
		}
		due := correctionOf(set.Lookup(l.Service).Breaker.Errors, grown(now, before))
		due.forgiven += s.early[l.Service].forgiven
		due.blamed += s.early[l.Service].blamed
		// What is left is of attempts that the next report will have.
		s.early[l.Service] = due.apply(l)
	}
}

// grown is by how much each counter has grown.
func grown(now, before map[string]uint64) map[string]uint64 {
	out := make(map[string]uint64, len(now))
	for name, n := range now {
		out[name] = n - min(n, before[name])
	}
	return out
}

func correctionOf(errors []policy.StatusRange, grown map[string]uint64) correction {
	own := map[uint64]uint64{}
	for status, counters := range map[uint64]string{504: timeoutCounters, 503: brokenCounters} {
		for _, name := range strings.Split(counters, "|") {
			own[status] += grown[name]
		}
	}
	var c correction
	byStatus := map[uint64]uint64{}
	for name, n := range grown {
		if status, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimPrefix(name, "retry."), "upstream_rq_"), 10, 64); err == nil {
			byStatus[status] += n
		}
	}
	for status, n := range byStatus {
		isError := slices.ContainsFunc(errors, func(r policy.StatusRange) bool {
			return uint64(r.From) <= status && status <= uint64(r.To)
		})
		switch counts := status >= 500; {
		case isError && !counts:
			c.blamed += n
		case !isError && counts:
			c.forgiven += n - min(n, own[status]) // what never had an answer always counts
		}
	}
	return c
}

// apply corrects a report, and returns what there were no attempts for. Which host a status was of is not known: the hosts
// with the most are taken.
func (c correction) apply(l *xds.ServiceLoad) correction {
	var successes, failures uint64
	for _, h := range l.Hosts {
		successes, failures = add(successes, h.Successes), add(failures, h.Errors)
	}
	forgiven, blamed := min(c.forgiven, failures), min(c.blamed, successes)
	pardoned := takeMost(l.Hosts, forgiven, func(h *xds.HostLoad) *uint64 { return &h.Errors })
	accused := takeMost(l.Hosts, blamed, func(h *xds.HostLoad) *uint64 { return &h.Successes })
	for i := range l.Hosts {
		h := &l.Hosts[i]
		h.Successes, h.Errors = add(h.Successes, pardoned[i]), add(h.Errors, accused[i])
	}
	return correction{c.forgiven - forgiven, c.blamed - blamed}
}

// takeMost takes n of something away from hosts, and returns how much from each. Those with the most lose the most: it is as
// if each one was taken from the host that has the most then. There must be as many.
func takeMost(hosts []xds.HostLoad, n uint64, of func(*xds.HostLoad) *uint64) []uint64 {
	taken := make([]uint64, len(hosts))
	order := make([]int, len(hosts))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(*of(&hosts[b]), *of(&hosts[a])) })
	// The first k hosts are brought down to the level of the next one, as long as that takes no more than n.
	for k := 1; n > 0 && k <= len(order); k++ {
		level := uint64(0)
		if k < len(order) {
			level = *of(&hosts[order[k]])
		}
		drop := min(*of(&hosts[order[k-1]])-level, n/uint64(k))
		for _, i := range order[:k] {
			*of(&hosts[i]) -= drop
			taken[i] += drop
		}
		n -= drop * uint64(k)
		for _, i := range order[:k] {
			if n == 0 || *of(&hosts[i]) == level {
				break
			}
			*of(&hosts[i])--
			taken[i]++
			n--
		}
	}
	return taken
}
