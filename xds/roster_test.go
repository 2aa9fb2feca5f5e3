package xds

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/breakwater/breakwater/store"
)

// noon is when the tests of the roster begin.
var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// rosterTest is a roster with a clock of its own.
type rosterTest struct {
	*Roster
	at time.Time
}

func newRosterTest(memory Memory) *rosterTest {
	t := &rosterTest{at: noon}
	t.Roster = newRoster(func() time.Time { return t.at }, memory, hclog.NewNullLogger())
	t.open()
	t.wait(settleTime)
	return t
}

func (r *rosterTest) wait(d time.Duration) { r.at = r.at.Add(d) }

// join has proxies of one cluster connect, as newcomers.
func (r *rosterTest) join(cluster string, ids ...string) {
	for _, id := range ids {
		r.came(Proxy{ID: id, Cluster: cluster, AdminAddress: id + ":9901"})
	}
}

// is fails unless these are connected, and those missed.
func (r *rosterTest) is(t *testing.T, what string, connected, missing []string) {
	t.Helper()
	members, err := r.Members()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	var here, gone []string
	for _, m := range members {
		if m.Left.IsZero() {
			here = append(here, m.ID)
		} else {
			gone = append(gone, m.ID)
		}
	}
	if !slices.Equal(here, connected) || !slices.Equal(gone, missing) {
		t.Errorf("%s: %v are connected and %v missed, want %v and %v", what, here, gone, connected, missing)
	}
}

func TestRosterMissesWhoHasGone(t *testing.T) {
	r := newRosterTest(nil)
	r.join("edge", "a", "b")
	r.wait(time.Minute)
	r.left("a")
	r.wait(goneFor - time.Second)
	r.is(t, "before the hour is over", []string{"b"}, []string{"a"})
	r.wait(time.Second)
	r.is(t, "after it", []string{"b"}, nil)

	r.left("b")
	r.is(t, "the last", nil, []string{"b"})
	r.join("edge", "b")
	r.is(t, "back", []string{"b"}, nil)
}

func TestRosterInARollingDeployment(t *testing.T) {
	for _, surge := range []bool{false, true} {
		t.Run(fmt.Sprintf("surge %t", surge), func(t *testing.T) {
			r := newRosterTest(nil)
			r.join("edge", "a0", "b0", "c0")
			r.join("other", "z")
			for n := range 3 { // within an hour, the second and the third in haste
				r.wait([]time.Duration{turnover, 2 * time.Minute, time.Minute}[n])
				for _, name := range []string{"a", "b", "c"} {
					before, now := fmt.Sprint(name, n), fmt.Sprint(name, n+1)
					if surge {
						r.join("edge", now)
						r.wait(30 * time.Second)
						r.left(before)
					} else {
						r.left(before)
						r.wait(30 * time.Second)
						r.join("edge", now)
					}
				}
				r.is(t, "all are new", []string{fmt.Sprint("a", n+1), fmt.Sprint("b", n+1), fmt.Sprint("c", n+1), "z"}, nil)
			}
			r.wait(time.Minute)
			r.left("b3")
			r.is(t, "one ends afterwards", []string{"a3", "c3", "z"}, []string{"b3"})
			r.join("other", "y")
			r.is(t, "one of another cluster is no substitute", []string{"a3", "c3", "y", "z"}, []string{"b3"})
			r.join("edge", "b4")
			r.is(t, "the next is", []string{"a3", "b4", "c3", "y", "z"}, nil)
			r.wait(time.Minute)
			r.left("a3")
			r.is(t, "of one", []string{"b4", "c3", "y", "z"}, []string{"a3"})
		})
	}
}

// What is scraped at an address is who is there now, whatever its node cluster.
func TestRosterOfAnAddressThatIsTaken(t *testing.T) {
	r := newRosterTest(nil)
	r.came(Proxy{ID: "a", Cluster: "edge", AdminAddress: "10.0.0.1:9901"})
	r.came(Proxy{ID: "b", Cluster: "edge"})
	r.wait(time.Second)
	r.left("a")
	r.left("b")
	r.is(t, "two have gone", nil, []string{"a", "b"})
	r.came(Proxy{ID: "y", Cluster: "other", AdminAddress: "10.0.0.1:9901"})
	r.came(Proxy{ID: "z", Cluster: "other"})
	r.is(t, "others are there", []string{"y", "z"}, []string{"b"})
	r.wait(time.Second)
	r.left("y")
	r.is(t, "and go", []string{"z"}, []string{"a", "b", "y"})
}

// Of proxies that were started together none stands in for another.
func TestRosterOfOneAge(t *testing.T) {
	r := newRosterTest(nil)
	r.join("edge", "a")
	r.wait(time.Minute)
	r.join("edge", "b")
	r.wait(time.Minute)
	r.left("a")
	r.is(t, "the elder ends", []string{"b"}, []string{"a"})
	r.join("edge", "a")
	r.wait(turnover)
	r.join("edge", "c")
	r.wait(turnover + time.Second)
	r.left("b")
	r.is(t, "long after a third has come", []string{"a", "c"}, []string{"b"})
}

// With a new Breakwater the proxies of before are older than what comes with it.
func TestRosterOfAProxyThatWasThereBefore(t *testing.T) {
	r := newRosterTest(nil)
	since := r.at
	r.join("edge", "old", "new")
	r.brought("old", since)
	r.wait(time.Minute)
	r.left("old")
	r.is(t, "a deployment of both", []string{"new"}, nil)

	r = newRosterTest(nil)
	r.join("edge", "old", "new")
	r.wait(time.Minute)
	r.join("edge", "new") // its stream was cut
	r.brought("new", r.at)
	r.left("old")
	r.is(t, "a reconnect makes none younger or older", []string{"new"}, []string{"old"})
}

func TestRosterIsBounded(t *testing.T) {
	r := newRosterTest(nil)
	for i := range maxGone + 10 {
		id := fmt.Sprintf("p%04d", i)
		r.join(id, id) // each of a cluster of its own
		r.left(id)
		r.wait(time.Millisecond)
	}
	members, err := r.Members()
	if err != nil || len(members) != maxGone || members[0].ID != "p0010" {
		t.Errorf("%d members, %v; want the last %d", len(members), err, maxGone)
	}
}

func TestRosterSettles(t *testing.T) {
	memory, err := store.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	r := &rosterTest{at: noon}
	now := func() time.Time { return r.at }
	r.Roster = newRoster(now, memory, hclog.NewNullLogger())
	unsettled := func(when string) {
		t.Helper()
		if m, err := r.Members(); !errors.Is(err, ErrUnsettled) {
			t.Errorf("%s: %v, %v; want ErrUnsettled", when, m, err)
		}
	}
	unsettled("before it serves")
	r.open()
	r.join("edge", "a")
	r.wait(settleTime - 1)
	unsettled("too early")
	r.wait(1)
	r.is(t, "with time to connect", []string{"a"}, nil)
	r.join("edge", "b", "c")
	r.wait(time.Second)
	r.left("b")
	r.close()
	r.save()
	r.left("a") // the server has ended, and so have its streams

	r.wait(goneFor / 2)
	r.Roster = newRoster(now, memory, hclog.NewNullLogger())
	r.is(t, "at once after a restart", nil, []string{"a", "b", "c"})
	r.open()
	r.join("edge", "a")
	r.wait(goneFor / 2)
	r.is(t, "who had gone before is forgotten first", []string{"a"}, []string{"c"})
}

// A proxy that connects again says what it has, and so that it is no newcomer.
func TestRosterOfRealStreams(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	server, addr := serveWith(t, p, ServerOptions{})
	apply(t, p, service("a"))
	fresh := connect(t, addr, "fresh")
	dial(t, addr, "old", map[string]map[string]string{typeCluster: {"a": "1"}}, nil)
	came := func(id string) (m Member) {
		server.roster.mu.Lock()
		defer server.roster.mu.Unlock()
		if found := server.roster.members[id]; found != nil {
			m = *found
		}
		return m
	}
	eventually(t, "both are there, and one of old", func() string {
		a, b := came("fresh"), came("old")
		if a.ID == "" || b.ID == "" || a.Came.IsZero() || !b.Came.IsZero() || a.Cluster != "test" || a.AdminAddress != "127.0.0.1:9901" {
			return fmt.Sprintf("%+v %+v", a, b)
		}
		return ""
	})
	fresh.close()
	eventually(t, "one has gone", func() string {
		if m := came("fresh"); m.Left.IsZero() {
			return fmt.Sprintf("%+v", m)
		}
		return ""
	})
}
