package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// An Envoy that dies stays among what Prometheus scrapes, over a restart of Breakwater too, so that somebody hears of it
// until it is back, replaced or forgotten.
func TestPrometheusOfADisconnectedEnvoy(t *testing.T) {
	t.Parallel()
	b := newScript(t)
	o := observe(newLayer2(t, layer2("svc", b, time.Minute)))
	proxy := map[string]string{"proxy": "e2e"}
	o.envoy.Kill()
	o.untilFires("EnvoyDown", proxy)
	o.untilFires("ProxyGone", proxy)
	o.untilFires("NoProxyConnected", nil)

	address := o.envoy.AdminAddr
	o.kill()
	o.start()
	body, err := o.fetch("http://" + o.http + "/api/v1/prometheus/targets")
	if err != nil || !strings.Contains(body, address) {
		t.Errorf("after a restart of Breakwater the targets are %s, %v; want %s among them", body, err, address)
	}
	o.untilFires("ProxyGone", proxy)
	o.untilFires("EnvoyDown", proxy)

	o.envoy = o.startEnvoy("e2e")
	o.untilClears("EnvoyDown")
	o.untilClears("ProxyGone")
	o.untilClears("NoProxyConnected")

	// A new one of its node cluster replaces it.
	o.envoy.Kill()
	o.untilConnected(0)
	o.envoy = o.startEnvoy("e2e-2")
	want := fmt.Sprintf(`[{"targets":[%q],"labels":{"proxy":"e2e-2"}}]`, o.envoy.AdminAddr)
	o.until("the one is replaced by the other", func() error {
		body, err := o.fetch("http://" + o.http + "/api/v1/prometheus/targets")
		if err == nil && body != want {
			err = fmt.Errorf("%s, want %s", body, want)
		}
		return err
	})

	// That one is ended for good.
	proxy = map[string]string{"proxy": "e2e-2"}
	o.envoy.Stop()
	o.untilFires("EnvoyDown", proxy)
	o.untilFires("ProxyGone", proxy)
	o.run("forget", "e2e-2", "--reason", "scaled down")
	o.untilClears("EnvoyDown")
	o.untilClears("ProxyGone")
}
