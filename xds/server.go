package xds

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	loadstatsv3 "github.com/envoyproxy/go-control-plane/envoy/service/load_stats/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/breakwater/breakwater/envoy"
)

// Server serves ADS, in the incremental and in the state-of-the-world protocol, from a
// Publisher's cache and keeps its ledger.
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

	mu sync.Mutex
	// streams are the open streams; guarded by mu.
	streams map[streamKey]*stream
}

// stream is one ADS stream. Its node is known from the first request on.
type stream struct {
	peer string
	node string
	// since is when the node was known.
	since time.Time
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
	s := &Server{publisher: p, cache: p.cache, ledger: p.ledger, loads: opts.Loads, layers: opts.Layers, admins: opts.AdminAddresses, log: opts.Log, streams: map[streamKey]*stream{}}
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

// maxRequestBytes bounds a proxy's request. At a reconnect it lists every resource that
// the proxy has: about 60 bytes each.
const maxRequestBytes = 32 << 20

// Serve accepts proxies on the listener until ctx ends, and closes it. It returns an error
// only if serving failed.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	streamCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	g := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxRequestBytes),
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

func (s *Server) callbacks() serverv3.CallbackFuncs {
	return serverv3.CallbackFuncs{
		StreamOpenFunc: func(ctx context.Context, id int64, _ string) error {
			return s.opened(ctx, streamKey{id: id})
		},
		StreamClosedFunc: func(id int64, _ *corev3.Node) { s.closed(streamKey{id: id}) },
		DeltaStreamOpenFunc: func(ctx context.Context, id int64, _ string) error {
			return s.opened(ctx, streamKey{delta: true, id: id})
		},
		DeltaStreamClosedFunc: func(id int64, _ *corev3.Node) { s.closed(streamKey{delta: true, id: id}) },
		StreamRequestFunc: func(id int64, r *discoveryv3.DiscoveryRequest) error {
			key := streamKey{id: id}
			return s.requested(key, request{
				node: r.GetNode(), typeURL: r.GetTypeUrl(), nonce: r.GetResponseNonce(),
				brings:   r.GetVersionInfo() != "",
				rejected: r.GetErrorDetail() != nil, text: r.GetErrorDetail().GetMessage(),
			})
		},
		StreamDeltaRequestFunc: func(id int64, r *discoveryv3.DeltaDiscoveryRequest) error {
			key := streamKey{delta: true, id: id}
			return s.requested(key, request{
				node: r.GetNode(), typeURL: r.GetTypeUrl(), nonce: r.GetResponseNonce(),
				has:      r.GetInitialResourceVersions(),
				brings:   len(r.GetInitialResourceVersions()) > 0,
				rejected: r.GetErrorDetail() != nil, text: r.GetErrorDetail().GetMessage(),
			})
		},
		StreamResponseFunc: func(_ context.Context, id int64, req *discoveryv3.DiscoveryRequest, resp *discoveryv3.DiscoveryResponse) {
			s.metrics.responses.WithLabelValues(typeName(resp.GetTypeUrl())).Inc()
			s.ledger.sentWhole(streamKey{id: id}, req.GetNode().GetId(), resp.GetTypeUrl(), resp.GetNonce())
		},
		StreamDeltaResponseFunc: func(id int64, req *discoveryv3.DeltaDiscoveryRequest, resp *discoveryv3.DeltaDiscoveryResponse) {
			s.metrics.responses.WithLabelValues(typeName(resp.GetTypeUrl())).Inc()
			b := batch{versions: make(map[string]string, len(resp.GetResources())), removed: resp.GetRemovedResources()}
			for _, r := range resp.GetResources() {
				b.versions[r.GetName()] = r.GetVersion()
			}
			s.ledger.sent(streamKey{delta: true, id: id}, req.GetNode().GetId(), resp.GetTypeUrl(), resp.GetNonce(), b)
		},
	}
}

func (s *Server) opened(ctx context.Context, key streamKey) error {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return status.Error(codes.Internal, "the stream has no peer address")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams[key] = &stream{peer: p.Addr.String()}
	return nil
}

func (s *Server) closed(key streamKey) {
	// Under the lock, for a proxy that is back before its old stream ends must not lose the layers
	// that join has just published for it.
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[key]
	delete(s.streams, key)
	if id := s.ledger.disconnect(key); id != "" {
		s.roster.left(id)
		s.cache.update(typeRuntime, nil, []string{envoy.OperatorLayer(id), envoy.BreakerLayer(id)})
		s.log.Info("proxy disconnected", "proxy", id, "address", st.peer)
	}
}

// request is what the two protocols' requests have in common.
type request struct {
	node    *corev3.Node
	typeURL string
	nonce   string
	has     map[string]string
	// brings is true if the proxy has resources of that type from an earlier stream.
	brings   bool
	rejected bool
	text     string
}

func (s *Server) requested(key streamKey, r request) error {
	s.mu.Lock()
	st := s.streams[key]
	s.mu.Unlock()
	if st == nil {
		return status.Error(codes.Internal, "a request on a stream that was not opened")
	}
	if st.node == "" {
		if err := s.join(key, st, r.node); err != nil {
			return err
		}
	}
	if r.nonce == "" {
		if r.brings {
			s.roster.brought(st.node, st.since)
		}
		s.ledger.subscribed(key, st.node, r.typeURL, r.has)
		return nil
	}
	text := ""
	if r.rejected {
		if text = r.text; text == "" {
			text = "rejected without a reason"
		}
	}
	if !s.ledger.answered(key, st.node, r.typeURL, r.nonce, text) {
		return nil // a change of subscription, or a nonce of before
	}
	if r.rejected {
		s.metrics.nacks.WithLabelValues(typeName(r.typeURL)).Inc()
		s.log.Error("proxy rejected a configuration", "proxy", st.node, "type", typeName(r.typeURL), "nonce", r.nonce, "error", s.publisher.Hide(text))
		return nil
	}
	s.metrics.acks.WithLabelValues(typeName(r.typeURL)).Inc()
	s.log.Trace("proxy accepted a configuration", "proxy", st.node, "type", typeName(r.typeURL), "nonce", r.nonce)
	return nil
}

// join notes which proxy a stream belongs to and prepares the layers that only this
// proxy asks for: without them Envoy's start would wait for them.
func (s *Server) join(key streamKey, st *stream, node *corev3.Node) error {
	id := node.GetId()
	if id == "" {
		return status.Error(codes.InvalidArgument, "the node has no id: use a bootstrap that `breakwater bootstrap` has made")
	}
	p := Proxy{
		ID:           id,
		Cluster:      node.GetCluster(),
		Version:      envoyVersion(node),
		Address:      st.peer,
		AdminAddress: s.adminAddress(st.peer, node),
	}
	p.Since = time.Now()
	p.Delta = key.delta
	content := s.layers(p)
	var layers []*resource
	for name, l := range map[string]Layer{envoy.BreakerLayer(id): content.Breaker, envoy.OperatorLayer(id): content.Operator} {
		r, err := layerResource(name, l)
		if err != nil {
			return status.Error(codes.Internal, err.Error())
		}
		layers = append(layers, r)
	}
	s.mu.Lock()
	s.cache.update(typeRuntime, layers, nil)
	st.node, st.since = id, p.Since
	s.roster.came(p)
	other := s.ledger.connect(key, p)
	s.mu.Unlock()
	if other != "" {
		s.log.Warn("two proxies have one id, or a proxy has reconnected before its old stream ended: give each its own --node-id",
			"proxy", id, "address", p.Address, "other", other)
	}
	if !key.delta {
		s.log.Warn("the proxy's bootstrap uses the state-of-the-world protocol, in which an open breaker could not be given a lease: "+
			"its breakers only observe, beside Envoy's ejection of hosts; use a bootstrap that `breakwater bootstrap` has made", "proxy", id)
	}
	s.log.Info("proxy connected", "proxy", id, "address", p.Address, "admin", p.AdminAddress, "version", p.Version, "delta", key.delta)
	return nil
}

// adminAddress is where the proxy's admin API is. One that is known goes for the node that names its port: another may have
// been given the same id.
func (s *Server) adminAddress(peerAddr string, node *corev3.Node) string {
	address := adminAddress(peerAddr, node)
	known := s.admins[node.GetId()]
	if _, port, err := net.SplitHostPort(known); err == nil && strings.HasSuffix(address, ":"+port) {
		return known
	}
	return address
}

// adminAddress is the peer's host with the port from the node's metadata: a node can say
// where on its own host the admin API is, and never name another host.
func adminAddress(peerAddr string, node *corev3.Node) string {
	port := node.GetMetadata().GetFields()[envoy.MetadataKey].GetStructValue().GetFields()[envoy.MetadataAdminPort].GetNumberValue()
	if port < 1 || port > 65535 || port != float64(int(port)) {
		return ""
	}
	host, _, err := net.SplitHostPort(peerAddr)
	if err != nil {
		return ""
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

func envoyVersion(node *corev3.Node) string {
	v := node.GetUserAgentBuildVersion().GetVersion()
	if v == nil {
		return node.GetUserAgentVersion()
	}
	return fmt.Sprintf("%d.%d.%d", v.GetMajorNumber(), v.GetMinorNumber(), v.GetPatch())
}
