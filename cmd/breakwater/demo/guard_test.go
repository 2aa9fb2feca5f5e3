package demo

import (
	"net/http"
	"strings"
	"testing"
)

// ask makes one control request with these headers; Host is a header here.
func ask(t *testing.T, method, url string, headers map[string]string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

func TestControlIsNotForOtherSites(t *testing.T) {
	s := start(t)
	for where, addr := range map[string]string{"common": s.CtlAddr(), "own": s.Addr("fraud-service")} {
		url := "http://" + addr + "/ctl?service=fraud-service&fail=on"
		_, port, _ := strings.Cut(addr, ":")
		for _, tt := range []struct {
			method  string
			headers map[string]string
			want    int
		}{
			{http.MethodPost, map[string]string{"Origin": "https://evil.example"}, http.StatusForbidden},
			{http.MethodPost, map[string]string{"Origin": "null"}, http.StatusForbidden},
			{http.MethodPost, map[string]string{"Origin": "http://127.0.0.1:1"}, http.StatusForbidden},
			{http.MethodPost, map[string]string{"Sec-Fetch-Site": "cross-site"}, http.StatusForbidden},
			{http.MethodPost, map[string]string{"Host": "evil.example:" + port}, http.StatusMisdirectedRequest},
			{http.MethodPost, map[string]string{"Host": "evil.example:" + port, "Origin": "http://evil.example:" + port}, http.StatusMisdirectedRequest},
			{http.MethodGet, map[string]string{"Host": "evil.example"}, http.StatusMisdirectedRequest},
		} {
			if got := ask(t, tt.method, url, tt.headers); got != tt.want {
				t.Errorf("%s control, %s with %v: %d, want %d", where, tt.method, tt.headers, got, tt.want)
			}
		}
		if body := wantStatus(t, http.StatusOK, http.MethodGet, "http://"+s.Addr("fraud-service")+"/ctl"); !strings.Contains(body, `"healthy"`) {
			t.Errorf("%s control: changed by a request that was turned away: %s", where, body)
		}
		for _, headers := range []map[string]string{
			{"Origin": "http://" + addr},
			{"Host": "localhost:" + port},
			{"Host": "LOCALHOST."},
			{"Host": "[::1]:" + port},
		} {
			if got := ask(t, http.MethodPost, url, headers); got != http.StatusOK {
				t.Errorf("%s control, with %v: %d, want 200", where, headers, got)
			}
		}
		control(t, s, Behaviour{})
	}
	// The service itself answers to any name: Envoy passes its client's on.
	if got := ask(t, http.MethodGet, "http://"+s.Addr("fraud-service")+"/api/v1/fraud", map[string]string{"Host": "shop.example"}); got != http.StatusOK {
		t.Errorf("the service: %d, want 200", got)
	}
}

func TestGuardKnowsTheNamesOfTheListeners(t *testing.T) {
	g := newGuard("Demo.internal:8000", "127.0.0.1", ":8000")
	for host, want := range map[string]bool{
		"demo.internal": true, "demo.internal:8000": true, "DEMO.internal.:1": true, "10.0.0.1:8000": true, "[fe80::1]": true,
		"evil.example": false, "demo.internal.evil.example": false, "": false, ":8000": false, "localhost.evil.example": false,
	} {
		if got := g.knows(host); got != want {
			t.Errorf("host %q: known %v, want %v", host, got, want)
		}
	}
}
