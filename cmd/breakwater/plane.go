package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/pflag"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/breaker"
	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/policy/watch"
	"github.com/breakwater/breakwater/store"
	"github.com/breakwater/breakwater/xds"
)

// planeFlags are the flags of `serve`, and of `run`.
type planeFlags struct {
	policies       string
	xds            string
	http           string
	grpc           string
	gateway        string
	state          string
	logLevel       string
	logFormat      string
	strict         bool
	allowPlaintext bool
}

func (f *planeFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.policies, "policies", f.policies, "directory of the policies")
	flags.StringVar(&f.xds, "xds", "127.0.0.1:18000", "address of the xDS server, for Envoy")
	flags.StringVar(&f.http, "http", "127.0.0.1:8081", "address of the HTTP/JSON API and of /metrics")
	flags.StringVar(&f.grpc, "grpc", "127.0.0.1:8082", "address of the gRPC admin API")
	flags.StringVar(&f.gateway, "gateway", "", "address that every Envoy listens on (default: that of gateway.yaml, else of $GATEWAY_HOST and $GATEWAY_PORT, else 127.0.0.1:8080)")
	flags.StringVar(&f.state, "state", defaultStateDir(), "directory of what outlives a restart")
	flags.StringVar(&f.logLevel, "log-level", "info", "trace, debug, info, warn, error or off")
	flags.StringVar(&f.logFormat, "log-format", "text", "text or json")
	flags.BoolVar(&f.strict, "strict", false, "refuse to start if a policy has an error or a warning")
	flags.BoolVar(&f.allowPlaintext, "allow-plaintext", false, "allow listeners without TLS off the loopback interface: for private networks only")
}

// defaultStateDir follows the XDG base directories.
func defaultStateDir() string {
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "breakwater")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "breakwater")
	}
	return filepath.Join(os.TempDir(), "breakwater")
}

// plane is the control plane: all that `serve` runs.
type plane struct {
	flags     planeFlags
	log       *loggers
	store     *store.Dir
	xds       net.Listener
	http      net.Listener
	grpc      net.Listener
	publisher *xds.Publisher
	server    *xds.Server
	board     *breaker.Board
	reloader  *watch.Reloader
	admin     *admin.Server

	// ready is closed once the first set is published.
	ready chan struct{}
	once  sync.Once
	// gateway is the override of --gateway; nil without it.
	gateway *netip.AddrPort
}

// newPlane binds every listener and reads nothing yet. The caller must call close.
func newPlane(f planeFlags, log *loggers) (_ *plane, err error) {
	p := &plane{flags: f, log: log, ready: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if f.policies == "" {
		return p, usageError{errors.New("--policies is required")}
	}
	if f.gateway != "" {
		addr, err := parseAddr(f.gateway)
		if err != nil {
			return p, usageError{fmt.Errorf("--gateway: %w", err)}
		}
		p.gateway = &addr
	}
	if p.store, err = store.Open(f.state, log.named("store")); err != nil {
		return p, err
	}
	for _, l := range []struct {
		to   *net.Listener
		flag string
		addr string
	}{
		{&p.xds, "xds", f.xds},
		{&p.http, "http", f.http},
		{&p.grpc, "grpc", f.grpc},
	} {
		if *l.to, err = p.listen(l.flag, l.addr); err != nil {
			return p, err
		}
	}
	return p, p.wire()
}

// parseAddr takes ip:port, "localhost:port" and ":port".
func parseAddr(s string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is not host:port", s)
	}
	switch host {
	case "localhost":
		host = "127.0.0.1"
	case "":
		host = "0.0.0.0"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q: the host must be an IP address or localhost", s)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q: the port must be a number up to 65535", s)
	}
	return netip.AddrPortFrom(ip, uint16(n)), nil
}

func (p *plane) listen(flag, addr string) (net.Listener, error) {
	a, err := parseAddr(addr)
	if err != nil {
		return nil, usageError{fmt.Errorf("--%s: %w", flag, err)}
	}
	if !a.Addr().IsLoopback() && !p.flags.allowPlaintext {
		return nil, usageError{fmt.Errorf("--%s %s: not a loopback address, and the listener has no TLS: give --allow-plaintext if the network is private", flag, addr)}
	}
	return envoy.Listen(a.String(), "--"+flag)
}

func (p *plane) wire() error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	p.publisher = xds.NewPublisher(xds.PublisherOptions{
		Log:         p.log.named("xds"),
		Generations: p.store,
		Accepted:    p.accepted,
	})
	p.server = xds.NewServer(p.publisher, p.log.named("xds"), registry)
	p.board = breaker.NewBoard(breaker.Options{
		Control: p.publisher,
		Proxies: p.publisher.Ledger(),
		Log:     p.log.named("breaker"),
	})
	var err error
	if p.reloader, err = watch.NewReloader(watch.Options{
		Source:     &watch.Source{Dir: p.flags.policies, Log: p.log.named("config")},
		Apply:      p.apply,
		LastGood:   p.store,
		Strict:     p.flags.strict,
		Log:        p.log.named("config"),
		Registerer: registry,
	}); err != nil {
		return err
	}
	p.admin, err = admin.New(admin.Options{
		Model:      &model{plane: p},
		Log:        p.log.named("admin"),
		Registerer: registry,
		Gatherer:   registry,
		Ready:      p.readiness,
		Version:    buildVersion(),
	})
	return err
}

func (p *plane) close() error {
	var errs []error
	for _, l := range []net.Listener{p.xds, p.http, p.grpc} {
		if l == nil {
			continue
		}
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if p.store != nil {
		errs = append(errs, p.store.Close())
	}
	return errors.Join(errs...)
}

// apply publishes a set. What it does can not fail: a policy that can not be translated keeps
// its version of before and is shown as a rejection.
func (p *plane) apply(_ context.Context, set *policy.Set) error {
	if p.gateway != nil {
		gateway := *set.Gateway
		gateway.Host, gateway.Port = p.gateway.Addr().String(), p.gateway.Port()
		served := *set
		served.Gateway = &gateway
		set = &served
	}
	p.publisher.Apply(set)
	p.board.Served()
	p.once.Do(func() { close(p.ready) })
	return nil
}

// accepted keeps what proxies have accepted, as what to go back to after a restart.
func (p *plane) accepted(set *policy.Set) {
	if err := p.store.SaveAccepted(set.Files()); err != nil {
		p.log.named("store").Error("the accepted policies could not be stored", "error", err)
	}
}

// restore tells the publisher what proxies had accepted before the restart.
func (p *plane) restore() {
	files, err := p.store.LoadAccepted()
	if err != nil {
		p.log.named("store").Error("the accepted policies are lost", "error", err)
	}
	if len(files) == 0 {
		return
	}
	set, _ := policy.Build(files, os.LookupEnv, nil)
	p.publisher.Baseline(set)
}

func (p *plane) readiness(context.Context) error {
	select {
	case <-p.ready:
		return nil
	default:
		return errors.New("the policies are not published yet")
	}
}

// load reads and publishes the policies. It must come before actors.
func (p *plane) load(ctx context.Context) error {
	p.restore()
	return p.reloader.Load(ctx)
}

// actors adds everything that runs to the group. The first that stops stops all.
func (p *plane) actors(ctx context.Context, g *run.Group) {
	add := func(name string, f func(context.Context) error) { addActor(ctx, g, name, f) }
	add("config", p.reloader.Run)
	add("publisher", p.publisher.Run)
	add("xds", func(ctx context.Context) error { return p.server.Serve(ctx, p.xds) })
	add("breaker", p.board.Run)
	add("grpc", func(ctx context.Context) error { return p.admin.ServeGRPC(ctx, p.grpc) })
	add("http", func(ctx context.Context) error { return p.admin.ServeHTTP(ctx, p.http) })
}

// addActor adds a function that blocks until its context ends.
func addActor(ctx context.Context, g *run.Group, name string, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	g.Add(func() error {
		if err := f(ctx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}, func(error) { cancel() })
}
