package envoytest

import (
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Behaviour is how an Upstream answers. The zero value is 200 at once.
type Behaviour struct {
	// Status of the reply; 0 means 200.
	Status int
	// Delay before the reply.
	Delay time.Duration
	// Hang never replies, until the caller gives up or the upstream is closed.
	Hang bool
	// Reset ends the connection with RST (HTTP/2: the stream with RST_STREAM) and no reply.
	Reset bool
	// Header and Body of the reply. An empty body is the upstream's address.
	Header http.Header
	Body   string
	// GRPC replies with a gRPC trailers-only response of status GRPCStatus.
	GRPC       bool
	GRPCStatus int
}

// Upstream is an HTTP server on the loopback interface that counts requests and
// answers as it is told. It speaks HTTP/1.1 and, in clear text with prior knowledge,
// HTTP/2 on the same port. Its methods may be called from any goroutine.
type Upstream struct {
	addr   string
	closed chan struct{}

	mu sync.Mutex
	// The following are guarded by mu.
	behaviour Behaviour
	requests  int
	last      *http.Request
}

// NewUpstream starts an upstream on a free port. It ends with the test.
func NewUpstream(t testing.TB) *Upstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &Upstream{addr: l.Addr().String(), closed: make(chan struct{})}
	server := &http.Server{Handler: u, Protocols: new(http.Protocols), ReadHeaderTimeout: 10 * time.Second}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		close(u.closed)
		// Its error is that of closing the listener, which is closed either way.
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("upstream %s: %v", u.addr, err)
		}
	})
	return u
}

// Addr is the upstream's ip:port.
func (u *Upstream) Addr() string { return u.addr }

// Port is the port of Addr.
func (u *Upstream) Port() uint16 {
	_, text, _ := net.SplitHostPort(u.addr)
	port, _ := strconv.ParseUint(text, 10, 16)
	return uint16(port)
}

// Behave sets the answer to all requests that arrive from now on.
func (u *Upstream) Behave(b Behaviour) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.behaviour = b
}

// Requests is the number of requests that have arrived.
func (u *Upstream) Requests() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.requests
}

// Last is the request that arrived last, without its body; nil if none has.
func (u *Upstream) Last() *http.Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.last
}

// ServeHTTP implements http.Handler.
func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	u.requests++
	u.last = r.Clone(r.Context())
	b := u.behaviour
	u.mu.Unlock()

	if b.Hang {
		u.pause(r, nil)
		return
	}
	if b.Delay > 0 {
		timer := time.NewTimer(b.Delay)
		defer timer.Stop()
		if !u.pause(r, timer.C) {
			return
		}
	}
	if b.Reset {
		Reset(w)
		return
	}
	for name, values := range b.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	if b.GRPC {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", strconv.Itoa(b.GRPCStatus))
		w.WriteHeader(http.StatusOK)
		return
	}
	if b.Status != 0 {
		w.WriteHeader(b.Status)
	}
	body := b.Body
	if body == "" {
		body = u.addr
	}
	// The caller may be gone: nothing to do about it.
	_, _ = w.Write([]byte(body))
}

// pause returns true once until delivers, and false if the caller gave up or the
// upstream is closed before.
func (u *Upstream) pause(r *http.Request, until <-chan time.Time) bool {
	select {
	case <-until:
		return true
	case <-r.Context().Done():
	case <-u.closed:
	}
	return false
}

// Reset closes the connection of a request with RST. HTTP/2 connections can not be taken over;
// there the aborted handler resets the stream.
func Reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // net/http's documented way to reset a stream
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		// Linger 0 makes close send RST rather than FIN.
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
