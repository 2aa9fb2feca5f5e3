package translate_test

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
)

// client follows no redirect. Its transport is its own, for a test server that ends closes what waits on the default one.
var client = &http.Client{
	Transport:     &http.Transport{},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// send makes one request of the gateway. Headers are given as name, value, ….
func (g *gateway) send(method, path string, headers ...string) answer {
	g.t.Helper()
	a, err := g.trySend(method, path, headers...)
	if err != nil {
		g.t.Fatal(err)
	}
	return a
}

// sendTo makes one request with a Host header.
func (g *gateway) sendTo(host, path string) answer {
	g.t.Helper()
	return g.send("GET", path, "Host", host)
}

func (g *gateway) trySend(method, path string, headers ...string) (answer, error) {
	req, err := http.NewRequest(method, g.url+path, nil)
	if err != nil {
		return answer{}, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body)}, err
}

// fields decodes the JSON that the gateway answers itself.
func (a answer) fields(t *testing.T) map[string]any {
	t.Helper()
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content type %q of %q", got, a.body)
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(a.body), &fields); err != nil {
		t.Fatalf("%q: %v", a.body, err)
	}
	return fields
}
