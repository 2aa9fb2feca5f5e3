package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/breaker"
	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/policy/watch"
	"github.com/breakwater/breakwater/store"
	"github.com/breakwater/breakwater/xds"
)

// plane is the control plane: all that `serve` runs.
type plane struct {
	settings  settings
	log       *loggers
	store     *store.Dir
	policies  *store.Policies
	xds       net.Listener
	http      net.Listener
	grpc      net.Listener
	publisher *xds.Publisher
	server    *xds.Server
	board     *breaker.Board
	reloader  *watch.Reloader
	admin     *admin.Server

	// adminAddresses are those of Envoys of this process, by node id; see xds.ServerOptions.
	adminAddresses map[string]string
	// adminSecret is what the gateway proves itself with to the admin API; new with each start.
	adminSecret string
	// admit is asked once, before the first set is published; its error ends the start.
	// Nil admits all.
	admit func(*policy.Gateway) error
	// ready is closed once the first set is published.
	ready chan struct{}
	once  sync.Once
}

// newPlane takes the state directory for this process and does nothing else yet. The
// caller must call close.
func newPlane(s settings) (*plane, error) {
	state, err := store.Open(s.flags.state, s.log.named("store"))
	if errors.Is(err, store.ErrLocked) {
		err = fmt.Errorf("%w: stop that one, or give this one another --state and other ports", err)
	}
	if err != nil {
		return nil, err
	}
	return &plane{
		settings: s, log: s.log, store: state, policies: state.Policies(s.policies),
		ready: make(chan struct{}), adminSecret: rand.Text(),
	}, nil
}

// settleTime is how long after a start proxies are given to connect before what the others accept is current.
const settleTime = 5 * time.Second

// bind binds every listener and puts the parts together. It reads no policy yet.
func (p *plane) bind() error {
	for _, l := range []struct {
		to   *net.Listener
		flag string
		addr netip.AddrPort
	}{
		{&p.xds, "--xds", p.settings.xds},
		{&p.http, "--http", p.settings.http},
		{&p.grpc, "--grpc", p.settings.grpc},
	} {
		var err error
		if *l.to, err = envoy.Listen(l.addr.String(), l.flag); err != nil {
			return err
		}
	}
	return p.wire()
}

func (p *plane) wire() error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(p.store, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	p.publisher = xds.NewPublisher(xds.PublisherOptions{
		Log:         p.log.named("xds"),
		Generations: p.store,
		Settle:      settleTime,
		Accepted:    p.accepted,
		Reverted:    func() { p.board.Served() },
	})
	p.server = xds.NewServer(p.publisher, xds.ServerOptions{
		Log: p.log.named("xds"),
		// The board tells the server what to enforce, and the server the board what it hears.
		Loads:      func(r xds.LoadReport) { p.board.Report(r) },
		Layers:     func(x xds.Proxy) xds.ProxyLayers { return p.board.Join(x) },
		Memory:     p.store,
		Registerer: registry,

		AdminAddresses: p.adminAddresses,
	})
	p.board = breaker.NewBoard(breaker.Options{
		Control:    control{p.publisher},
		Proxies:    p.publisher.Ledger(),
		Layers:     p.server,
		Known:      p.knows,
		Memory:     p.store,
		Lease:      p.settings.flags.lease,
		Log:        p.log.named("breaker"),
		Registerer: registry,
	})
	var err error
	if p.reloader, err = watch.NewReloader(watch.Options{
		Source:     &watch.Source{Dir: p.settings.flags.policies, Log: p.log.named("config")},
		Apply:      p.apply,
		LastGood:   p.policies,
		Strict:     p.settings.flags.strict,
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

		AllowedHosts: p.settings.flags.httpHosts,
		HTTPReadOnly: p.settings.flags.httpReadOnly,

		GatewaySecret: p.adminSecret,
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

// control has breakers decide by the policies that are in effect, as Envoy does.
type control struct{ *xds.Publisher }

func (c control) Set() *policy.Set { return c.InForce() }

// apply publishes a set. After the first it can not fail: a policy that can not be translated
// keeps its version of before and is shown as a rejection.
func (p *plane) apply(_ context.Context, set *policy.Set) error {
	set = p.served(set)
	if p.admit != nil {
		if err := p.admit(set.Gateway); err != nil {
			return err
		}
		p.admit = nil
	}
	p.publisher.Apply(set)
	p.board.Served()
	p.once.Do(func() { close(p.ready) })
	return nil
}

// served is a set with the gateway's address that the command line gives, if it gives one, and with the secret that the
// gateway proves itself with to the admin API, if it exposes that.
func (p *plane) served(set *policy.Set) *policy.Set {
	override := p.settings.gateway
	if override == nil && set.Gateway.ExposeAdmin == "" {
		return set
	}
	gateway := *set.Gateway
	if override != nil {
		gateway.Host, gateway.Port = override.Addr().String(), override.Port()
	}
	if gateway.ExposeAdmin != "" {
		gateway.AdminSecret = p.adminSecret
	}
	served := *set
	served.Gateway = &gateway
	return &served
}

// accepted keeps what proxies have accepted, as what to go back to after a restart.
func (p *plane) accepted(set *policy.Set) {
	if err := p.policies.SaveAccepted(set.Files()); err != nil {
		p.log.named("store").Error("the accepted policies could not be stored", "error", err)
	}
}

// knows reports whether a proxy is connected, or has been within the last hour.
func (p *plane) knows(proxy string) bool {
	members, err := p.server.Roster().Members()
	return err == nil && slices.ContainsFunc(members, func(m xds.Member) bool { return m.ID == proxy })
}

// restore tells the publisher what proxies had accepted before the restart.
func (p *plane) restore() {
	files, err := p.policies.LoadAccepted()
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
	add("store", p.store.Run)
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
