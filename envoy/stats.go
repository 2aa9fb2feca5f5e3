package envoy

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
)

// The types of stats that Stats can be narrowed to.
const (
	Counters = "Counters"
	Gauges   = "Gauges"
)

// StatsQuery narrows what Stats asks for. Ask narrowly: Envoy's main thread renders
// the reply.
type StatsQuery struct {
	// Filter is an RE2 expression that is searched in the stat's name; empty for all.
	Filter string
	// UsedOnly leaves out stats that were never written.
	UsedOnly bool
	// Type is Counters, Gauges, or empty for both.
	Type string
}

// Stats returns counters and gauges by name. Text and histograms are left out.
func (a *Admin) Stats(ctx context.Context, q StatsQuery) (map[string]uint64, error) {
	query := url.Values{"format": {"json"}}
	if q.Filter != "" {
		query.Set("filter", q.Filter)
	}
	if q.UsedOnly {
		query.Set("usedonly", "")
	}
	if q.Type != "" {
		query.Set("type", q.Type)
	}
	body, err := a.call(ctx, http.MethodGet, "/stats", query)
	if err != nil {
		return nil, err
	}
	var reply struct {
		Stats []struct {
			Name  string          `json:"name"`
			Value json.RawMessage `json:"value"`
		} `json:"stats"`
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		return nil, a.notEnvoy("/stats")
	}
	stats := make(map[string]uint64, len(reply.Stats))
	for _, s := range reply.Stats {
		// A text readout's value is a string; the element of the histograms has none.
		if v, err := strconv.ParseUint(string(s.Value), 10, 64); err == nil {
			stats[s.Name] = v
		}
	}
	return stats, nil
}
