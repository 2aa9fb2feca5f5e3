package admin_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/breakwater/breakwater/admin"
)

// answer is what a test compares of an HTTP response.
type answer struct {
	status int
	body   string
	header http.Header
}

func get(t *testing.T, url string) answer {
	t.Helper()
	return do(t, http.MethodGet, url, "", nil)
}

// do sends one request. A header Host sets the request's host, and one Transfer-Encoding leaves out how long the body is.
func do(t *testing.T, method, url, body string, header map[string]string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	if host := header["Host"]; host != "" {
		req.Host = host
	}
	if header["Transfer-Encoding"] != "" {
		req.ContentLength = -1
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, string(data), resp.Header}
}

const (
	fraudJSON = `{"service":"fraud-service","state":"open","summary":"open on 1 of 2 proxies","proxies":[` +
		`{"proxy":"edge-1","state":"open","cause":"2 of 2 hosts ejected","since":"2026-03-04T05:06:07Z","until":"2026-03-04T05:06:37Z","hosts":[` +
		`{"address":"10.0.0.1:8005","ejected":true,"unhealthy":false,"requests":"30","errors":"4"},` +
		`{"address":"10.0.0.2:8005","ejected":true,"unhealthy":true,"requests":"10","errors":"1"}],` +
		`"ejected_hosts":2,"total_hosts":2,"requests":"40","errors":"5","recent_errors":"3","overloaded":true,` +
		`"attempts":"39","failures":"4","recent_attempts":"12","successes":"1","shadow":false,"shadow_state":"","order":null,"waiting":false},` +
		`{"proxy":"edge-2","state":"forced_open","cause":"forced open by ann: drill","since":"2026-03-04T05:06:07Z","until":"2026-03-04T06:06:07Z","hosts":[],` +
		`"ejected_hosts":0,"total_hosts":0,"requests":"5","errors":"0","recent_errors":"0","overloaded":false,` +
		`"attempts":"5","failures":"0","recent_attempts":"0","successes":"0","shadow":true,"shadow_state":"closed",` +
		`"order":{"state":"forced_open","actor":"ann","reason":"drill","until":"2026-03-04T06:06:07Z"},"waiting":false}],"overview":` + fraudOverviewJSON + `,"continued":false}`
	fraudOverviewJSON = `{"cause":"2 of 2 hosts ejected","since":"2026-03-04T05:06:07Z","until":"2026-03-04T05:06:37Z","proxies":2,"proxies_in_state":1,` +
		`"ejected_hosts":2,"total_hosts":2,"attempts":"44","failures":"4","shadow":true,"shadow_state":"closed",` +
		`"order":{"state":"forced_open","actor":"ann","reason":"drill","until":"2026-03-04T06:06:07Z"},"overloaded":true,"recent_attempts":"12","recent_errors":"3","successes":"1","waiting":false}`
	searchOverviewJSON = `{"cause":"","since":null,"until":null,"proxies":0,"proxies_in_state":0,"ejected_hosts":0,"total_hosts":0,` +
		`"attempts":"0","failures":"0","shadow":false,"shadow_state":"","order":null,"overloaded":false,"recent_attempts":"0","recent_errors":"0","successes":"0","waiting":false}`
	fraudSummaryJSON = `{"service":"fraud-service","state":"open","summary":"open on 1 of 2 proxies","proxies":[],"overview":` + fraudOverviewJSON + `,"continued":false}`
	windowsJSON      = `"windows":[{"proxy":"edge-1","size":100,"batches":[{"attempts":"9","failures":"0"},{"attempts":"3","failures":"2"}],` +
		`"failure_threshold":5,"failure_rate":0,"min_requests":0,"slow_rate":0.5,"slow_min_requests":10,"measured":"12","slow":"1"},` +
		`{"proxy":"edge-2","size":50,"batches":[],"failure_threshold":0,"failure_rate":0.25,"min_requests":20,"slow_rate":0,"slow_min_requests":0,"measured":"0","slow":"0"}]`
	trafficJSON = `{"service":"fraud-service","time":"2026-03-04T05:06:07Z","proxies":[{"proxy":"edge-1","error":"","outcomes":[` +
		`{"outcome":"success","total":"40"},{"outcome":"error","total":"2"},{"outcome":"circuit_open","total":"0"},{"outcome":"overloaded","total":"1"},{"outcome":"fallback","total":"7"}],` +
		`"retries":"3","latency":[{"upper":"0.015625s","count":"30"},{"upper":null,"count":"50"}]},` +
		`{"proxy":"edge-2","error":"connection refused","outcomes":[],"retries":"0","latency":[]}],"next_page_token":""}`
	historyJSON = `{"since":"2026-03-04T05:06:07Z","start":"2026-03-04T05:06:07Z","end":"2026-03-04T05:06:32Z","step":"10s","proxies":[2,0,1],"services":[` +
		`{"service":"fraud-service","attempts":[40,0,2],"failures":[4,0,0],"refused":[0,0,7]},` +
		`{"service":"search-service","attempts":[1,0,0],"failures":[],"refused":[]}],"next_page_token":""}`
	searchJSON = `{"service":"search-service","state":"unknown","summary":"no proxy is connected","proxies":[],"overview":` + searchOverviewJSON + `,"continued":false}`
	levelsJSON = `{"levels":[{"subsystem":"","level":"info"},{"subsystem":"xds","level":"debug"}]}`
	resetJSON  = `{"service":"fraud-service","host":"","ok":true,"pushed":true,"generation":"7","proxies":[` +
		`{"proxy":"edge-1","acknowledged":true,"ejected_before":["10.0.0.1:8005"],"ejected_after":[],"note":"0 of 2 hosts ejected","error":"","from":"open"}],"not_saved":false,"not_saved_reason":""}`
	configJSON = `{"ok":false,"digest":"abc","last_success":"2026-03-04T05:06:07Z","last_attempt":"2026-03-04T05:07:07Z","services":2,` +
		`"problems":[{"severity":"error","position":{"file":"fraud.yaml","line":3,"column":5},"service":"fraud-service","path":"retry.max_delay","message":"is under base_delay","rule":"",` +
		`"excerpt":[{"line":2,"text":"retry:"},{"line":3,"text":"    max_delay: ${DELAY}"}]}],` +
		`"rejections":[{"service":"search-service","type_url":"type.googleapis.com/envoy.config.route.v3.RouteConfiguration","resource":"gateway","proxies":["edge-1"],"message":"bad regex","partial":true,"position":{"file":"search.yaml","line":1,"column":1},` +
		`"excerpt":[{"line":1,"text":"service: search-service"}],"more_proxies":0}],` +
		`"stale_services":["fraud-service"],"more_problems":7,"storage_faults":[{"document":"orders","error":"no space left on device","since":"2026-03-04T05:06:07Z","corrupt":true}],"more_rejections":0}`
	proxiesJSON = `{"proxies":[{"id":"edge-1","node_cluster":"edge","version":"envoy/1.40.0","address":"127.0.0.1:40000","admin_address":"127.0.0.1:9901",` +
		`"connected_since":"2026-03-04T05:06:07Z","admin_reachable":true,"admin_error":"","resources":[{"type_url":"type.googleapis.com/envoy.config.cluster.v3.Cluster",` +
		`"acknowledged_version":"v1","last_nack":{"version":"v2","message":"no such filter","time":"2026-03-04T05:06:07Z"}}],"last_load_report":"2026-03-04T05:06:08Z","faults":[]},` +
		`{"id":"edge-2","node_cluster":"","version":"","address":"127.0.0.1:40001","admin_address":"","connected_since":"2026-03-04T05:06:07Z",` +
		`"admin_reachable":false,"admin_error":"its bootstrap names no admin port","resources":[],"last_load_report":null,"faults":["runs Envoy 1.38.3; Breakwater needs 1.39 or later"]}],"missed":[` + disconnectedJSON + `],"next_page_token":""}`
	orderedJSON = `"proxies":[{"proxy":"edge-1","acknowledged":true,"state":"closed","note":"Envoy sends no request to the service","error":""}],"not_saved":false,"not_saved_reason":""}`
	ordersJSON  = `{"orders":[{"service":"fraud-service","proxy":"edge-2","since":"2026-03-04T05:06:07Z",` +
		`"order":{"state":"forced_open","actor":"ann","reason":"drill","until":"2026-03-04T06:06:07Z"},"not_saved":true}],"next_page_token":""}`
	tripJSON    = `{"id":"7","time":"2026-03-04T05:06:07Z","kind":"transition","service":"fraud-service","proxy":"edge-1","from":"closed","to":"open","cause":"5 of 37 attempts failed","actor":"","shadow":true,"host":"","until":null}`
	forcedJSON  = `{"id":"9","time":"2026-03-04T05:06:08Z","kind":"force_open","service":"search-service","proxy":"","from":"","to":"","cause":"drill","actor":"ann","shadow":false,"host":"h","until":"2026-03-04T06:06:07Z"}`
	explainJSON = `{"breaker":` + searchJSON + `,"findings":[{"proxies":["edge-1"],"what":"its breaker is open","advice":"wait","more_proxies":0}],` +
		`"counts":[{"proxy":"edge-1","counts":[{"stat":"upstream_rq_maintenance_mode","flag":"UO","meaning":"kept from it by its breaker","total":"7","recent":"2"}],"error":""},` +
		`{"proxy":"edge-2","counts":[],"error":"connection refused"}],` +
		`"settings":[{"path":"breaker.timeout","value":"30s","layer":"profile","variable":"reads","position":{"file":"defaults.yaml","line":3,"column":5},"clamped":true}],"more_counts":0}`
)

func TestHTTP(t *testing.T) {
	url := start(t, admin.Options{Model: newFakeModel()}).url
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/api/v1/breakers", "", 200, `{"breakers":[` + fraudJSON + `,` + searchJSON + `],"next_page_token":""}`},
		{"GET", "/api/v1/breakers/fraud-service", "", 200, `{"breaker":` + fraudJSON + `,` + windowsJSON + `,"next_page_token":""}`},
		{"GET", "/api/v1/breakers/fraud-service/traffic", "", 200, trafficJSON},
		{"GET", "/api/v1/breakers/nope/traffic", "", 404, `{"code":5,"message":"unknown service \"nope\""}`},
		{"GET", "/api/v1/history", "", 200, historyJSON},
		{"GET", "/api/v1/history?from=yesterday", "", 400, ""},
		{"GET", "/api/v1/breakers:watch?summary=perhaps", "", 400, `{"code":3,"message":"summary=\"perhaps\": must be true or false"}`},
		{"GET", "/api/v1/breakers/nope", "", 404, `{"code":5,"message":"unknown service \"nope\""}`},
		{"POST", "/api/v1/breakers/fraud-service/reset", "{}", 200, resetJSON},
		{"POST", "/api/v1/breakers/fraud-service/reset", "", 200, resetJSON},
		{"POST", "/api/v1/breakers/fraud-service/reset", `{"hots":"x"}`, 400, ""},
		{"POST", "/api/v1/breakers/fraud-service/reset", `{"host":"x"}`, 400, `{"code":3,"message":"host \"x\" is not of the form ip:port"}`},
		{"POST", "/api/v1/breakers/nope/reset", "{}", 404, `{"code":5,"message":"unknown service \"nope\""}`},
		{"POST", "/api/v1/breakers/fraud-service/force-open", `{"proxy":"edge-1","ttl":"90s","reason":"drill"}`, 200, `{"service":"fraud-service","ok":true,"until":"2026-03-04T05:07:37Z",` + orderedJSON},
		{"POST", "/api/v1/breakers/fraud-service/disable", `{"reason":"drill","for_ever":true}`, 200, `{"service":"fraud-service","ok":true,"until":null,` + orderedJSON},
		{"POST", "/api/v1/breakers/fraud-service/release", "{}", 200, `{"service":"fraud-service","ok":true,` + orderedJSON},
		{"POST", "/api/v1/breakers/fraud-service/release", `{"ttl":"90s"}`, 400, ""},
		{"POST", "/api/v1/breakers/fraud-service/disable", `{"proxy":"edge-1"}`, 400, ""},
		{"POST", "/api/v1/breakers/fraud-service/force-open", `{"ttl":"an hour"}`, 400, ""},
		{"POST", "/api/v1/breakers/fraud-service/force-open", `{"reason":"drill","ttl":"-1s"}`, 400, `{"code":3,"message":"ttl is -1s and must be positive; for_ever is for an override without an end"}`},
		{"POST", "/api/v1/breakers/fraud-service/force-open", `{"proxy":"nope","reason":"drill"}`, 404, `{"code":5,"message":"unknown proxy \"nope\""}`},
		{"POST", "/api/v1/breakers/nope/force-open", `{"reason":"drill"}`, 404, `{"code":5,"message":"unknown service \"nope\""}`},
		{"GET", "/api/v1/breakers/search-service/explain", "", 200, explainJSON},
		{"GET", "/api/v1/breakers/nope/explain", "", 404, `{"code":5,"message":"unknown service \"nope\""}`},
		{"GET", "/api/v1/orders", "", 200, ordersJSON},
		{"GET", "/api/v1/events", "", 200, `{"events":[` + tripJSON + `,` + forcedJSON + `],"next_page_token":""}`},
		{"GET", "/api/v1/events?service=search-service&limit=1", "", 200, `{"events":[` + forcedJSON + `],"next_page_token":""}`},
		{"GET", "/api/v1/events?limit=-1", "", 400, ""},
		{"GET", "/api/v1/events:watch?limit=-1", "", 400, `{"code":3,"message":"limit \"-1\" is not a number that is allowed"}`},
		{"GET", "/api/v1/events:watch?since=x", "", 400, `{"code":3,"message":"since \"x\" is not a number that is allowed"}`},
		{"GET", "/api/v1/proxies", "", 200, proxiesJSON},
		{"GET", "/api/v1/config", "", 200, configJSON},
		{"GET", "/api/v1/log-level", "", 200, levelsJSON},
		{"PUT", "/api/v1/log-level", `{"level":"info"}`, 200, levelsJSON},
		{"PUT", "/api/v1/log-level", `{"level":"loud"}`, 400, `{"code":3,"message":"level \"loud\" is none of trace, debug, info, warn, error, off"}`},
		{"PUT", "/api/v1/log-level", `{"level":"info","subsystem":"nope"}`, 404, `{"code":5,"message":"unknown subsystem \"nope\""}`},
		{"GET", "/healthz", "", 200, `{"status":"ok"}`},
		{"GET", "/readyz", "", 200, `{"status":"ready"}`},
		{"GET", "/metrics", "", 404, `{"code":5,"message":"no such path: /metrics"}`},
		{"GET", "/api/v1/nope", "", 404, `{"code":5,"message":"no such path: /api/v1/nope"}`},
		{"GET", "/api/v1/breakers/", "", 404, `{"code":5,"message":"no such path: /api/v1/breakers/"}`},
		{"GET", "/index.html", "", 404, `{"code":5,"message":"no such path: /index.html"}`},
		{"GET", "/assets/app.js", "", 404, `{"code":5,"message":"no such path: /assets/app.js"}`},
		{"POST", "/", "", 405, `{"code":12,"message":"POST is not allowed here, only GET, HEAD"}`},
	} {
		t.Run(tt.method+tt.path, func(t *testing.T) {
			got := do(t, tt.method, url+tt.path, tt.body, nil)
			if got.status != tt.status || got.header.Get("Content-Type") != "application/json" {
				t.Errorf("status %d, %s: %s, want %d", got.status, got.header.Get("Content-Type"), got.body, tt.status)
			}
			if diff := cmp.Diff(tt.want, got.body); tt.want != "" && diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
	for _, path := range []string{"/api/v1/breakers", "/api/v1/breakers:watch", "/api/v1/events", "/api/v1/events:watch", "/api/v1/circuit-breakers", "/healthz", "/"} {
		if got := do(t, http.MethodHead, url+path, "", nil); got.status != 200 || got.body != "" {
			t.Errorf("HEAD %s gives %d %q", path, got.status, got.body)
		}
	}
	version := get(t, url+"/api/v1/version")
	if version.status != 200 || !strings.HasPrefix(version.body, `{"version":"devel","started":"2`) {
		t.Errorf("version is %+v", version)
	}
}

func TestWrongMethods(t *testing.T) {
	url := start(t, admin.Options{Model: newFakeModel()}).url
	for _, tt := range []struct{ method, path, allow string }{
		{"POST", "/api/v1/breakers", "GET, HEAD"},
		{"DELETE", "/api/v1/breakers/fraud-service", "GET, HEAD"},
		{"GET", "/api/v1/breakers/fraud-service/reset", "POST"},
		{"POST", "/api/v1/breakers:watch", "GET, HEAD"},
		{"POST", "/api/v1/log-level", "GET, HEAD, PUT"},
		{"GET", "/api/v1/breakers/fraud-service/force-open", "POST"},
		{"POST", "/api/v1/events", "GET, HEAD"},
		{"DELETE", "/api/v1/events:watch", "GET, HEAD"},
		{"POST", "/api/v1/circuit-breakers", "GET, HEAD"},
		{"GET", "/api/v1/circuit-breakers/fraud-service/reset", "POST"},
		{"OPTIONS", "/api/v1/breakers", "GET, HEAD"},
	} {
		got := do(t, tt.method, url+tt.path, "", nil)
		if got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != tt.allow {
			t.Errorf("%s %s: status %d, Allow %q, want 405 with %q", tt.method, tt.path, got.status, got.header.Get("Allow"), tt.allow)
		}
		want := `{"code":12,"message":"` + tt.method + ` is not allowed here, only ` + tt.allow + `"}`
		if got.body != want {
			t.Errorf("%s %s: %s, want %s", tt.method, tt.path, got.body, want)
		}
	}
}

func TestReady(t *testing.T) {
	ready := errors.New("no policy is served yet")
	url := start(t, admin.Options{Model: newFakeModel(), Ready: func(context.Context) error { return ready }}).url
	if got := get(t, url+"/readyz"); got.status != 503 || got.body != `{"code":14,"message":"no policy is served yet"}` {
		t.Errorf("not ready: %+v", got)
	}
	if got := get(t, url+"/healthz"); got.status != 200 {
		t.Errorf("healthy though not ready: %+v", got)
	}
}

func TestLargeBodiesAreRefused(t *testing.T) {
	url := start(t, admin.Options{Model: newFakeModel()}).url
	body := `{"reason":"` + strings.Repeat("x", 70_000) + `"}`
	if got := do(t, "POST", url+"/api/v1/circuit-breakers/fraud-service/reset", body, nil); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("legacy reset: %+v", got)
	}
	if got := do(t, "POST", url+"/api/v1/breakers/fraud-service/reset", body, nil); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("reset: %+v", got)
	}
}
