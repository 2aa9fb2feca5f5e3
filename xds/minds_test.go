package xds

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/breakwater/breakwater/policy"
)

// TestRandomHistories applies random edits to four proxies of which each rejects other things, while they reconnect and
// services are reset, and compares what each has in effect with a model that knows what nobody rejects.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			randomHistory(t, seed)
		})
	}
}

// picky is a proxy that rejects expressions with BADi in them and, if i is odd, a connect timeout of 1 s.
func picky(i int) func(string, string, []byte) string {
	return func(typeURL, _ string, body []byte) string {
		switch {
		case typeURL == typeRoute && bytes.Contains(body, fmt.Appendf(nil, "BAD%d", i)):
			return "no such expression, nor /"
		case i%2 == 1 && typeURL == typeCluster && bytes.Contains(body, []byte{0x22, 0x02, 0x08, 0x01}):
			return "no"
		}
		return ""
	}
}

// edit is a version of a service: what it has in its expression, and its connect timeout of 1 s.
type edit struct {
	regex string
	bad   bool // its expression is rejected by one proxy
	slow  bool // it is rejected by the odd ones
}

func (e edit) of(name string) *policy.Service {
	change := []func(*policy.Service){withRegex(e.regex)}
	if e.slow {
		change = append(change, slow)
	}
	return service(name, change...)
}

func randomHistory(t *testing.T, seed uint64) {
	const n, services = 4, 5
	rnd := rand.New(rand.NewPCG(seed, 1))
	p := NewPublisher(PublisherOptions{})
	addr := serve(t, p)
	proxies := make([]*fakeProxy, n)
	for i := range proxies {
		proxies[i] = dial(t, addr, fmt.Sprintf("p%d", i), nil, picky(i))
	}
	connected := func(want int) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d are connected", want), func() string {
			if got := p.ledger.count(); got != want {
				return fmt.Sprint(got)
			}
			return ""
		})
	}
	connected(n)
	saved, current := map[string]edit{}, map[string]edit{}
	save := func() {
		var out []*policy.Service
		for name, e := range saved {
			out = append(out, e.of(name))
			if !e.bad && !e.slow {
				current[name] = e
			}
		}
		for name := range current {
			if _, ok := saved[name]; !ok {
				delete(current, name)
			}
		}
		apply(t, p, out...)
	}
	asInModel := func() string {
		s := unsettled(p)
		for _, q := range proxies {
			var clusters, regexes, others []string
			for k := range services {
				name := fmt.Sprintf("s%d", k)
				for _, e := range []edit{saved[name], current[name]} {
					if e.regex != "" && e.regex != current[name].regex {
						others = append(others, e.regex)
					}
				}
				if e, ok := current[name]; ok {
					clusters, regexes = append(clusters, name), append(regexes, e.regex)
				}
			}
			s += names(q, typeCluster, clusters...) + q.routes(regexes, others) + q.slow()
		}
		if r := p.Rejections(); s != "" {
			s += fmt.Sprintf(" %+v", r)
		}
		return s
	}
	save()
	for step := range 40 {
		name := fmt.Sprintf("s%d", rnd.IntN(services))
		switch rnd.IntN(6) {
		case 0:
			i := rnd.IntN(n)
			has, bodies := proxies[i].all(), proxies[i].bodies
			proxies[i].close()
			connected(n - 1)
			if rnd.IntN(2) == 0 {
				has, bodies = nil, nil
			}
			proxies[i] = dialWith(t, addr, fmt.Sprintf("p%d", i), has, bodies, picky(i))
			connected(n)
		case 1:
			if _, err := p.Regenerate(name, ""); err != nil && !errors.Is(err, ErrNotPublished) {
				t.Error(err)
			}
		case 2:
			delete(saved, name)
			save()
		default:
			for range 1 + rnd.IntN(3) {
				e := edit{regex: fmt.Sprintf("^/%s-%d$", name, step)}
				if rnd.IntN(3) == 0 {
					e = edit{regex: fmt.Sprintf("^/BAD%d-%s-%d$", rnd.IntN(n), name, step), bad: true}
				}
				e.slow = rnd.IntN(5) == 0
				saved[name] = e
				name = fmt.Sprintf("s%d", rnd.IntN(services))
			}
			save()
		}
		eventually(t, fmt.Sprintf("step %d: all have what nobody rejects", step), asInModel)
	}
	clear(saved)
	saved["z"] = edit{regex: "^/zzz$"}
	save()
	eventually(t, "nothing is left over", func() string {
		s := ""
		for _, q := range proxies {
			s += q.routes([]string{"^/zzz$"}, []string{"BAD"}) + names(q, typeCluster, "z")
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.withheld)+len(p.variants)+len(p.rejected) > 0 || len(p.tables) > 1 || p.trial != nil {
			s += fmt.Sprintf(" %d withheld, %d variants, %d rejected, %d tables", len(p.withheld), len(p.variants), len(p.rejected), len(p.tables))
		}
		if len(p.leaving)+len(p.leavingEndpoints)+len(p.warming) > 0 {
			s += fmt.Sprintf(" leaving %d %d %d", len(p.leaving), len(p.leavingEndpoints), len(p.warming))
		}
		return s
	})
}

// unsettled says what the publisher is still to do; "" for nothing.
func unsettled(p *Publisher) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range p.ledger.Proxies() {
		for _, r := range q.Resources {
			if r.Pending {
				return q.ID + " is to answer"
			}
		}
	}
	switch {
	case p.table == nil || p.trial != nil || len(p.tablesAccepted()) > 0:
		return "not all have their tables"
	case !p.allCurrent():
		return "something is no candidate and not current"
	}
	return ""
}
