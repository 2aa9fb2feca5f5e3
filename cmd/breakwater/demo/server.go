package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/breakwater/breakwater/envoy"
)

const (
	// DefaultHost is the address that the services listen on.
	DefaultHost = "127.0.0.1"
	// DefaultCtl is the common control address.
	DefaultCtl = "127.0.0.1:8000"
)

// Options say what New serves.
type Options struct {
	// Host is the IP address that the services listen on; empty means DefaultHost.
	Host string
	// Services to serve; nil means Services().
	Services []Service
	// Ctl is the host:port of the common control listener; empty means DefaultCtl.
	Ctl string
	// Log is for changes of behaviour. Nil discards it.
	Log hclog.Logger
}

// Server serves the demo's services and their control.
type Server struct {
	ctl      string
	host     string
	services []*service
	guard    *guard
	log      hclog.Logger
	failed   chan error

	// The following are set by Listen.
	ctlListener net.Listener
}

// New returns a server that does not listen yet.
func New(opts Options) *Server {
	s := &Server{
		ctl:    cmp.Or(opts.Ctl, DefaultCtl),
		host:   cmp.Or(opts.Host, DefaultHost),
		log:    opts.Log,
		failed: make(chan error, 1),
	}
	s.guard = newGuard(s.ctl, s.host)
	if s.log == nil {
		s.log = hclog.NewNullLogger()
	}
	services := opts.Services
	if services == nil {
		services = Services()
	}
	for _, svc := range services {
		s.services = append(s.services, &service{Service: svc, log: s.log, guard: s.guard, failed: s.failed})
	}
	return s
}

// Listen binds the control address and every service's port. If one is taken, the
// error names it and nothing is left bound.
func (s *Server) Listen() error {
	l, err := envoy.Listen(s.ctl, "the demo services' control")
	if err != nil {
		return err
	}
	s.ctlListener = l
	for _, svc := range s.services {
		addr := net.JoinHostPort(s.host, strconv.Itoa(int(svc.Port)))
		if err := svc.listen(addr); err != nil {
			s.close()
			return err
		}
	}
	return nil
}

// CtlAddr is the control listener's host:port; Listen must have succeeded.
func (s *Server) CtlAddr() string { return s.ctlListener.Addr().String() }

// Addr is the host:port of a service, or "" if there is none of that name. Listen must
// have succeeded.
func (s *Server) Addr(name string) string {
	svc, err := s.find(name)
	if err != nil {
		return ""
	}
	return svc.state().Address
}

// Run serves until ctx ends, and then returns nil; Listen must have succeeded. No
// port and no connection is left open when it returns.
func (s *Server) Run(ctx context.Context) error {
	for _, svc := range s.services {
		svc.start()
	}
	control := newServer(http.HandlerFunc(s.serveControl))
	served := make(chan error, 1)
	go func() { served <- control.Serve(s.ctlListener) }()
	var err error
	select {
	case <-ctx.Done():
	case err = <-s.failed:
	case err = <-served:
		served <- err
		err = fmt.Errorf("demo services' control: %w", err)
	}
	// Errors of closing: the listeners are gone either way.
	_ = control.Close()
	if serveErr := <-served; err == nil && !errors.Is(serveErr, http.ErrServerClosed) {
		err = serveErr
	}
	s.close()
	return err
}

// close ends all services and closes the control listener.
func (s *Server) close() {
	_ = s.ctlListener.Close()
	for _, svc := range s.services {
		svc.stop()
	}
}

func (s *Server) find(name string) (*service, error) {
	names := make([]string, 0, len(s.services))
	for _, svc := range s.services {
		if svc.Name == name {
			return svc, nil
		}
		names = append(names, svc.Name)
	}
	return nil, fmt.Errorf("no service %q: there are %s", name, strings.Join(names, ", "))
}

func newServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
}
