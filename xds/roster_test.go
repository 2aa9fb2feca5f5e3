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

// connect has proxies of one cluster connect.
func (r *rosterTest) connect(cluster string, ids ...string) {
	for _, id := range ids {
		r.connected(Proxy{ID: id, Cluster: cluster, AdminAddress: id + ":9901"})
	}
}

// is fails unless these are connected, those disconnected, and those disconnected and replaced.
func (r *rosterTest) is(t *testing.T, what string, connected, disconnected, replaced []string) {
	t.Helper()
	members, err := r.Members()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	var got [3][]string
	for _, m := range members {
		i := 0
		switch {
		case m.ReplacedBy != "":
			i = 2
		case !m.Disconnected.IsZero():
			i = 1
		}
		got[i] = append(got[i], m.ID)
	}
	if !slices.Equal(got[0], connected) || !slices.Equal(got[1], disconnected) || !slices.Equal(got[2], replaced) {
		t.Errorf("%s: connected, disconnected and replaced are %v, want %v, %v and %v", what, got, connected, disconnected, replaced)
	}
}

func TestRosterRemembersForAnHour(t *testing.T) {
	r := newRosterTest(nil)
	r.connect("edge", "a", "b")
	r.wait(time.Minute)
	r.disconnected("a")
	r.wait(rememberFor - time.Second)
	r.is(t, "within the hour", []string{"b"}, []string{"a"}, nil)
	r.wait(time.Second)
	r.is(t, "after it", []string{"b"}, nil, nil)

	r.disconnected("b")
	r.is(t, "the last", nil, []string{"b"}, nil)
	r.connect("edge", "b")
	r.is(t, "back", []string{"b"}, nil, nil)
}

func TestRosterInARollingDeployment(t *testing.T) {
	for _, surge := range []bool{false, true} {
		t.Run(fmt.Sprintf("surge %t", surge), func(t *testing.T) {
			r := newRosterTest(nil)
			r.connect("edge", "a0", "b0", "c0")
			r.connect("other", "z")
			var replaced []string
			for n := range 3 { // within an hour, the second and the third in haste
				r.wait([]time.Duration{10 * time.Minute, 2 * time.Minute, time.Minute}[n])
				for _, name := range []string{"a", "b", "c"} {
					before, now := fmt.Sprint(name, n), fmt.Sprint(name, n+1)
					if surge {
						r.connect("edge", now)
						r.wait(30 * time.Second)
						r.disconnected(before)
					} else {
						r.disconnected(before)
						r.wait(30 * time.Second)
						r.connect("edge", now)
					}
					replaced = append(replaced, before)
				}
				slices.Sort(replaced)
				r.is(t, "all are new", []string{fmt.Sprint("a", n+1), fmt.Sprint("b", n+1), fmt.Sprint("c", n+1), "z"}, nil, replaced)
			}
			r.wait(2 * time.Minute)
			r.disconnected("b3")
			r.is(t, "one ends afterwards", []string{"a3", "c3", "z"}, []string{"b3"}, replaced)
			r.connect("other", "y")
			r.is(t, "one of another cluster replaces none", []string{"a3", "c3", "y", "z"}, []string{"b3"}, replaced)
			r.wait(replaceWithin + time.Second)
			r.connect("edge", "b4")
			r.is(t, "nor does one that is late", []string{"a3", "b4", "c3", "y", "z"}, []string{"b3"}, replaced)
		})
	}
}

// Of several that end together as many are replaced as new ones connect.
func TestRosterOfOneNewProxyForTwo(t *testing.T) {
	r := newRosterTest(nil)
	r.connect("edge", "a", "b", "c")
	r.wait(time.Hour)
	for _, id := range []string{"c", "a", "b"} {
		r.disconnected(id)
		r.wait(time.Second)
	}
	r.connect("edge", "d")
	r.is(t, "one of three", []string{"d"}, []string{"a", "b"}, []string{"c"})
	r.connect("edge", "c")
	r.is(t, "one that is back is not replaced; another is", []string{"c", "d"}, []string{"b"}, []string{"a"})
	r.wait(time.Minute)
	r.disconnected("d")
	r.is(t, "a replaced one stays so", []string{"c"}, []string{"b", "d"}, []string{"a"})
}

// Proxies that were started together do not replace each other, nor does one that was known.
func TestRosterOfOneAge(t *testing.T) {
	r := newRosterTest(nil)
	r.connect("edge", "a")
	r.wait(time.Second)
	r.connect("edge", "b")
	r.wait(10 * time.Second)
	r.disconnected("a")
	r.is(t, "the elder ends", []string{"b"}, []string{"a"}, nil)
	r.disconnected("b")
	r.connect("edge", "a")
	r.is(t, "one connects again", []string{"a"}, []string{"b"}, nil)
}

func TestRosterIsBounded(t *testing.T) {
	r := newRosterTest(nil)
	for i := range maxDisconnected + 10 {
		id := fmt.Sprintf("p%04d", i)
		r.connect(id, id) // each of a cluster of its own
		r.disconnected(id)
		r.wait(time.Millisecond)
	}
	members, err := r.Members()
	if err != nil || len(members) != maxDisconnected || members[0].ID != "p0010" {
		t.Errorf("%d members, %v; want the last %d", len(members), err, maxDisconnected)
	}
	r.connect("p0999", "new") // replaces the only one of its cluster that is less than a minute away, and is of no use for others
	r.connect("x", "x")
	r.disconnected("x")
	members, err = r.Members()
	if err != nil || len(members) != maxDisconnected+1 || slices.ContainsFunc(members, func(m Member) bool { return m.ID == "p0999" }) {
		t.Errorf("%d members, %v; want all that are not replaced", len(members), err)
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
	r.connect("edge", "a")
	r.wait(settleTime - 1)
	unsettled("too early")
	r.wait(1)
	r.is(t, "with time to connect", []string{"a"}, nil, nil)
	r.connect("edge", "b", "c")
	r.wait(time.Second)
	r.disconnected("b")
	r.close()
	r.save()
	r.disconnected("a") // the server has ended, and so have its streams

	r.wait(rememberFor / 2)
	r.Roster = newRoster(now, memory, hclog.NewNullLogger())
	r.is(t, "at once after a restart", nil, []string{"a", "b", "c"}, nil)
	r.open()
	r.connect("edge", "a")
	r.wait(rememberFor / 2)
	r.is(t, "who disconnected before is removed first", []string{"a"}, []string{"c"}, nil)
}

// TestRosterOfRealStreams: however a client ends its stream, the proxy is disconnected.
func TestRosterOfRealStreams(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	server, addr := serveWith(t, p, ServerOptions{})
	apply(t, p, service("a"))
	stream := connect(t, addr, "a")
	member := func() (m Member) {
		server.roster.mu.Lock()
		defer server.roster.mu.Unlock()
		if found := server.roster.members["a"]; found != nil {
			m = *found
		}
		return m
	}
	eventually(t, "it is connected", func() string {
		if m := member(); m.FirstConnected.IsZero() || m.Cluster != "test" || m.AdminAddress != "127.0.0.1:9901" {
			return fmt.Sprintf("%+v", m)
		}
		return ""
	})
	stream.close()
	eventually(t, "it is disconnected", func() string {
		if m := member(); m.Disconnected.IsZero() {
			return fmt.Sprintf("%+v", m)
		}
		return ""
	})
}
