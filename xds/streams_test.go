package xds

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/breakwater/breakwater/envoy"
)

// TestEndOfAStreamLeavesTheOthers: whichever of two streams of one id ends, the other is the proxy, with its layers.
func TestEndOfAStreamLeavesTheOthers(t *testing.T) {
	for _, leaves := range []string{"newer", "older"} {
		t.Run(leaves, func(t *testing.T) {
			p := NewPublisher(PublisherOptions{})
			apply(t, p, service("a"))
			joins := 0
			s, addr := serveWith(t, p, ServerOptions{Layers: func(Proxy) ProxyLayers {
				joins++
				return ProxyLayers{Operator: Layer{Keys: &structpb.Struct{Fields: map[string]*structpb.Value{"forced": structpb.NewBoolValue(true)}}}}
			}})
			streams := []*fakeProxy{connect(t, addr, "p1")}
			streams = append(streams, connectBeside(t, p, addr, "p1"))
			for _, f := range streams {
				eventually(t, "it has its layers", func() string {
					return names(f, typeRuntime, envoy.LimitsLayer, envoy.BreakerLayer("p1"), envoy.OperatorLayer("p1"))
				})
			}
			if leaves == "older" {
				slices.Reverse(streams)
			}
			left := streams[0]
			streams[1].close()
			eventually(t, "the end of the stream is noticed", func() string { return streamsOf(p, "p1", 1) })
			if joins != 1 {
				t.Errorf("the proxy has joined %d times", joins)
			}
			s.roster.mu.Lock()
			members := s.roster.all()
			s.roster.mu.Unlock()
			if len(members) != 1 || !members[0].Left.IsZero() {
				t.Errorf("the roster has %+v", members)
			}
			operator := envoy.OperatorLayer("p1")
			if n := left.removed(typeRuntime, operator); n != 0 {
				t.Errorf("its layer was removed %d times", n)
			}
			if c, ok := s.SetOperatorLayer("p1", Layer{}); !ok || !p.AwaitOn(t.Context(), "p1", c) {
				t.Error("it cannot be given a layer any more")
			}
			left.close()
			eventually(t, "its layers are gone", func() string {
				if got := p.cache.names(typeRuntime); len(got) != 1 {
					return fmt.Sprint(got)
				}
				return ""
			})
		})
	}
}

// connectBeside connects a further stream of an id that has one.
func connectBeside(t *testing.T, p *Publisher, addr, id string) *fakeProxy {
	t.Helper()
	eventually(t, "the first is connected", func() string { return streamsOf(p, id, 1) })
	f := connect(t, addr, id)
	eventually(t, "both are connected", func() string { return streamsOf(p, id, 2) })
	return f
}

// streamsOf says how many streams a proxy has; "" if it has as many as wanted.
func streamsOf(p *Publisher, id string, want int) string {
	for _, q := range p.Ledger().Connected() {
		if q.ID == id && q.Streams == want {
			return ""
		}
	}
	return fmt.Sprintf("connected: %+v", p.Ledger().Connected())
}

func TestProxyFaults(t *testing.T) {
	now := time.Unix(1000, 0)
	l := newLedger(func() time.Time { return now })
	key := func(id int64) streamKey { return streamKey(id) }
	faults := func() string { return strings.Join(l.Proxies()[0].Faults, "\n") }
	want := func(what, want string) {
		t.Helper()
		if got := faults(); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	const old = "runs Envoy 1.38.3; Breakwater needs 1.39 or later"
	l.connect(key(1), Proxy{ID: "p", Version: "1.39.0", Address: "10.0.0.1:1", Since: now})
	want("one stream", "")
	l.connect(key(2), Proxy{ID: "p", Version: "1.38.3", Address: "10.0.0.2:2", Since: now})
	want("two streams, one of an old Envoy", old)
	now = now.Add(time.Minute)
	shared := "shares its node id with another proxy (streams from 10.0.0.1:1, 10.0.0.2:2); give each its own --node-id"
	want("after a minute", old+"\n"+shared)
	l.disconnect(key(2))
	want("after the end of one", "")
	l.connect(key(3), Proxy{ID: "p", Version: "1.41.0-dev", Address: "10.0.0.3:3", Since: now})
	want("with another", "")
}

// TestLedgerWakesOnlyThoseConcerned: an ACK wakes those who wait for its proxy, and of all others only the publisher, and
// that not for a runtime layer.
func TestLedgerWakesOnlyThoseConcerned(t *testing.T) {
	l := newLedger(time.Now)
	a, b := streamKey(1), streamKey(2)
	l.connect(a, Proxy{ID: "a"})
	l.connect(b, Proxy{ID: "b"})
	on := func(id string) <-chan struct{} {
		_, changed := l.reply(id, typeRuntime, target{name: "layer", version: "1", sequence: 1})
		return changed
	}
	waiting := map[string]<-chan struct{}{}
	wait := func() {
		waiting = map[string]<-chan struct{}{"a": on("a"), "b": on("b"), "connections": l.Changed(), "publisher": l.answersChanged()}
	}
	want := func(what string, want ...string) {
		t.Helper()
		var woken []string
		for who, changed := range waiting {
			select {
			case <-changed:
				woken = append(woken, who)
			default:
			}
		}
		slices.Sort(woken)
		if !slices.Equal(woken, want) {
			t.Errorf("%s wakes %v, want %v", what, woken, want)
		}
		wait()
	}
	wait()
	l.sent(a, typeRuntime, "1", batch{versions: map[string]string{"layer": "0"}})
	want("a response")
	l.answered(a, typeRuntime, "1", "")
	want("an ACK of a layer", "a")
	l.sent(b, typeCluster, "1", batch{versions: map[string]string{"cluster": "0"}})
	l.answered(b, typeCluster, "1", "no")
	want("a NACK of a cluster", "b", "publisher")
	l.connect(streamKey(3), Proxy{ID: "c"})
	want("a connection", "connections", "publisher")
	l.disconnect(b)
	want("a disconnection", "b", "connections", "publisher")
}
