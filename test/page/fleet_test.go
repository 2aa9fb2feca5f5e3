package page

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/admin/page"
)

// fleetSize is the number of services that the page must show without a stutter.
const fleetSize = 1000

// fleet answers what the board asks for, with more services and more change than a test could have Envoys for: each
// second all of them have had traffic, and ten have changed their state.
type fleet struct {
	mu sync.Mutex
	// quiet is true while only the service of index 0 changes.
	quiet bool
	tick  uint64
	// asked and heavy are how many services one question for the history named at most, and what the answer weighed.
	asked, heavy int
}

// history answers with 15 minutes of traffic of what is asked for.
func (f *fleet) history(w http.ResponseWriter, r *http.Request) {
	services := r.URL.Query()["services"]
	const step, buckets = 10 * time.Second, 90
	end := time.Now()
	out := &adminpb.GetHistoryResponse{End: timestamppb.New(end), Step: durationpb.New(step)}
	start := end.Truncate(step).Add(-(buckets - 1) * step)
	if from, err := time.Parse(time.RFC3339, r.URL.Query().Get("from")); err == nil && from.After(start) {
		start = from.Truncate(step)
	}
	out.Start, out.Since = timestamppb.New(start), timestamppb.New(end.Add(-time.Hour))
	for at := start; at.Before(end); at = at.Add(step) {
		out.Proxies = append(out.Proxies, 12)
	}
	for i, name := range services {
		s := &adminpb.ServiceHistory{Service: name}
		for j := range out.GetProxies() {
			s.Attempts, s.Failures = append(s.Attempts, uint32(1000+i*j)), append(s.Failures, uint32(j%7))
		}
		last := &s.Attempts[len(s.Attempts)-1] // its bucket is not over
		*last = uint32(float64(*last) * end.Sub(end.Truncate(step)).Seconds() / step.Seconds())
		out.Services = append(out.Services, s)
	}
	data, err := marshal(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	f.mu.Lock()
	f.asked, f.heavy = max(f.asked, len(services)), max(f.heavy, len(data))
	f.mu.Unlock()
	_, _ = w.Write(data)
}

// breakers are the summaries of this second.
func (f *fleet) breakers(all bool) []*adminpb.Breaker {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tick++
	if f.quiet && !all {
		return []*adminpb.Breaker{f.breaker(0)}
	}
	out := make([]*adminpb.Breaker, 0, fleetSize)
	for i := range uint64(fleetSize) {
		out = append(out, f.breaker(i))
	}
	return out
}

// breaker is the summary of one service now. f.mu is held.
func (f *fleet) breaker(i uint64) *adminpb.Breaker {
	state, cause := "closed", ""
	overview := &adminpb.Overview{Proxies: 12, ProxiesInState: 12, TotalHosts: 6, Since: timestamppb.Now(), Attempts: f.tick * (i%50 + 1)}
	if (i+f.tick*10)%100 < 10 && i%10 == 3 {
		state, cause = "open", fmt.Sprintf("5 of the last %d attempts failed", 20+i%80)
		overview.ProxiesInState, overview.EjectedHosts, overview.Failures = 2, 1, f.tick
		overview.Until = timestamppb.New(time.Now().Add(30 * time.Second))
	}
	overview.Cause = cause
	return &adminpb.Breaker{
		Service: fmt.Sprintf("service-%04d", i), State: state, Overview: overview,
		Summary: fmt.Sprintf("%s on %d of 12 proxies", state, overview.GetProxiesInState()),
	}
}

func (f *fleet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for snapshot := true; ; snapshot = false {
		data, err := marshal(&adminpb.WatchBreakersResponse{Snapshot: snapshot, Breakers: f.breakers(snapshot)})
		if err == nil {
			_, err = fmt.Fprintf(w, "data: %s\n\n", data)
		}
		if err == nil {
			err = flush.Flush()
		}
		if err != nil {
			return // the browser is gone
		}
		select {
		case <-r.Context().Done():
			return
		case <-ticker.C:
		}
	}
}

func marshal(m proto.Message) ([]byte, error) {
	return protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
}

func answer(m proto.Message) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		data, err := marshal(m)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(data)
	}
}

// TestThousandServices: with 1,000 services, all of which change each second, the page scrolls, filters and follows,
// and draws only what changed of what is seen. It has the machine to itself, for how smooth that is.
func TestThousandServices(t *testing.T) {
	handlers, err := page.Handlers()
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{}
	mux := http.NewServeMux()
	for path, handler := range handlers {
		mux.Handle(path, handler)
	}
	mux.Handle("/api/v1/breakers:watch", f)
	mux.HandleFunc("/api/v1/history", f.history)
	mux.Handle("/api/v1/version", answer(&adminpb.GetVersionResponse{Version: "devel"}))
	mux.Handle("/api/v1/config", answer(&adminpb.GetConfigStatusResponse{Ok: true}))
	server := httptest.NewUnstartedServer(mux)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	server.Start()
	defer func() {
		cancel()
		server.Close()
	}()
	story(t, "fleet.py", server.URL, nil, map[string]func(){"quiet": func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.quiet = true
	}})
	f.mu.Lock()
	defer f.mu.Unlock()
	t.Logf("a question for the history was of %d services, its answer of %d bytes", f.asked, f.heavy)
	if f.asked == 0 || f.asked > 100 || f.heavy > 100_000 {
		t.Error("more is asked for than can be seen")
	}
}
