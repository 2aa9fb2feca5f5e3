package xds

import (
	"fmt"
	"time"

	runtimev3 "github.com/envoyproxy/go-control-plane/envoy/service/runtime/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/breakwater/breakwater/envoy"
)

// Layer is the content of one of the runtime layers that a proxy has for itself. The zero value has no key.
type Layer struct {
	// Keys of the runtime; nil: none.
	Keys *structpb.Struct
	// TTL is how long the proxy keeps the keys if it hears nothing more of the layer; zero: for ever. A layer is renewed by
	// setting it with other keys. Of what operators have set the time begins when it is set, for all streams.
	TTL time.Duration
}

// ProxyLayers are the layers of one proxy.
type ProxyLayers struct {
	// Breaker has the states that Breakwater concludes, Operator those that operators have set.
	Breaker, Operator Layer
}

// SetBreakerLayer publishes the layer of the breaker states of a connected proxy. It reports false if the proxy
// is not connected.
func (s *Server) SetBreakerLayer(proxy string, l Layer) (Change, bool) {
	return s.setLayer(proxy, envoy.BreakerLayer(proxy), l, layerResource)
}

// SetOperatorLayer is SetBreakerLayer for the operator states.
func (s *Server) SetOperatorLayer(proxy string, l Layer) (Change, bool) {
	return s.setLayer(proxy, envoy.OperatorLayer(proxy), l, operatorResource)
}

func (s *Server) setLayer(proxy, name string, l Layer, resourceOf func(string, Layer) (*resource, error)) (Change, bool) {
	r, err := resourceOf(name, l)
	if err != nil {
		s.log.Error("a runtime layer cannot be published", "proxy", proxy, "layer", name, "error", err)
		return Change{}, false
	}
	// Under the lock, so that a proxy that has just left does not leave a layer behind.
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ledger.connected(proxy) {
		return Change{}, false
	}
	s.cache.update(typeRuntime, []*resource{r}, nil)
	return Change{typeURL: typeRuntime, target: s.cache.target(r)}, true
}

func layerResource(name string, l Layer) (*resource, error) {
	keys := l.Keys
	if keys == nil {
		keys = &structpb.Struct{}
	}
	r, err := newResource(typeRuntime, name, &runtimev3.Runtime{Name: name, Layer: keys})
	if err != nil {
		return nil, fmt.Errorf("runtime layer %s: %w", name, err)
	}
	r.lease = l.TTL
	return r, nil
}

// operatorResource is layerResource for what operators have set. A stream that comes later does not make that last longer.
func operatorResource(name string, l Layer) (*resource, error) {
	r, err := layerResource(name, l)
	if err == nil && l.TTL > 0 {
		r.expires = time.Now().Add(l.TTL)
	}
	return r, err
}
