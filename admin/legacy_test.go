package admin_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/breaker"
)

func TestLegacyList(t *testing.T) {
	model := newFakeModel()
	url := start(t, admin.Options{Model: model}).url
	want := `{"circuit_breakers":{` +
		`"fraud-service":{"state":"open","failure_count":3,"success_count":1,"recent_failures":3,"total_calls":44,` +
		`"summary":"open on 1 of 2 proxies","hosts_ejected":2,"hosts_total":2,"proxies":{"edge-1":"open","edge-2":"forced_open"}},` +
		`"search-service":{"state":"unknown","failure_count":0,"success_count":0,"recent_failures":0,"total_calls":0,` +
		`"summary":"no proxy is connected","hosts_ejected":0,"hosts_total":0,"proxies":{}}}}`
	got := get(t, url+"/api/v1/circuit-breakers")
	if got.status != 200 || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("status %d, %v", got.status, got.header)
	}
	if diff := cmp.Diff(want, got.body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	model.set(func(f *fakeModel) { f.breakers = nil })
	if got := get(t, url+"/api/v1/circuit-breakers").body; got != `{"circuit_breakers":{}}` {
		t.Errorf("without services: %s", got)
	}
}

// TestLegacyCounts: the failures of the window count towards opening, the successes of probes
// towards closing; a breaker that only observes has the state that is enforced.
func TestLegacyCounts(t *testing.T) {
	model := newFakeModel()
	model.breakers = []breaker.Breaker{
		breaker.NewBreaker("a <b> & c", []breaker.ProxyBreaker{
			{Proxy: "p", State: breaker.HalfOpen, Attempts: 30, Failures: 20, RecentAttempts: 20, RecentErrors: 5, Successes: 1, Requests: 99, Errors: 98},
			{Proxy: "q", State: breaker.Closed, Attempts: 12, RecentAttempts: 12, RecentErrors: 1},
		}),
		breaker.NewBreaker("b", []breaker.ProxyBreaker{
			{Proxy: "p", State: breaker.Closed, Attempts: 9, Failures: 9, RecentAttempts: 9, RecentErrors: 9, Shadow: true, ShadowState: breaker.Open},
		}),
	}
	want := `{"circuit_breakers":{` +
		`"a <b> & c":{"state":"half_open","failure_count":6,"success_count":1,"recent_failures":6,"total_calls":42,"summary":"half_open on 1 of 2 proxies","hosts_ejected":0,"hosts_total":0,"proxies":{"p":"half_open","q":"closed"}},` +
		`"b":{"state":"closed","failure_count":9,"success_count":0,"recent_failures":9,"total_calls":9,"summary":"closed on 1 of 1 proxy","hosts_ejected":0,"hosts_total":0,"proxies":{"p":"closed"}}}}`
	got := get(t, start(t, admin.Options{Model: model}).url+"/api/v1/circuit-breakers").body
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestLegacyReset(t *testing.T) {
	const path = "/api/v1/circuit-breakers/fraud-service/reset"
	proof := `"proxies":[{"proxy":"edge-1","acknowledged":true,"ejected_before":["10.0.0.1:8005"],"ejected_after":[],"note":"0 of 2 hosts ejected","error":""}]}`
	for _, tt := range []struct {
		name, path, body string
		result           func(*breaker.ResetResult)
		status           int
		want             string
		asked            breaker.ResetRequest
	}{
		{
			name: "no body", path: path, status: 200,
			want:  `{"message":"Circuit breaker for fraud-service has been reset","service":"fraud-service","state":"open","ok":true,"host":"",` + proof,
			asked: breaker.ResetRequest{Service: "fraud-service", Action: breaker.Action{Actor: "127.0.0.1"}},
		},
		{
			name: "host in the query", path: path + "?host=10.0.0.1:8005", status: 200,
			want:  `{"message":"Circuit breaker for fraud-service, host 10.0.0.1:8005, has been reset","service":"fraud-service","state":"open","ok":true,"host":"10.0.0.1:8005",` + proof,
			asked: breaker.ResetRequest{Service: "fraud-service", Host: "10.0.0.1:8005", Action: breaker.Action{Actor: "127.0.0.1"}},
		},
		{
			name: "all in the body", path: path + "?host=10.0.0.9:1", body: `{"host":"10.0.0.1:8005","reason":"fixed","actor":"ann"}`, status: 200,
			want:  `{"message":"Circuit breaker for fraud-service, host 10.0.0.1:8005, has been reset","service":"fraud-service","state":"open","ok":true,"host":"10.0.0.1:8005",` + proof,
			asked: breaker.ResetRequest{Service: "fraud-service", Host: "10.0.0.1:8005", Action: breaker.Action{Actor: "ann", Reason: "fixed"}},
		},
		{
			name: "nothing to clear", path: path, status: 200,
			result: func(r *breaker.ResetResult) { r.Pushed = false },
			want:   `{"message":"Circuit breaker for fraud-service had nothing to reset","service":"fraud-service","state":"open","ok":true,"host":"",` + proof,
			asked:  breaker.ResetRequest{Service: "fraud-service", Action: breaker.Action{Actor: "127.0.0.1"}},
		},
		{
			name: "no proxy", path: path, status: 502,
			result: func(r *breaker.ResetResult) { r.Proxies = nil },
			want:   `{"message":"Circuit breaker for fraud-service has been reset; no proxy is connected","service":"fraud-service","state":"open","ok":false,"host":"","proxies":[]}`,
			asked:  breaker.ResetRequest{Service: "fraud-service", Action: breaker.Action{Actor: "127.0.0.1"}},
		},
		{
			name: "not proved", path: path, status: 502,
			result: func(r *breaker.ResetResult) {
				r.Proxies = append(r.Proxies, breaker.ProxyReset{Proxy: "edge-2", Error: "no acknowledgement within 5 s"})
			},
			want: `{"message":"Circuit breaker for fraud-service was not proved to be reset on 1 of 2 proxies","service":"fraud-service","state":"open","ok":false,"host":"",` +
				proof[:len(proof)-2] + `,{"proxy":"edge-2","acknowledged":false,"ejected_before":[],"ejected_after":[],"note":"","error":"no acknowledgement within 5 s"}]}`,
			asked: breaker.ResetRequest{Service: "fraud-service", Action: breaker.Action{Actor: "127.0.0.1"}},
		},
		{
			name: "unknown service", path: "/api/v1/circuit-breakers/nope/reset", status: 404,
			want:  `{"code":5,"message":"unknown service \"nope\""}`,
			asked: breaker.ResetRequest{Service: "nope", Action: breaker.Action{Actor: "127.0.0.1"}},
		},
		{name: "bad host", path: path + "?host=fraud", status: 400, want: `{"code":3,"message":"host \"fraud\" is not of the form ip:port"}`},
		{
			name: "bad body", path: path, body: "reset", status: 400,
			want: `{"code":3,"message":"the body is no JSON object of host, reason and actor: invalid character 'r' looking for beginning of value"}`,
		},
		{
			name: "no object", path: path, body: "[]", status: 400,
			want: `{"code":3,"message":"the body is no JSON object of host, reason and actor: it is a JSON array"}`,
		},
		{
			name: "no string", path: path, body: `{"host": 1}`, status: 400,
			want: `{"code":3,"message":"the body is no JSON object of host, reason and actor: host is a number"}`,
		},
		{
			name: "two objects", path: path, body: `{} {}`, status: 400,
			want: `{"code":3,"message":"the body is no JSON object of host, reason and actor: there is more behind it"}`,
		},
		{
			name: "unknown field", path: path, body: `{"hots":"x"}`, status: 400,
			want: `{"code":3,"message":"the body is no JSON object of host, reason and actor: json: unknown field \"hots\""}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			model := newFakeModel()
			if tt.result != nil {
				tt.result(&model.result)
			}
			got := do(t, "POST", start(t, admin.Options{Model: model}).url+tt.path, tt.body, nil)
			if got.status != tt.status {
				t.Errorf("status %d, want %d", got.status, tt.status)
			}
			if diff := cmp.Diff(tt.want, got.body); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			if asked := model.lastReset(); asked != tt.asked {
				t.Errorf("the model was asked %+v, want %+v", asked, tt.asked)
			}
		})
	}
}

// goneModel resets a service that is gone right afterwards.
type goneModel struct{ *fakeModel }

func (goneModel) Breaker(context.Context, string) (breaker.Breaker, error) {
	return breaker.Breaker{}, breaker.ErrUnknownService
}

func TestLegacyResetOfAServiceThatGoes(t *testing.T) {
	url := start(t, admin.Options{Model: goneModel{newFakeModel()}}).url
	got := do(t, "POST", url+"/api/v1/circuit-breakers/fraud-service/reset", "", nil)
	if got.status != 200 || !strings.Contains(got.body, `"state":"unknown","ok":true`) {
		t.Errorf("a reset that was done is answered with %d %s", got.status, got.body)
	}
}
