package page

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/breakwater/breakwater/admin/page"
)

// fake serves the page, and answers it with what a story has put: `PUT /fake/PATH` sets the answer of /PATH, and
// `GET /fake/PATH` returns what was last posted there. A path without an answer breaks the connection.
type fake struct {
	mu sync.Mutex
	// answers and posted are bodies by path; guarded by mu.
	answers, posted map[string][]byte
	// changed is closed at the next change of answers; guarded by mu.
	changed chan struct{}
}

// startFake returns the address of a fake that ends with the test.
func startFake(t *testing.T) string {
	t.Helper()
	handlers, err := page.Handlers()
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{answers: map[string][]byte{}, posted: map[string][]byte{}, changed: make(chan struct{})}
	mux := http.NewServeMux()
	for path, handler := range handlers {
		mux.Handle(path, handler)
	}
	mux.Handle("/fake/", http.StripPrefix("/fake", http.HandlerFunc(f.put)))
	mux.HandleFunc("/api/", f.api)
	mux.HandleFunc("/api/v1/breakers:watch", f.watch)
	mux.HandleFunc("/api/v1/events:watch", f.watch)
	server := httptest.NewUnstartedServer(mux)
	ctx, cancel := context.WithCancel(t.Context())
	server.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	server.Start()
	t.Cleanup(func() {
		cancel()
		server.Close()
	})
	return server.URL
}

func (f *fake) put(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Method == http.MethodGet {
		_, _ = w.Write(f.posted[r.URL.Path])
		return
	}
	f.answers[r.URL.Path] = body
	close(f.changed)
	f.changed = make(chan struct{})
}

// answer is what is answered at a path, nil for nothing, and what is closed when that may have changed.
func (f *fake) answer(path string) ([]byte, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.answers[path], f.changed
}

func (f *fake) api(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	f.mu.Lock()
	if r.Method == http.MethodPost {
		f.posted[r.URL.Path] = body
	}
	f.mu.Unlock()
	answer, _ := f.answer(r.URL.Path)
	if len(answer) == 0 {
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(answer)
}

// watch streams each answer that is put, as one message.
func (f *fake) watch(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w)
	keepAlive := time.NewTicker(2 * time.Second)
	defer keepAlive.Stop()
	var last string
	for {
		answer, changed := f.answer(r.URL.Path)
		if len(answer) == 0 {
			panic(http.ErrAbortHandler)
		}
		message := ":\n\n"
		if string(answer) != last {
			last = string(answer)
			message = "data: " + strings.ReplaceAll(last, "\n", " ") + "\n\n"
		}
		if _, err := fmt.Fprint(w, message); err != nil {
			return // the browser is gone
		}
		if err := flush.Flush(); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		case <-keepAlive.C:
		}
	}
}

// TestFaked is what the page shows of answers that are made up: what a real Breakwater would take too long to say, or
// cannot be brought to.
func TestFaked(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"board.py", "narrow.py", "faults.py", "lifetimes.py"} {
		t.Run(strings.TrimSuffix(name, ".py"), func(t *testing.T) {
			t.Parallel()
			story(t, name, startFake(t), nil, nil)
		})
	}
}
