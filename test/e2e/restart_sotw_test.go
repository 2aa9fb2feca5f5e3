package e2e

import (
	"errors"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/breakwater/breakwater/test/envoytest"
)

// TestStateOfTheWorldIsRefused: an Envoy with such a bootstrap is told so in its own log too, and concerns nobody else.
func TestStateOfTheWorldIsRefused(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	s := newStack(t, map[string]string{"svc.yaml": other(u, 5)})
	old := envoytest.Start(t, s.bootstrap("old", func(b *bootstrapv3.Bootstrap) {
		b.GetDynamicResources().GetAdsConfig().ApiType = corev3.ApiConfigSource_GRPC
	}))
	for who, log := range map[string]func() string{"Breakwater": s.log.String, "Envoy": old.Log} {
		s.until(who+"'s log names DELTA_GRPC", func() error {
			if !strings.Contains(log(), "DELTA_GRPC") {
				return errors.New("it does not")
			}
			return nil
		})
	}
	s.live("/other", u, 5)
	s.untilConnected(1)
}
