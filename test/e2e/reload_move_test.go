package e2e

import (
	"fmt"
	"testing"

	"github.com/breakwater/breakwater/test/envoytest"
)

// movable is one service of which the paths differ from edit to edit.
func movable(name, upstream string, seconds int, routes string) string {
	return fmt.Sprintf("service: %s\nupstream: %s\nroutes: [%s]\ntimeout: {request: %ds}\n---\n", name, upstream, routes, seconds)
}

// moves are ways to give the paths /x and /y to other services in one save. Each yields the content of one
// file, in which /x has the timeout of that many seconds.
func moves(u *envoytest.Upstream) []func(seconds int) string {
	addr, byName := u.Addr(), fmt.Sprintf("localhost:%d", u.Port())
	const x, y = "{prefix: /x}", "{prefix: /y}"
	return []func(int) string{
		// Two services, and the paths swapped.
		func(n int) string { return movable("a", addr, n, x) + movable("b", addr, n+500, y) },
		func(n int) string { return movable("b", addr, n, x) + movable("a", addr, n+500, y) },
		// One service takes both, another that was there goes.
		func(n int) string { return movable("b", addr, n, x+", "+y) },
		// One of them moves to a new service, which is reached by name.
		func(n int) string { return movable("b", addr, n+500, y) + movable("c", byName, n, x) },
		// Both services are new.
		func(n int) string { return movable("d", addr, n, x) + movable("e", addr, n+500, y) },
		// The path is split: the whole path is one service's, what is below it another's.
		func(n int) string { return movable("f", addr, n, "{path: /x}, "+y) + movable("d", addr, n+500, x) },
		// The cluster is replaced while the path moves.
		func(n int) string {
			return movable("f", byName, n+500, y) + movable("g", addr, n, x+", {regex: '/z+'}")
		},
		// The new owner falls back on a service that is new as well.
		func(n int) string {
			return movable("h", addr, n+500, y) + "fallback: {service: h}\n" + movable("k", addr, n, x)
		},
	}
}

// TestPathsMoveUnderLoad moves paths under load from service to service.
func TestPathsMoveUnderLoad(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	ways := moves(u)
	s := newStack(t, map[string]string{"moving.yaml": ways[0](10)})
	s.live("/x", u, 10)
	load := s.newLoad("/y", "/x")
	seconds := 10
	for round := range 3 {
		for i := range ways {
			seconds++
			// Another way follows on each in each round.
			s.write("moving.yaml", ways[(i*(2*round+1)+1)%len(ways)](seconds))
			s.timed("/x", u, seconds)
			load.more("/x", 5)
		}
	}
	s.untilClear()
	load.mustBeClean(100)
}

// TestPathsMoveWhileBreakwaterIsDown: what was edited meanwhile is put into effect in order, too.
func TestPathsMoveWhileBreakwaterIsDown(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	ways := moves(u)
	s := newStack(t, map[string]string{"moving.yaml": ways[0](10)})
	s.live("/x", u, 10)
	load := s.newLoad("/y", "/x")
	for i := range ways[1:] {
		s.kill()
		s.write("moving.yaml", ways[i+1](11+i))
		s.start()
		s.untilConnected(1)
		s.timed("/x", u, 11+i)
		load.more("/x", 20)
	}
	load.mustBeClean(200)
}

// timed waits until a request for the path is sent on with that timeout. Other requests for other paths go
// to the same upstream.
func (s *stack) timed(path string, u *envoytest.Upstream, seconds int) {
	s.t.Helper()
	want := fmt.Sprint(1000 * seconds)
	s.until(fmt.Sprintf("%s has a timeout of %d s", path, seconds), func() error {
		s.get(path)
		last := u.Last()
		if last == nil || last.URL.Path != path {
			return fmt.Errorf("no request for %s has arrived last", path)
		}
		if got := last.Header.Get("X-Envoy-Expected-Rq-Timeout-Ms"); got != want {
			return fmt.Errorf("it is %s ms", got)
		}
		return nil
	})
}
