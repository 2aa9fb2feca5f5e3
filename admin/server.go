package admin

import (
	"context"
	"errors"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"github.com/breakwater/breakwater/admin/adminpb"
)

const (
	defaultGracePeriod = 3 * time.Second
	// callTimeout bounds what one HTTP call may take. A reset is the slowest: it waits
	// for every proxy. A gRPC client sets its own deadline.
	callTimeout = 30 * time.Second
	// maxRequest bounds a request's body, in bytes, but for a plan (MaxPlan). The largest field is a reason.
	maxRequest = 64 << 10
)

// Options of a Server. Model is required.
type Options struct {
	Model Model
	// Log is the null logger if nil.
	Log hclog.Logger
	// Registerer gets the metrics of the calls; nil for none.
	Registerer prometheus.Registerer
	// Gatherer is what /metrics serves; nil makes it 404.
	Gatherer prometheus.Gatherer
	// Ready returns nil once the process can do its work, else why not, for /readyz. Nil:
	// always ready.
	Ready func(context.Context) error
	// Version is what GetVersion answers; "devel" if empty.
	Version string
	// AllowedHosts are names that a client may use for this server, without a port, beside
	// IP addresses and localhost. Without any, all names are allowed on addresses that are
	// not loopback. A port that a container engine publishes on loopback arrives on such an
	// address: name the server then, so that DNS rebinding is turned away there too.
	AllowedHosts []string
	// HTTPReadOnly refuses over HTTP every call that changes something. By gRPC all is as
	// ever.
	HTTPReadOnly bool
	// GatewaySecret is what a gateway that passes calls on (expose_admin) proves itself with in envoy.GatewayProof.
	// Who sends it is believed about the caller's address, and nobody else is. Empty: nobody is.
	GatewaySecret string
	// GracePeriod is how long calls in progress may take when the server stops; 3 s if 0.
	GracePeriod time.Duration
}

// Server serves a Model by gRPC and by HTTP. Each of its Serve methods may be called
// once. When the context of either ends, the streams of both do.
type Server struct {
	opts    Options
	service *service
	grpc    *grpc.Server
	health  *health.Server
	http    http.Handler
	// stop ends service.stopping.
	stop context.CancelFunc
}

// New returns a server that listens nowhere yet. It fails if a metric or a route can
// not be registered.
func New(opts Options) (*Server, error) {
	if opts.Model == nil {
		return nil, errors.New("admin: Options.Model is nil")
	}
	if opts.Log == nil {
		opts.Log = hclog.NewNullLogger()
	}
	if opts.Version == "" {
		opts.Version = "devel"
	}
	opts.AllowedHosts = slices.Clone(opts.AllowedHosts)
	for i, name := range opts.AllowedHosts {
		opts.AllowedHosts[i] = strings.ToLower(strings.TrimSuffix(name, "."))
	}
	if opts.GracePeriod == 0 {
		opts.GracePeriod = defaultGracePeriod
	}
	stopping, stop := context.WithCancel(context.Background())
	s := &Server{
		opts: opts,
		stop: stop,
		service: &service{
			model:    opts.Model,
			log:      opts.Log,
			version:  opts.Version,
			started:  time.Now(),
			stopping: stopping,
			planning: make(chan struct{}, 1),
			planRoom: &planRoom{},

			pageBytes: maxPage,
			streams:   make(chan struct{}, maxStreams),
		},
	}
	if err := s.newGRPC(); err != nil {
		return nil, err
	}
	var err error
	if s.http, err = s.newHTTP(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) newGRPC() error {
	metrics := newGRPCMetrics()
	recovered := recovery.WithRecoveryHandlerContext(func(_ context.Context, p any) error {
		s.opts.Log.Error("panic in a gRPC call", "panic", p, "stack", string(debug.Stack()))
		return status.Error(codes.Internal, "internal error")
	})
	s.grpc = grpc.NewServer(
		grpc.MaxRecvMsgSize(MaxPlan),
		grpc.MaxConcurrentStreams(256),
		grpc.ConnectionTimeout(10*time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		// Recovery is the inner one, so that a panic is counted as Internal.
		grpc.ChainUnaryInterceptor(metrics.UnaryServerInterceptor(), limitUnary, s.service.planRoom.unary, recovery.UnaryServerInterceptor(recovered)),
		grpc.ChainStreamInterceptor(metrics.StreamServerInterceptor(), limitStream, recovery.StreamServerInterceptor(recovered)),
	)
	s.health = health.NewServer()
	s.health.SetServingStatus(adminpb.AdminService_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_SERVING)
	adminpb.RegisterAdminServiceServer(s.grpc, s.service)
	healthpb.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	metrics.InitializeMetrics(s.grpc)
	if s.opts.Registerer == nil {
		return nil
	}
	return s.opts.Registerer.Register(metrics)
}

// ServeGRPC serves until ctx is done, and then at most for the grace period. It closes
// the listener. The error is nil if ctx ended it.
func (s *Server) ServeGRPC(ctx context.Context, l net.Listener) error {
	served := make(chan error, 1)
	go func() { served <- s.grpc.Serve(l) }()
	select {
	case err := <-served:
		// Without its listener the server still has its connections.
		s.stop()
		s.grpc.Stop()
		return err
	case <-ctx.Done():
	}
	s.stop()
	s.health.Shutdown()
	// Health and reflection streams end only with their client, so Stop must follow.
	force := time.AfterFunc(s.opts.GracePeriod, s.grpc.Stop)
	defer force.Stop()
	s.grpc.GracefulStop()
	if err := <-served; !errors.Is(err, grpc.ErrServerStopped) { // it had not begun
		return err
	}
	return nil
}

// ServeHTTP serves until ctx is done, and then at most for the grace period. It closes
// the listener. The error is nil if ctx ended it.
func (s *Server) ServeHTTP(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           s.http,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      callTimeout + 10*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          s.opts.Log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		s.stop()
		_ = server.Close()
		return err
	case <-ctx.Done():
	}
	s.stop()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.GracePeriod)
	defer cancel()
	if server.Shutdown(grace) != nil {
		// The grace period is over: what still runs is cut off.
		_ = server.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
