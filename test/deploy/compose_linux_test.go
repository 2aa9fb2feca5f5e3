package deploy

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
)

// The ports that docker-compose.yml publishes, as a user of it knows them.
const (
	gatewayURL    = "http://127.0.0.1:8080"
	apiURL        = "http://127.0.0.1:8081"
	prometheusURL = "http://127.0.0.1:9090"
)

// shopPaths are a path of each service of the example.
var shopPaths = map[string]string{
	"recommendation-service": "/api/v1/recommendations/for/7",
	"search-service":         "/api/v1/search?q=tea",
	"pricing-service":        "/api/v1/pricing/tea-042",
	"chatbot-service":        "/api/v1/chatbot",
	"fraud-service":          "/api/v1/fraud/score",
	"forecasting-service":    "/api/v1/forecast",
	"vision-service":         "/api/v1/vision",
}

// TestCompose does what a user does with `docker compose up --scale envoy=2`.
func TestCompose(t *testing.T) {
	// Grafana is not to be had here: TestComposeFile looks at what it is given.
	c := composeUp(t, map[string]int{"envoy": 2}, "grafana")

	// 1. Every service answers on the one gateway port.
	for service, path := range shopPaths {
		if r := get(t, gatewayURL+path, ""); r.status != http.StatusOK {
			t.Errorf("%s: %d %s", service, r.status, r.body)
		}
	}
	// 2. Breakwater sees both Envoys, by their host names.
	breakwater := c.one("breakwater")
	proxies := breakwater.mustExec("breakwater", "proxies")
	for _, envoy := range c.services["envoy"] {
		if !strings.Contains(proxies, envoy.hostname) {
			t.Errorf("no proxy %s in\n%s", envoy.hostname, proxies)
		}
	}
	c.tripAndReset()
	c.edit()
	c.staysPrivate()
	c.scrapes()
	c.restart()
	c.scaleDown()
}

// tripAndReset trips a breaker through the gateway, on both Envoys, and resets it.
func (c *composition) tripAndReset() {
	c.t.Helper()
	breakwater, fraud := c.one("breakwater"), c.one("fraud-service")
	fraud.mustExec("breakwater", "demo", "fail", "fraud-service")
	envoytest.Eventually(c.t, startTimeout, "the breaker opens on both Envoys", func() error {
		get(c.t, gatewayURL+shopPaths["fraud-service"], "")
		out := breakwater.mustExec("breakwater", "status", "fraud-service")
		if !strings.Contains(out, "open on 2 of 2 proxies") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	if r := get(c.t, gatewayURL+shopPaths["fraud-service"], ""); r.header.Get("X-Circuit-Breaker") != "fallback" {
		c.t.Errorf("an open breaker answers %d %v %s", r.status, r.header, r.body)
	}
	fraud.mustExec("breakwater", "demo", "heal", "fraud-service")
	breakwater.mustExec("breakwater", "reset", "fraud-service")
	for range 4 {
		if r := get(c.t, gatewayURL+shopPaths["fraud-service"], ""); r.status != http.StatusOK || strings.Contains(r.body, "fallback") {
			c.t.Errorf("after the reset: %d %s", r.status, r.body)
		}
	}
}

// edit edits a policy on the host, as an editor does that renames.
func (c *composition) edit() {
	c.t.Helper()
	path := filepath.Join(c.dir, "examples", "shop", "search.yaml")
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path+".new", []byte(strings.Replace(string(text), "prefix: /api/v1/search", "prefix: /api/v2/search", 1)), 0o644)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	envoytest.Eventually(c.t, startTimeout, "the edit is live on both Envoys", func() error {
		for range 8 {
			// The demo knows paths below /api/v1/ alone: its own 404 is JSON.
			if r := get(c.t, gatewayURL+"/api/v1/search", ""); r.status != http.StatusNotFound {
				return fmt.Errorf("the old path answers %d %s", r.status, r.body)
			}
		}
		return nil
	})
	if err := os.WriteFile(path, text, 0o644); err != nil {
		c.t.Fatal(err)
	}
	envoytest.Eventually(c.t, startTimeout, "the edit is taken back", func() error {
		if r := get(c.t, gatewayURL+"/api/v1/search", ""); r.status != http.StatusOK {
			return fmt.Errorf("the path answers %d %s", r.status, r.body)
		}
		return nil
	})
}

// staysPrivate tries what must not be reached.
func (c *composition) staysPrivate() {
	c.t.Helper()
	if r := get(c.t, apiURL+"/api/v1/circuit-breakers", "evil.example"); r.status != http.StatusMisdirectedRequest {
		c.t.Errorf("a rebound name gets %d of the API", r.status)
	}
	if r := get(c.t, apiURL+"/api/v1/circuit-breakers", "localhost:8081"); r.status != http.StatusOK {
		c.t.Errorf("localhost gets %d of the API", r.status)
	}
	for _, addr := range []string{"127.0.0.1:9901", "127.0.0.1:18000", "127.0.0.1:8082"} {
		if resp, err := http.Get("http://" + addr + "/"); err == nil {
			_ = resp.Body.Close()
			c.t.Errorf("%s is published", addr)
		}
	}
	// A service can not reach the control plane, by name or by address.
	fraud, plane := c.one("fraud-service"), c.one("breakwater")
	for _, host := range []string{"breakwater", plane.addrs["control"].String()} {
		if out, err := fraud.exec("breakwater", "healthcheck", "http://"+host+":8081/readyz"); err == nil {
			c.t.Errorf("a service reaches %s: %s", host, out)
		}
	}
	envoy := c.services["envoy"][0]
	for network, addr := range envoy.addrs {
		_, err := envoy.exec("breakwater", "healthcheck", "http://"+addr.String()+":9901/ready")
		if listens := err == nil; listens != (network == "control") {
			c.t.Errorf("Envoy's admin API on the network %s: %v", network, err)
		}
	}
	if _, err := envoy.exec("breakwater", "healthcheck", "http://breakwater:8081/readyz"); err != nil {
		c.t.Errorf("and yet an Envoy must: %v", err)
	}
}

// scrapes waits until Prometheus has scraped all there is.
func (c *composition) scrapes() {
	c.t.Helper()
	const up = `sum(up{job="breakwater"}) + sum(up{job="envoy"})`
	envoytest.Eventually(c.t, startTimeout, "Prometheus scrapes Breakwater and both Envoys", func() error {
		r := get(c.t, prometheusURL+"/api/v1/query?query="+url.QueryEscape(up), "")
		var reply struct {
			Data struct{ Result []struct{ Value [2]any } }
		}
		if err := json.Unmarshal([]byte(r.body), &reply); err != nil {
			return err
		}
		if len(reply.Data.Result) != 1 || reply.Data.Result[0].Value[1] != "3" {
			return fmt.Errorf("%s", r.body)
		}
		return nil
	})
}

// restart restarts the control plane: what an operator has ordered is in its volume.
func (c *composition) restart() {
	c.t.Helper()
	plane := c.one("breakwater")
	plane.mustExec("breakwater", "force-open", "vision-service", "--reason", "drill")
	plane.restart()
	plane.untilHealthy(healthCommand(c.t, c.file.Services["breakwater"]))
	if out := plane.mustExec("breakwater", "status", "vision-service"); !strings.Contains(out, "forced_open") {
		c.t.Errorf("after a restart vision-service is\n%s", out)
	}
	envoytest.Eventually(c.t, startTimeout, "both Envoys are back", func() error {
		out := plane.mustExec("breakwater", "status", "vision-service")
		if !strings.Contains(out, "2 of 2") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
}

// scaleDown takes one of two Envoys away: the port goes on answering.
func (c *composition) scaleDown() {
	c.t.Helper()
	c.services["envoy"][0].stop()
	envoytest.Eventually(c.t, startTimeout, "the other Envoy has all connections", func() error {
		for range 10 {
			r, err := try(gatewayURL+shopPaths["search-service"], "")
			if err != nil {
				return err
			}
			if r.status != http.StatusOK {
				return fmt.Errorf("%d %s", r.status, r.body)
			}
		}
		return nil
	})
}

// reply is one HTTP answer.
type reply struct {
	status int
	header http.Header
	body   string
}

// get asks a URL, on a connection of its own, with this Host header unless it is empty. A
// request without an answer fails the test.
func get(t testing.TB, url, host string) reply {
	t.Helper()
	r, err := try(url, host)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	return r
}

func try(url, host string) (reply, error) {
	req, err := http.NewRequest(http.MethodGet, url, http.NoBody)
	if err != nil {
		return reply{}, err
	}
	req.Host = host
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(body)}, err
}
