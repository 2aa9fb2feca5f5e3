package envoy

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
)

// Runtime returns the runtime keys that are set in any layer, with the values that are in force.
func (a *Admin) Runtime(ctx context.Context) (map[string]string, error) {
	body, err := a.call(ctx, http.MethodGet, "/runtime", url.Values{"format": {"json"}})
	if err != nil {
		return nil, err
	}
	var reply struct {
		Entries map[string]struct {
			FinalValue string `json:"final_value"`
		} `json:"entries"`
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		return nil, a.notEnvoy("/runtime")
	}
	keys := make(map[string]string, len(reply.Entries))
	for key, e := range reply.Entries {
		keys[key] = e.FinalValue
	}
	return keys, nil
}

// Enforces reports whether outlier detection ejects hosts of the cluster. It is an error if Envoy does not have it.
func (a *Admin) Enforces(ctx context.Context, cluster string) (bool, error) {
	body, err := a.call(ctx, http.MethodGet, "/config_dump", url.Values{
		"resource": {"dynamic_active_clusters"}, "name_regex": {"^" + regexp.QuoteMeta(cluster) + "$"},
	})
	if err != nil {
		return false, err
	}
	var reply struct {
		Configs []struct {
			Cluster struct {
				OutlierDetection *struct {
					Enforcing uint32 `json:"enforcing_consecutive_5xx"`
				} `json:"outlier_detection"`
			} `json:"cluster"`
		} `json:"configs"`
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		return false, a.notEnvoy("/config_dump")
	}
	if len(reply.Configs) == 0 {
		return false, fmt.Errorf("envoy admin %s: GET /config_dump: there is no cluster %s", a.addr, cluster)
	}
	d := reply.Configs[0].Cluster.OutlierDetection
	return d != nil && d.Enforcing > 0, nil
}
