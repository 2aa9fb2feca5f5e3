package admin

import "net/http"

// target is one entry of Prometheus' HTTP service discovery.
type target struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// serveTargets lists the admin APIs of the connected proxies for Prometheus to scrape, each with the label
// proxy that Breakwater's own metrics have. A proxy whose bootstrap names no admin port is left out.
func (s *service) serveTargets(w http.ResponseWriter, r *http.Request) {
	proxies, err := s.model.Proxies(r.Context())
	if err != nil {
		writeError(w, toStatus(err))
		return
	}
	targets := make([]target, 0, len(proxies))
	for _, p := range proxies {
		if p.AdminAddress != "" {
			targets = append(targets, target{[]string{p.AdminAddress}, map[string]string{"proxy": p.ID}})
		}
	}
	writeJSON(w, http.StatusOK, targets)
}
