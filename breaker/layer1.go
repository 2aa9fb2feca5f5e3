package breaker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

// conclude draws the state of one service in one proxy from what that proxy's admin API says of its
// cluster. Nil: it has no such cluster, because of a rejection in words or, if that is empty, not yet.
// before is what was concluded last.
func conclude(proxy string, svc *policy.Service, c *adminv3.ClusterStatus, rejection string, before ProxyBreaker, now time.Time) ProxyBreaker {
	b := ProxyBreaker{Proxy: proxy, State: Closed, Since: before.Since, Until: before.Until}
	if c == nil {
		b.State, b.Cause = Unknown, "the proxy does not have this service"
		if rejection == "" {
			b.Cause += " (yet)"
		} else {
			b.Cause += ": " + rejection
		}
	} else {
		unhealthy := 0
		for _, h := range envoy.HostStates(c) {
			b.Hosts = append(b.Hosts, Host(h))
			b.TotalHosts++
			b.Requests += h.Requests
			b.Errors += h.Errors
			if h.Ejected {
				b.EjectedHosts++
			} else if h.Unhealthy {
				unhealthy++
			}
		}
		b.Overloaded = envoy.Overloaded(c)
		b.State, b.Cause = layer1(b.EjectedHosts, unhealthy, b.TotalHosts, svc)
	}
	if before.State != b.State {
		b.Since, b.Until = now, time.Time{}
		if b.State == Open {
			b.Until = now.Add(svc.Breaker.Timeout)
		}
	}
	return b
}

// maxRejection bounds the part of Envoy's text, in bytes, that a cause quotes: its end, where the reason stands.
const maxRejection = 300

// rejection says why a proxy does not have a service whose policy it or every proxy has rejected. It is
// empty if there is no such rejection.
func rejection(rejections []xds.Rejection, proxy, service string) string {
	for _, r := range rejections {
		if r.Service != service || len(r.Proxies) > 0 && !slices.Contains(r.Proxies, proxy) {
			continue
		}
		text := r.Text
		if cut := len(text) - maxRejection; cut > 0 {
			text = "…" + strings.ToValidUTF8(text[cut:], "")
		}
		return fmt.Sprintf("its policy at %s was rejected: %s", r.Position, text)
	}
	return ""
}

// layer1 is open if Envoy has no host left to send a request to, so that it answers every one itself.
func layer1(ejected, unhealthy, total int, svc *policy.Service) (State, string) {
	threshold := "the consecutive failures that Envoy allows"
	if t := svc.Breaker.FailureThreshold; t.Set {
		threshold = fmt.Sprintf("%d consecutive %s", t.N, pick(int(t.N), "failure", "failures"))
	}
	switch {
	case total == 0:
		return Closed, "the service has no hosts: its name does not resolve, so every request fails"
	case ejected == total:
		return Open, fmt.Sprintf("%s ejected after %s", hosts(ejected, total), threshold)
	case unhealthy == total:
		return Open, pick(total, "the only host fails its health check", fmt.Sprintf("all %d hosts fail their health check", total))
	case ejected+unhealthy == total:
		return Open, fmt.Sprintf("%s ejected, %s", hosts(ejected, total),
			pick(unhealthy, "the other fails its health check", "the others fail their health check"))
	case ejected > 0:
		return Closed, fmt.Sprintf("%s ejected after %s; %s", hosts(ejected, total), threshold, serving(total-ejected-unhealthy))
	case unhealthy > 0:
		return Closed, fmt.Sprintf("%s %s; %s", hosts(unhealthy, total),
			pick(unhealthy, "fails the health check", "fail the health check"), serving(total-unhealthy))
	}
	return Closed, ""
}

func hosts(k, n int) string { return fmt.Sprintf("%d of %d %s", k, n, pick(n, "host", "hosts")) }

// serving says how many hosts are left.
func serving(n int) string { return fmt.Sprintf("%d %s", n, pick(n, "serves", "serve")) }

// pick is one for n = 1, else many.
func pick(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// same reports whether nothing differs that a watcher would want to know.
func same(a, b ProxyBreaker) bool {
	return a.State == b.State && a.Cause == b.Cause && a.Since.Equal(b.Since) && a.Until.Equal(b.Until) &&
		a.EjectedHosts == b.EjectedHosts && a.TotalHosts == b.TotalHosts &&
		a.Requests == b.Requests && a.Errors == b.Errors && a.RecentErrors == b.RecentErrors &&
		a.Overloaded == b.Overloaded && slices.Equal(a.Hosts, b.Hosts)
}

// ejectedHosts are the addresses of the ejected hosts, in ascending order.
func ejectedHosts(c *adminv3.ClusterStatus) []string {
	var out []string
	for _, h := range envoy.HostStates(c) {
		if h.Ejected {
			out = append(out, h.Address)
		}
	}
	return out
}

func list(addresses []string) string { return strings.Join(addresses, ", ") }
