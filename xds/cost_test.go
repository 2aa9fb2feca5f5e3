package xds

import (
	"fmt"
	"testing"
	"time"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
)

// fleet is a publisher of many services with many proxies, which answer when they are told to. Nothing is sent.
type fleet struct {
	*Publisher
	keys []streamKey
}

func newFleet(services, proxies int) *fleet {
	f := &fleet{Publisher: NewPublisher(PublisherOptions{})}
	var all []*policy.Service
	for i := range services {
		all = append(all, service(fmt.Sprintf("s%04d", i)))
	}
	f.Apply(set(all...))
	for i := range proxies {
		key := streamKey(int64(i))
		f.ledger.connect(key, Proxy{ID: f.id(key)})
		f.keys = append(f.keys, key)
	}
	return f
}

func (f *fleet) id(key streamKey) string { return fmt.Sprintf("p%04d", key) }

// answer is one proxy's to all that it is to have of a type; an empty text accepts it.
func (f *fleet) answer(key streamKey, typeURL, text string) {
	id, versions := f.id(key), map[string]string{}
	f.cache.mu.Lock()
	t := f.cache.ofType(typeURL)
	for name := range t.resources {
		versions[name] = t.lookup(id, name).version
	}
	f.cache.mu.Unlock()
	f.ledger.sent(key, typeURL, "nonce", batch{versions: versions})
	f.ledger.answered(key, typeURL, "nonce", text)
}

func (f *fleet) acceptAll(key streamKey) {
	for _, typeURL := range []string{typeCluster, typeRoute, typeListener} {
		f.answer(key, typeURL, "")
	}
}

// look reconciles once and returns how long that took.
func (f *fleet) look() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	start := time.Now()
	f.reconcile(start)
	return time.Since(start)
}

// BenchmarkReconcile measures one look at 1,000 proxies with 5,000 services: the mean while they connect or answer one
// after another, and in the steady state after that.
func BenchmarkReconcile(b *testing.B) {
	const services, proxies, every = 5000, 1000, 50
	for name, answer := range map[string]func(f *fleet, i int){
		"connect": func(f *fleet, i int) { f.acceptAll(f.keys[i]) },
		"half refuses": func(f *fleet, i int) {
			text := ""
			if i%2 == 0 {
				text = envoy.GatewayName + ": regex '" + badRegex + "' is too large"
			}
			f.answer(f.keys[i], typeRoute, text)
		},
		"all are edited": func(f *fleet, i int) { f.answer(f.keys[i], typeCluster, "") },
	} {
		b.Run(name, func(b *testing.B) {
			f := newFleet(services, proxies)
			all := f.set.Services
			if name != "connect" {
				for _, key := range f.keys {
					f.acceptAll(key)
				}
				f.look()
			}
			switch name {
			case "half refuses":
				all[0] = service(all[0].Name, withRegex(badRegex))
				f.Apply(set(all...))
			case "all are edited":
				for i := range all {
					all[i] = service(all[i].Name, slow)
				}
				f.Apply(set(all...))
			}
			var total, worst time.Duration
			for i := range f.keys {
				answer(f, i)
				if i%every == 0 {
					d := f.look()
					total, worst = total+d, max(worst, d)
				}
			}
			last := f.look()
			for b.Loop() {
				f.look()
			}
			b.ReportMetric(float64(total.Microseconds())/(proxies/every)/1000, "ms/look-meanwhile")
			b.ReportMetric(float64(worst.Microseconds())/1000, "ms/worst-look")
			b.ReportMetric(float64(last.Microseconds())/1000, "ms/last-look")
		})
	}
}
