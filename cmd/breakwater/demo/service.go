package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/breakwater/breakwater/envoy"
)

// drain bounds the time that requests in flight get when a port is closed.
const drain = time.Second

// service is one service with its listener.
type service struct {
	Service
	log   hclog.Logger
	guard *guard
	// failed receives the first error of a listener that was not closed by us.
	failed chan<- error
	// serving waits for all goroutines of the service.
	serving sync.WaitGroup

	// control serialises changes of the behaviour. It guards the following.
	control  sync.Mutex
	addr     string // as bound; it stays the same when the port is closed and reopened
	listener net.Listener
	server   *http.Server // nil while the port is closed, and before serve
	running  bool

	mu sync.Mutex
	// The following are guarded by mu.
	behaviour Behaviour
	requests  uint64
	misses    uint64  // requests that were failed or reset
	owed      float64 // percent of a failure that is due
}

// state is what GET /ctl shows of a service.
type state struct {
	Service   string    `json:"service"`
	Address   string    `json:"address"`
	Requests  uint64    `json:"requests"`
	Failed    uint64    `json:"failed"`
	Behaviour Behaviour `json:"behaviour"`
}

func (s *service) state() state {
	s.control.Lock()
	addr := s.addr
	s.control.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	return state{s.Name, addr, s.requests, s.misses, s.behaviour}
}

// listen binds addr.
func (s *service) listen(addr string) error {
	s.control.Lock()
	defer s.control.Unlock()
	return s.bind(addr)
}

// bind is listen for a caller that holds s.control.
func (s *service) bind(addr string) error {
	l, err := envoy.Listen(addr, s.Name)
	if err != nil {
		return err
	}
	s.listener, s.addr = l, l.Addr().String()
	return nil
}

// start serves the bound listener.
func (s *service) start() {
	s.control.Lock()
	defer s.control.Unlock()
	s.running = true
	s.serve()
}

// serve starts a server on the listener. The caller must hold s.control.
func (s *service) serve() {
	server := newServer(s)
	s.server = server
	l := s.listener
	s.serving.Go(func() {
		// closePort closes the listener before the server.
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			select {
			case s.failed <- fmt.Errorf("%s: %w", s.Name, err):
			default: // another was first
			}
		}
	})
}

// stop closes the port and every connection, and returns when all is done.
func (s *service) stop() {
	s.control.Lock()
	s.running = false
	if s.server != nil {
		// It can only fail to close the listener, which is gone either way.
		_ = s.server.Close()
		s.server = nil
	} else if s.listener != nil {
		_ = s.listener.Close()
	}
	s.listener = nil
	s.control.Unlock()
	s.serving.Wait()
}

// behave changes the behaviour. It fails, and changes nothing, if the port has to be
// opened again and is taken meanwhile.
func (s *service) behave(b Behaviour) error {
	s.control.Lock()
	defer s.control.Unlock()
	if !s.running {
		return fmt.Errorf("%s has ended", s.Name)
	}
	switch {
	case b.Refuse && s.server != nil:
		s.closePort()
	case !b.Refuse && s.server == nil:
		if err := s.bind(s.addr); err != nil {
			return err
		}
		s.serve()
	}
	s.mu.Lock()
	s.behaviour, s.owed = b, 0
	s.mu.Unlock()
	s.log.Info("demo service changed", "service", s.Name, "behaviour", b.String())
	return nil
}

// closePort closes the listener at once and the connections as they become idle, so
// that the reply to a control request on one of them still goes out. The caller must
// hold s.control.
func (s *service) closePort() {
	// Shutdown closes it too, but in its own time.
	_ = s.listener.Close()
	server := s.server
	s.server, s.listener = nil, nil
	s.serving.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
	})
}

// ServeHTTP implements http.Handler.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/ctl" {
		serveControl(w, r, s.guard, func() any { return s.state() }, s.self)
		return
	}
	b, fail := s.count()
	if b.Delay > 0 && !pause(r.Context(), b.Delay) {
		return
	}
	switch {
	case b.Reset:
		reset(w)
	case fail:
		writeJSON(w, b.failStatus(), fmt.Sprintf(`{"service": %q, "error": "told to fail"}`, s.Name))
	case r.URL.Path == "/health":
		writeJSON(w, http.StatusOK, fmt.Sprintf(`{"service": %q, "status": "ok"}`, s.Name))
	case strings.HasPrefix(r.URL.Path, "/api/v1/"):
		writeJSON(w, http.StatusOK, s.Reply)
	default:
		writeJSON(w, http.StatusNotFound, fmt.Sprintf(`{"service": %q, "error": "not found"}`, s.Name))
	}
}

// self is the service that a control request on its own port means. The request may
// name it, but no other.
func (s *service) self(name string) (*service, error) {
	if name != "" && name != s.Name {
		return nil, fmt.Errorf("service: this is %s", s.Name)
	}
	return s, nil
}

// count counts a request and decides whether it fails. Failures are spread evenly: of
// n requests at p percent, n×p/100 fail, rounded down.
func (s *service) count() (b Behaviour, fail bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	s.owed += s.behaviour.FailPercent
	if s.owed >= 100 {
		s.owed -= 100
		fail = true
	}
	if fail || s.behaviour.Reset {
		s.misses++
	}
	return s.behaviour, fail
}

// pause returns false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// reset closes the connection with RST.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // net/http's documented way to cut a reply off
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		// Linger 0 makes close send RST rather than FIN.
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
