package admin

import (
	"errors"
	"net/http"
	"runtime"
	"strings"

	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// callSeconds are the bounds of the buckets of how long calls take. A reset waits for every proxy.
var callSeconds = []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// newGRPCMetrics counts and times the calls of gRPC.
func newGRPCMetrics() *grpcprom.ServerMetrics {
	return grpcprom.NewServerMetrics(grpcprom.WithServerHandlingTimeHistogram(grpcprom.WithHistogramBuckets(callSeconds)))
}

// measureHTTP counts requests by status and method, and times those that end by themselves; other methods than the
// usual ones are one. There is no label of paths: a client can send any.
func (s *Server) measureHTTP(next http.Handler) (http.Handler, error) {
	if s.opts.Registerer == nil {
		return next, nil
	}
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "breakwater_http_requests_total",
		Help: "Requests to the HTTP API by status code and method.",
	}, []string{"code", "method"})
	durations := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "breakwater_http_request_duration_seconds",
		Help:    "Time that requests to the HTTP API took, by method; without those that watch until they are closed.",
		Buckets: callSeconds,
	}, []string{"method"})
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "breakwater_build_info",
		Help:        "1, with the version of Breakwater and that of Go that it was built with.",
		ConstLabels: prometheus.Labels{"version": s.opts.Version, "goversion": runtime.Version()},
	}, func() float64 { return 1 })
	if err := errors.Join(s.opts.Registerer.Register(requests), s.opts.Registerer.Register(durations), s.opts.Registerer.Register(build)); err != nil {
		return nil, err
	}
	timed := promhttp.InstrumentHandlerDuration(durations, next)
	return promhttp.InstrumentHandlerCounter(requests, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ":watch") {
			next.ServeHTTP(w, r)
			return
		}
		timed.ServeHTTP(w, r)
	})), nil
}
