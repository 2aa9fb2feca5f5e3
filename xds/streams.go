package xds

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/breakwater/breakwater/envoy"
)

func (s *Server) callbacks() serverv3.CallbackFuncs {
	return serverv3.CallbackFuncs{
		StreamOpenFunc: func(ctx context.Context, _ int64, _ string) error { return s.refuse(ctx) },
		DeltaStreamOpenFunc: func(ctx context.Context, id int64, _ string) error {
			return s.begin(ctx, streamKey(id))
		},
		DeltaStreamClosedFunc: func(id int64, _ *corev3.Node) { s.end(streamKey(id)) },
		StreamDeltaRequestFunc: func(id int64, r *discoveryv3.DeltaDiscoveryRequest) (err error) {
			if err := checkDeltaNames(r); err != nil {
				return err
			}
			r.Node, err = s.requested(streamKey(id), request{
				node: r.GetNode(), typeURL: r.GetTypeUrl(), nonce: r.GetResponseNonce(),
				has:      r.GetInitialResourceVersions(),
				brings:   len(r.GetInitialResourceVersions()) > 0,
				rejected: r.GetErrorDetail() != nil, text: r.GetErrorDetail().GetMessage(),
			})
			return err
		},
		StreamDeltaResponseFunc: func(id int64, _ *discoveryv3.DeltaDiscoveryRequest, resp *discoveryv3.DeltaDiscoveryResponse) {
			s.metrics.responses.WithLabelValues(typeName(resp.GetTypeUrl())).Inc()
			b := batch{versions: make(map[string]string, len(resp.GetResources())), removed: resp.GetRemovedResources(), sequence: parseSequence(resp)}
			for _, r := range resp.GetResources() {
				b.versions[r.GetName()] = r.GetVersion()
			}
			s.ledger.sent(streamKey(id), resp.GetTypeUrl(), resp.GetNonce(), b)
		},
	}
}

// refuse refuses a stream of the state-of-the-world protocol: Envoy 1.40 ends its process there when a runtime layer that
// has a TTL expires.
func (s *Server) refuse(ctx context.Context) error {
	addr := "unknown"
	if p, ok := peer.FromContext(ctx); ok {
		addr = p.Addr.String()
	}
	s.log.Error("cannot serve a proxy: its bootstrap asks for the state-of-the-world protocol; set api_type: DELTA_GRPC in ads_config, or use a bootstrap that `breakwater bootstrap` has made", "address", addr)
	return status.Error(codes.FailedPrecondition, "Breakwater serves the incremental protocol only: set api_type: DELTA_GRPC in ads_config of the bootstrap, or make one with `breakwater bootstrap`")
}

// checkDeltaNames returns a gRPC status if a request names too much.
func checkDeltaNames(r *discoveryv3.DeltaDiscoveryRequest) error {
	if err := checkNames(r.GetTypeUrl(), r.GetResourceNamesSubscribe()...); err != nil {
		return err
	}
	if err := checkNames(r.GetTypeUrl(), slices.Collect(maps.Keys(r.GetInitialResourceVersions()))...); err != nil {
		return err
	}
	for name, version := range r.GetInitialResourceVersions() {
		if len(version) > maxResourceName {
			return status.Errorf(codes.InvalidArgument, "the version of %q has %d bytes, more than %d", name, len(version), maxResourceName)
		}
	}
	return nil
}

// admit counts a stream that has begun and returns its peer, or a gRPC status if there are too many. Once it has ended,
// leave is to be called.
func (s *Server) admit(ctx context.Context) (addr string, err error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "", status.Error(codes.Internal, "the stream has no peer address")
	}
	addr = p.Addr.String()
	host := peerHost(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.opened >= maxStreams:
		return "", status.Errorf(codes.ResourceExhausted, "%d streams are open, and no more are taken", maxStreams)
	case s.open[host] >= maxPeerStreams:
		return "", status.Errorf(codes.ResourceExhausted, "%d streams are open from %s, and no more are taken", maxPeerStreams, host)
	}
	s.opened++
	s.open[host]++
	return addr, nil
}

// leave counts a stream no more that admit has counted.
func (s *Server) leave(addr string) {
	host := peerHost(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened--
	if s.open[host]--; s.open[host] == 0 {
		delete(s.open, host)
	}
}

// peerHost is the host of a peer's address.
func peerHost(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}

// begin notes a stream of ADS.
func (s *Server) begin(ctx context.Context, key streamKey) error {
	addr, err := s.admit(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams[key] = &stream{peer: addr, types: map[string]struct{}{}}
	return nil
}

// end forgets a stream of ADS. A proxy without any other is disconnected.
func (s *Server) end(key streamKey) {
	st := s.forget(key)
	if st != nil {
		s.leave(st.peer)
	}
}

func (s *Server) forget(key streamKey) *stream {
	// Under the lock, for a proxy that is back before its old stream ends must not lose the layers
	// that join has just published for it.
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[key]
	delete(s.streams, key)
	switch id, last := s.ledger.disconnect(key); {
	case id == "":
	case last:
		s.roster.left(id)
		s.cache.update(typeRuntime, nil, []string{envoy.OperatorLayer(id), envoy.BreakerLayer(id)})
		s.log.Info("proxy disconnected", "proxy", id, "address", st.peer)
	default:
		s.log.Info("stream ended; the proxy has others", "proxy", id, "address", st.peer)
	}
	return st
}

// request is what counts of a request.
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

// requested takes a request in, and returns the node that stands for its sender's in what is kept of it.
func (s *Server) requested(key streamKey, r request) (*corev3.Node, error) {
	s.mu.Lock()
	st := s.streams[key]
	s.mu.Unlock()
	if st == nil {
		return nil, status.Error(codes.Internal, "a request on a stream that was not opened")
	}
	if err := st.asks(r.typeURL); err != nil {
		return nil, err
	}
	if st.node == nil {
		if err := s.join(key, st, r.node); err != nil {
			return nil, err
		}
	} else if err := checkNodeSize(r.node); err != nil {
		return nil, err
	}
	if typeNames[r.typeURL] != "" {
		s.answered(key, st, r)
	}
	return st.node, nil
}

// asks notes that the stream asks for a type, and returns a gRPC status if it asks for too many.
func (st *stream) asks(typeURL string) error {
	if len(typeURL) > maxResourceName {
		return status.Errorf(codes.InvalidArgument, "the type of a resource has %d bytes, more than %d", len(typeURL), maxResourceName)
	}
	st.types[typeURL] = struct{}{}
	if len(st.types) > maxTypes {
		return status.Errorf(codes.ResourceExhausted, "a stream asks for %d types of resources, more than %d", len(st.types), maxTypes)
	}
	return nil
}

// answered notes what a request says of what the proxy has and of what it was sent.
func (s *Server) answered(key streamKey, st *stream, r request) {
	if r.nonce == "" {
		if r.brings {
			s.roster.brought(st.proxy, st.since)
		}
		s.ledger.subscribed(key, r.typeURL, r.has)
		return
	}
	text := ""
	if r.rejected {
		if text = r.text; text == "" {
			text = "rejected without a reason"
		}
	}
	if !s.ledger.answered(key, r.typeURL, r.nonce, text) {
		return // a change of subscription, or a nonce of before
	}
	if r.rejected {
		s.metrics.nacks.WithLabelValues(typeName(r.typeURL)).Inc()
		s.log.Error("proxy rejected a configuration", "proxy", st.proxy, "type", typeName(r.typeURL), "nonce", r.nonce, "error", shorten(s.publisher.Hide(text)))
		return
	}
	s.metrics.acks.WithLabelValues(typeName(r.typeURL)).Inc()
	s.log.Trace("proxy accepted a configuration", "proxy", st.proxy, "type", typeName(r.typeURL), "nonce", r.nonce)
}

// join notes which proxy a stream belongs to and, if it is the proxy's first, prepares the layers that only this
// proxy asks for: without them Envoy's start would wait for them.
func (s *Server) join(key streamKey, st *stream, node *corev3.Node) error {
	if err := checkNode(node); err != nil {
		return err
	}
	p := Proxy{
		ID:           node.GetId(),
		Cluster:      node.GetCluster(),
		Version:      envoyVersion(node),
		Address:      st.peer,
		AdminAddress: s.adminAddress(st.peer, node),
		Since:        time.Now(),
	}
	others, err := s.enter(key, st, p)
	if err != nil {
		return err
	}
	if len(others) > 0 {
		s.log.Warn("a proxy has another stream: it is being restarted, has reconnected before its old stream ended, or several proxies have one id; "+
			"then give each its own --node-id", "proxy", p.ID, "address", p.Address, "others", strings.Join(others, ", "))
	}
	if fault := tooOld(p.Version); fault != "" {
		s.log.Error("proxy "+fault, "proxy", p.ID, "address", p.Address)
	}
	s.log.Info("proxy connected", "proxy", p.ID, "address", p.Address, "admin", p.AdminAddress, "version", p.Version)
	return nil
}

// enter has a stream be one of its proxy's, and returns the addresses of the others. A proxy that had none gets its layers
// first; another stream of a proxy gets those that the proxy has.
func (s *Server) enter(key streamKey, st *stream, p Proxy) (others []string, err error) {
	s.joining.Lock()
	defer s.joining.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ledger.connected(p.ID) {
		s.mu.Unlock()
		layers, err := s.layersOf(p)
		s.mu.Lock()
		if err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
		s.cache.update(typeRuntime, layers, nil)
	}
	st.proxy, st.node, st.since = p.ID, key.node(p.ID), p.Since
	s.roster.came(p)
	return s.ledger.connect(key, p), nil
}

// layersOf returns what a proxy that connects is to have at once.
func (s *Server) layersOf(p Proxy) ([]*resource, error) {
	content := s.layers(p)
	breaker, err := layerResource(envoy.BreakerLayer(p.ID), content.Breaker)
	if err != nil {
		return nil, err
	}
	operator, err := operatorResource(envoy.OperatorLayer(p.ID), content.Operator)
	if err != nil {
		return nil, err
	}
	return []*resource{breaker, operator}, nil
}

// envoyVersion is the version of the node's Envoy; empty if it does not say.
func envoyVersion(node *corev3.Node) string {
	v := node.GetUserAgentBuildVersion().GetVersion()
	if v != nil {
		return fmt.Sprintf("%d.%d.%d", v.GetMajorNumber(), v.GetMinorNumber(), v.GetPatch())
	}
	if s := node.GetUserAgentVersion(); len(s) <= maxVersion {
		return s
	}
	return ""
}
