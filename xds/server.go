package xds

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	loadstatsv3 "github.com/envoyproxy/go-control-plane/envoy/service/load_stats/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// Server serves incremental ADS from a Publisher's cache and keeps its ledger.
type Server struct {
	publisher *Publisher
	cache     *cache
	ledger    *Ledger
	loads     func(LoadReport)
	layers    func(Proxy) ProxyLayers
	admins    map[string]string // by proxy; see ServerOptions.AdminAddresses
	roster    *Roster
	log       hclog.Logger
	metrics   *serverMetrics

	// joining is held while a stream becomes one of its proxy's: what layers returns for a proxy is what it has, though two
	// streams of it come at once. It comes before mu, and before the locks of layers.
	joining sync.Mutex

	mu sync.Mutex
	// streams are the open streams of ADS; guarded by mu.
	streams map[streamKey]*stream
	// open counts the streams of all services by the address of the peer, and opened is their sum; guarded by mu.
	open   map[string]int
	opened int
}

// stream is one ADS stream. Its node is known from the first request on.
type stream struct {
	peer string
	// proxy is the node id, and node stands for the node in what is kept of requests; zero until the node is known.
	proxy string
	node  *corev3.Node
	// since is when the node was known.
	since time.Time
	// types are those that the stream has asked for.
	types map[string]struct{}
}

// ServerOptions configure a Server. The zero value works.
type ServerOptions struct {
	// Log is the null logger if nil.
	Log hclog.Logger
	// Loads is called with each load report, in order for one proxy and from several goroutines for several; nil:
	// reports are dropped.
	Loads func(LoadReport)
	// Layers is called when a proxy connects, before it is answered, and returns what its runtime layers are to have; nil:
	// they are empty until they are set. It must not call the server.
	Layers func(Proxy) ProxyLayers
	// AdminAddresses are admin addresses, as ip:port, that are known by the proxy's id, as of an Envoy that this process
	// supervises; each goes for the node of that id that names its port. That of any other is the address that it connects
	// from, with the port that its node names.
	AdminAddresses map[string]string
	// Memory keeps the roster over a restart; nil: it is forgotten.
	Memory Memory
	// Registerer of the metrics; nil: none.
	Registerer prometheus.Registerer
}

// NewServer returns a server of what the publisher publishes.
func NewServer(p *Publisher, opts ServerOptions) *Server {
	s := &Server{publisher: p, cache: p.cache, ledger: p.ledger, loads: opts.Loads, layers: opts.Layers, admins: opts.AdminAddresses, log: opts.Log, streams: map[streamKey]*stream{}, open: map[string]int{}}
	if s.log == nil {
		s.log = hclog.NewNullLogger()
	}
	if s.loads == nil {
		s.loads = func(LoadReport) {}
	}
	if s.layers == nil {
		s.layers = func(Proxy) ProxyLayers { return ProxyLayers{} }
	}
	s.roster = newRoster(time.Now, opts.Memory, s.log)
	s.metrics = newServerMetrics(s, opts.Registerer)
	return s
}

// Roster returns what is known of the proxies that are connected or have gone.
func (s *Server) Roster() *Roster { return s.roster }

// Serve accepts proxies on the listener until ctx ends, and closes it. It returns an error
// only if serving failed.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	streamCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	g := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxRequestBytes),
		grpc.MaxConcurrentStreams(maxConnectionStreams),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 5 * time.Second}),
		// Envoy's keepalive pings must not be taken for an attack.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
	)
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, serverv3.NewServer(streamCtx, s.cache, s.callbacks()))
	loadstatsv3.RegisterLoadReportingServiceServer(g, loadServer{server: s})
	s.roster.open()
	saved := make(chan struct{})
	go func() {
		defer close(saved)
		s.roster.run(streamCtx)
	}()
	defer func() { <-saved }()
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	select {
	case err := <-done:
		cancel()
		return fmt.Errorf("xds server on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	s.roster.close()
	cancel()
	g.Stop()
	if err := <-done; !errors.Is(err, grpc.ErrServerStopped) { // it had not begun
		return err
	}
	return nil
}

// services is the number of services that are served.
func (s *Server) services() int {
	if set := s.publisher.Set(); set != nil {
		return len(set.Services)
	}
	return 0
}
