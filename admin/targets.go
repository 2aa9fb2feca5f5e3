package admin

import "net/http"

// target is one entry of Prometheus' HTTP service discovery.
type target struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// serveTargets lists the admin APIs of the proxies for Prometheus to scrape, each with the label proxy that Breakwater's
// own metrics have. One that is disconnected and not replaced is among them, so that its scrape fails and somebody hears of it. One whose
// bootstrap names no admin port is left out. Until it is known which proxies there are the answer is 503, for Prometheus
// then goes on with what it had.
func (s *service) serveTargets(w http.ResponseWriter, r *http.Request) {
	proxies, err := s.model.Targets(r.Context())
	if err != nil {
		writeError(w, toStatus(err))
		return
	}
	targets := make([]target, 0, len(proxies))
	for _, p := range proxies {
		if p.AdminAddress != "" {
			targets = append(targets, target{[]string{p.AdminAddress}, map[string]string{"proxy": p.Proxy}})
		}
	}
	writeJSON(w, http.StatusOK, targets)
}
