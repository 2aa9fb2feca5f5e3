package xds

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/breakwater/breakwater/policy"
)

// TestProxiesOfManyMinds applies random edits to proxies of which each refuses other things, while they reconnect and
// services are reset. In the end an edit reaches all of them, and nothing is left of what they refused.
func TestProxiesOfManyMinds(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { manyMinds(t, seed) })
	}
}

func manyMinds(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	p := NewPublisher(PublisherOptions{})
	addr := serve(t, p)
	// Proxy i refuses, and quotes, expressions with BADi in them; the odd ones refuse a connect timeout of 1 s too.
	refuse := func(i int) func(string, string, []byte) string {
		return func(typeURL, name string, body []byte) string {
			bad := fmt.Sprintf("BAD%d", i)
			if typeURL == typeRoute {
				if j := bytes.Index(body, []byte(bad)); j >= 0 {
					end := j
					for end < len(body) && body[end] != '$' {
						end++
					}
					return "regex '^/" + string(body[j:end]) + "$' refused"
				}
			}
			if i%2 == 1 && typeURL == typeCluster && bytes.Contains(body, []byte{0x22, 0x02, 0x08, 0x01}) {
				return "no"
			}
			return ""
		}
	}
	const n = 4
	proxies := make([]*fakeProxy, n)
	for i := range proxies {
		proxies[i] = dial(t, addr, fmt.Sprintf("p%d", i), nil, refuse(i))
	}
	gens := make([]int, 5)
	services := func(bad bool) []*policy.Service {
		var out []*policy.Service
		for k := range 5 {
			if bad && rnd.IntN(6) == 0 {
				continue
			}
			if rnd.IntN(2) == 0 {
				gens[k]++
			}
			v := fmt.Sprintf("^/s%d-%d$", k, gens[k])
			if bad && rnd.IntN(3) == 0 {
				v = fmt.Sprintf("^/BAD%d-%d-%d$", rnd.IntN(n), k, gens[k])
			}
			ch := []func(*policy.Service){withRegex(v)}
			if bad && rnd.IntN(4) == 0 {
				ch = append(ch, slow)
			}
			out = append(out, service(fmt.Sprintf("s%d", k), ch...))
		}
		return out
	}
	apply(t, p, services(false)...)
	for range 40 {
		switch rnd.IntN(5) {
		case 0:
			i := rnd.IntN(n)
			has := proxies[i].all()
			proxies[i].close()
			if rnd.IntN(2) == 0 {
				has = nil
			}
			proxies[i] = dial(t, addr, fmt.Sprintf("p%d", i), has, refuse(i))
		case 1:
			if _, err := p.Regenerate(fmt.Sprintf("s%d", rnd.IntN(5)), ""); err != nil && !errors.Is(err, ErrNotPublished) {
				t.Error(err)
			}
		default:
			apply(t, p, services(true)...)
		}
		if rnd.IntN(2) == 0 {
			eventually(t, "some quiet", func() string {
				p.mu.Lock()
				defer p.mu.Unlock()
				for _, q := range p.ledger.Proxies() {
					for _, r := range q.Resources {
						if r.Pending {
							return "pending"
						}
					}
				}
				return ""
			})
		}
	}
	// An edit of one more service reaches every proxy, whatever it objects to.
	last := append(services(true), service("z", withRegex("^/zzz$")))
	apply(t, p, last...)
	eventually(t, "z reaches all", func() string {
		s := ""
		for _, q := range proxies {
			s += q.routes([]string{"^/zzz$"}, nil)
		}
		if s != "" {
			s += fmt.Sprintf("\n%d rej", len(p.Rejections()))
			for _, r := range p.Rejections() {
				s += fmt.Sprintf("\n %s %s %v partial=%t %s", r.Service, r.Type, r.Proxies, r.Partial, r.Text)
			}
		}
		return s
	})
	good := append(services(false), service("z", withRegex("^/zzz$")))
	apply(t, p, good...)
	eventually(t, "all have all", func() string {
		s := ""
		for _, svc := range good {
			s += agreedAll(p, svc.Name)
			for _, q := range proxies {
				s += q.routes([]string{svc.Routes[0].Value}, []string{"BAD"})
			}
		}
		for _, q := range proxies {
			s += names(q, typeCluster, "s0", "s1", "s2", "s3", "s4", "z")
		}
		p.mu.Lock()
		if len(p.objections)+len(p.variants)+len(p.former)+len(p.rejected) > 0 || len(p.tables) > 1+len(p.taken) || len(p.cache.ofType(typeCluster).variants) > 0 {
			s += fmt.Sprintf(" leak: %d %d %d %d %d", len(p.objections), len(p.variants), len(p.former), len(p.rejected), len(p.tables))
		}
		if len(p.leaving)+len(p.leavingEndpoints)+len(p.warming) > 0 {
			s += fmt.Sprintf(" leaving %d %d %d", len(p.leaving), len(p.leavingEndpoints), len(p.warming))
		}
		p.mu.Unlock()
		for _, r := range p.Rejections() {
			s += fmt.Sprintf("\n %s %s %v partial=%t %s", r.Service, r.Type, r.Proxies, r.Partial, r.Text)
		}
		return s
	})
}
