package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/breakwater/breakwater/test/envoytest"
)

// reloads is a stack under load whose policies are edited again and again.
type reloads struct {
	*stack
	load *load

	// alpha has two hosts, beta one, and local is reached by name. bad is the host of
	// witness that stays ejected. spare serves whatever comes and goes.
	alpha [2]*envoytest.Upstream
	beta, local, spare,
	good, bad *envoytest.Upstream

	seconds  int    // of beta's timeout
	dial     int    // seconds to connect, of beta and local
	replaced uint64 // clusters that Envoy should have replaced so far
	saves    int
	alphaIn  string // the file that alpha is in
}

func newReloads(t *testing.T) *reloads {
	t.Helper()
	up := func() *envoytest.Upstream { return envoytest.NewUpstream(t) }
	r := &reloads{
		alpha: [2]*envoytest.Upstream{up(), up()}, beta: up(), local: up(), spare: up(), good: up(), bad: up(),
		seconds: 30, dial: 1, alphaIn: "alpha.yaml",
	}
	r.stack = newStack(t, map[string]string{
		"alpha.yaml":   r.alphaPolicy(2),
		"beta.yaml":    r.betaPolicy(""),
		"local.yaml":   r.localPolicy(),
		"moving.yaml":  r.moving(0),
		"witness.yaml": fmt.Sprintf("service: witness\nupstream: [%s, %s]\nroutes: [{prefix: /witness}]\nretry: off\nbreaker: {timeout: 10m}\n", r.good.Addr(), r.bad.Addr()),
	})
	r.bad.Behave(failing)
	for len(r.ejected("witness")) == 0 {
		r.get("/witness")
	}
	r.bad.Behave(envoytest.Behaviour{})
	return r
}

func (r *reloads) alphaPolicy(hosts int) string {
	addrs := []string{r.alpha[0].Addr(), r.alpha[1].Addr()}
	return fmt.Sprintf("service: alpha\nupstream: [%s]\nroutes: [{prefix: /alpha}]\n", strings.Join(addrs[:hosts], ", "))
}

func (r *reloads) betaPolicy(more string) string {
	return fmt.Sprintf("service: beta\nupstream: %s\nroutes: [{prefix: /beta}]\ntimeout: {request: %ds, connect: %ds}\n%s", r.beta.Addr(), r.seconds, r.dial, more)
}

func (r *reloads) localPolicy() string {
	return fmt.Sprintf("service: local\nupstream: localhost:%d\nroutes: [{prefix: /local}]\ntimeout: {connect: %ds}\n", r.local.Port(), r.dial)
}

// moving is a service that has a name of its own each time, and always the same path.
func (r *reloads) moving(n int) string {
	return fmt.Sprintf("service: moving-%d\nupstream: %s\nroutes: [{prefix: /moving}]\ntimeout: {request: %ds}\n", n, r.spare.Addr(), 100+n)
}

// save writes a file, which counts as one reload.
func (r *reloads) save(name, content string) {
	r.t.Helper()
	r.saves++
	r.write(name, content)
}

// saveBeta gives beta a timeout of its own in each save, so that it shows when that is live.
func (r *reloads) saveBeta(more string) {
	r.t.Helper()
	r.seconds++
	r.save("beta.yaml", r.betaPolicy(more))
}

// routesOnly edits what stands in the route table alone.
func (r *reloads) routesOnly(int) {
	r.saveBeta("")
	r.live("/beta", r.beta, r.seconds)
	r.saveBeta(fmt.Sprintf("retry: {max_retries: %d, base_delay: 50ms}\n", r.seconds%5))
	r.live("/beta", r.beta, r.seconds)
}

// limits edits what goes by runtime.
func (r *reloads) limits(round int) {
	r.saveBeta(fmt.Sprintf("limits: {max_requests: %d, max_connections: %d}\n", 500+round, 400+round))
	r.live("/beta", r.beta, r.seconds)
	r.until("the limit is in force", func() error {
		if got := r.stat(r.envoy, "cluster.beta.circuit_breakers.default.remaining_rq"); got > uint64(500+round) || got < 400 {
			return fmt.Errorf("%d requests are allowed", got)
		}
		return nil
	})
}

// connect edits what replaces a cluster, one with addresses and one with a name.
func (r *reloads) connect(int) {
	r.dial++
	for name, save := range map[string]func(){
		"beta":  func() { r.saveBeta("") },
		"local": func() { r.save("local.yaml", r.localPolicy()) },
	} {
		save()
		r.replaced++
		r.until(name+" is replaced", func() error {
			if got := r.modified(); got != r.replaced {
				return fmt.Errorf("%d clusters were replaced, want %d", got, r.replaced)
			}
			return nil
		})
	}
}

// hosts takes a host out and puts it back, which replaces no cluster.
func (r *reloads) hosts(int) {
	for _, n := range []int{1, 2} {
		r.save(r.alphaIn, r.alphaPolicy(n))
		r.until(fmt.Sprintf("alpha has %d hosts", n), func() error {
			if got := r.stat(r.envoy, "cluster.alpha.membership_total"); got != uint64(n) {
				return fmt.Errorf("it has %d", got)
			}
			return nil
		})
	}
}

// comeAndGo adds a service, loads it as soon as it answers, and removes it once that load is over.
func (r *reloads) comeAndGo(round int) {
	path := fmt.Sprintf("/guest/%d", round)
	r.save("guest.yaml", fmt.Sprintf("service: guest-%d\nupstream: %s\nroutes: [{prefix: %s}]\n", round, r.spare.Addr(), path))
	r.until("the new service answers", func() error {
		if got := r.get(path); got.status != http.StatusOK {
			return fmt.Errorf("%d: %s", got.status, got.body)
		}
		return nil
	})
	r.load.add(path)
	r.load.more(path, 10)
	r.saveBeta("")
	r.live("/beta", r.beta, r.seconds)
	r.load.end(path)
	r.saves++
	r.remove("guest.yaml")
	r.until("the service is gone", func() error {
		c, err := r.envoy.Admin().Clusters(r.t.Context(), fmt.Sprintf("guest-%d", round))
		if err == nil && len(c.GetClusterStatuses()) > 0 {
			err = errors.New("Envoy has its cluster")
		}
		return err
	})
	if got := r.get(path).status; got != http.StatusNotFound {
		r.t.Errorf("a removed service answers %d", got)
	}
}

// move gives a path, which is under load all the time, to another service in one save.
func (r *reloads) move(round int) {
	for n := 2*round + 1; n <= 2*round+2; n++ {
		r.save("moving.yaml", r.moving(n))
		r.live("/moving", r.spare, 100+n)
	}
}

// rename gives a file another name and back.
func (r *reloads) rename(int) {
	for _, to := range []string{"zz-alpha.yaml", "alpha.yaml"} {
		r.saves++
		if err := os.Rename(filepath.Join(r.dir, r.alphaIn), filepath.Join(r.dir, to)); err != nil {
			r.t.Fatal(err)
		}
		r.alphaIn = to
		// A rename changes nothing that is served, so it shows by an edit of before being
		// there and nothing being wrong.
		r.saveBeta("")
		r.live("/beta", r.beta, r.seconds)
		r.untilClear()
	}
}

// broken breaks one file, together with a good edit of another, and mends it.
func (r *reloads) broken(round int) {
	whole := r.localPolicy()
	breakages := []struct {
		content string
		line    int
	}{
		{whole + "breaker: {timeout: 5s\n", 5},
		{whole + "brekaer: {timeout: 5s}\n", 5},
		{"", 1},
		{whole[:strings.LastIndex(whole, "}")], 4},
		{strings.Replace(whole, "/local", "local", 1), 3},
	}
	b := breakages[round%len(breakages)]
	r.saves++
	// In place, as a shell's redirection does.
	if err := os.WriteFile(filepath.Join(r.dir, "local.yaml"), []byte(b.content), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.saveBeta("")
	r.live("/beta", r.beta, r.seconds)
	r.untilProblem("local.yaml", b.line)
	if got := r.config().Stale; !slices.Equal(got, []string{"local"}) {
		r.t.Errorf("served by their last good version: %v, want local", got)
	}
	if out := r.run("status"); !strings.Contains(out, "error: local.yaml") || !strings.Contains(out, "not all that is on disk is served") {
		r.t.Errorf("status says:\n%s", out)
	}
	r.save("local.yaml", whole)
	r.untilClear()
}

// TestHundredReloadsUnderLoad edits everything that can be edited while requests go on, and
// loses none of them. What an edit does not concern, it does not touch.
func TestHundredReloadsUnderLoad(t *testing.T) {
	t.Parallel()
	r := newReloads(t)
	r.load = r.newLoad("/alpha", "/beta", "/local", "/moving", "/witness")
	edits := []func(round int){r.routesOnly, r.limits, r.connect, r.hosts, r.comeAndGo, r.move, r.rename, r.broken}
	for round := range 6 {
		for i, edit := range edits {
			edit(round)
			if got := r.modified(); got != r.replaced {
				t.Errorf("round %d, edit %d: %d clusters were replaced so far, want %d", round, i, got, r.replaced)
				r.replaced = got
			}
			if got := r.ejected("witness"); !slices.Equal(got, []string{r.bad.Addr()}) {
				t.Fatalf("round %d, edit %d: ejected hosts of a service that was not edited: %v, want %s", round, i, got, r.bad.Addr())
			}
		}
	}
	r.load.mustBeClean(1000)
	if r.saves < 100 {
		t.Errorf("%d saves, want at least 100", r.saves)
	}
	for _, kind := range []string{"cluster", "endpoint", "listener", "route", "runtime"} {
		if got := r.metric(fmt.Sprintf("breakwater_xds_nacks_total{type=%q}", kind)); got != 0 {
			t.Errorf("%v NACKs of type %s", got, kind)
		}
	}
}
