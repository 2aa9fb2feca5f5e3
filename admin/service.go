package admin

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/breaker"
)

// Bounds on what a caller may write into the log, in bytes.
const (
	maxActor  = 256
	maxReason = 1024
)

// service is AdminService over the model. The HTTP handlers call it in process.
type service struct {
	adminpb.UnimplementedAdminServiceServer
	model   Model
	log     hclog.Logger
	version string
	started time.Time
	// readOnly is what GetVersion says; readOnly the handler is what refuses.
	readOnly bool
	// stopping is done once the server stops: it ends the streams.
	stopping context.Context
	// planning has room for the one plan that is being made.
	planning chan struct{}
	// planRoom is the room for those that wait.
	planRoom *planRoom
}

func (s *service) ListBreakers(ctx context.Context, _ *adminpb.ListBreakersRequest) (*adminpb.ListBreakersResponse, error) {
	breakers, err := s.model.Breakers(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	return &adminpb.ListBreakersResponse{Breakers: each(breakers, breakerProto)}, nil
}

func (s *service) GetBreaker(ctx context.Context, req *adminpb.GetBreakerRequest) (*adminpb.GetBreakerResponse, error) {
	if req.GetService() == "" {
		return nil, status.Error(codes.InvalidArgument, "service is empty")
	}
	b, err := s.model.Breaker(ctx, req.GetService())
	if err != nil {
		return nil, toStatus(err)
	}
	windows, err := s.model.Windows(ctx, req.GetService())
	if err != nil {
		return nil, toStatus(err)
	}
	return &adminpb.GetBreakerResponse{Breaker: breakerProto(b), Windows: each(windows, windowProto)}, nil
}

func (s *service) GetTraffic(ctx context.Context, req *adminpb.GetTrafficRequest) (*adminpb.GetTrafficResponse, error) {
	if req.GetService() == "" {
		return nil, status.Error(codes.InvalidArgument, "service is empty")
	}
	t, err := s.model.Traffic(ctx, req.GetService())
	if err != nil {
		return nil, toStatus(err)
	}
	return trafficProto(t), nil
}

func (s *service) GetHistory(ctx context.Context, req *adminpb.GetHistoryRequest) (*adminpb.GetHistoryResponse, error) {
	f := breaker.HistoryFilter{Services: req.GetServices()}
	if req.GetFrom() != nil {
		if err := req.GetFrom().CheckValid(); err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "from: %v", err)
		}
		f.From = req.GetFrom().AsTime()
	}
	h, err := s.model.History(ctx, f)
	if err != nil {
		return nil, toStatus(err)
	}
	return historyProto(h), nil
}

func (s *service) WatchBreakers(req *adminpb.WatchBreakersRequest, stream grpc.ServerStreamingServer[adminpb.WatchBreakersResponse]) error {
	return s.watch(stream.Context(), req, stream.Send, nil)
}

func (s *service) ResetBreaker(ctx context.Context, req *adminpb.ResetBreakerRequest) (*adminpb.ResetBreakerResponse, error) {
	result, err := s.reset(ctx, breaker.ResetRequest{
		Service: req.GetService(),
		Host:    req.GetHost(),
		Action:  breaker.Action{Actor: req.GetActor(), Reason: req.GetReason()},
	})
	if err != nil {
		return nil, err
	}
	return resetProto(result), nil
}

// reset checks the request, has the model do it and logs who did what. Its errors are
// gRPC statuses.
func (s *service) reset(ctx context.Context, req breaker.ResetRequest) (breaker.ResetResult, error) {
	if err := admit(ctx, "service", req.Service, &req.Action); err != nil {
		return breaker.ResetResult{}, err
	}
	if req.Host != "" {
		if _, err := netip.ParseAddrPort(req.Host); err != nil {
			return breaker.ResetResult{}, status.Errorf(codes.InvalidArgument, "host %q is not of the form ip:port", req.Host)
		}
	}
	log := s.log.With("service", req.Service, "host", req.Host, "actor", req.Actor, "reason", req.Reason)
	result, err := s.model.Reset(ctx, req)
	if err != nil {
		log.Warn("reset refused", "error", err)
		return breaker.ResetResult{}, toStatus(err)
	}
	log.Info("reset", "ok", result.OK(), "not_saved", result.NotSaved != "", "pushed", result.Pushed, "generation", result.Generation)
	return result, nil
}

// admit checks what every action of an operator has, and names the actor if none is named. On is
// the name of the field that says what it is done to. Its error is a gRPC status.
func admit(ctx context.Context, on, what string, a *breaker.Action) error {
	switch {
	case what == "":
		return status.Error(codes.InvalidArgument, on+" is empty")
	case len(a.Actor) > maxActor:
		return status.Errorf(codes.InvalidArgument, "actor has %d bytes, at most %d are allowed", len(a.Actor), maxActor)
	case len(a.Reason) > maxReason:
		return status.Errorf(codes.InvalidArgument, "reason has %d bytes, at most %d are allowed", len(a.Reason), maxReason)
	case a.Actor == "":
		a.Actor = caller(ctx)
	}
	return nil
}

// caller names a caller that gave no name, by its IP address.
func caller(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return "unknown"
	}
	host, _, err := net.SplitHostPort(p.Addr.String())
	if err != nil {
		return p.Addr.String()
	}
	return host
}

func (s *service) ListProxies(ctx context.Context, _ *adminpb.ListProxiesRequest) (*adminpb.ListProxiesResponse, error) {
	proxies, err := s.model.Proxies(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	missed, err := s.model.Missed(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	return &adminpb.ListProxiesResponse{Proxies: each(proxies, proxyProto), Missed: each(missed, missedProxyProto)}, nil
}

func (s *service) ForgetProxy(ctx context.Context, req *adminpb.ForgetProxyRequest) (*adminpb.ForgetProxyResponse, error) {
	by := breaker.Action{Actor: req.GetActor(), Reason: req.GetReason()}
	if err := admit(ctx, "id", req.GetId(), &by); err != nil {
		return nil, err
	}
	log := s.log.With("proxy", req.GetId(), "actor", by.Actor, "reason", by.Reason)
	proxy, unsaved, err := s.model.Forget(ctx, req.GetId(), by)
	if err != nil {
		log.Warn("forget refused", "error", err)
		return nil, toStatus(err)
	}
	log.Info("forget", "not_saved", unsaved != "")
	return &adminpb.ForgetProxyResponse{Proxy: missedProxyProto(proxy), NotSaved: unsaved != "", NotSavedReason: unsaved}, nil
}

func (s *service) GetConfigStatus(ctx context.Context, _ *adminpb.GetConfigStatusRequest) (*adminpb.GetConfigStatusResponse, error) {
	config, err := s.model.ConfigStatus(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	return configStatusProto(config), nil
}

func (s *service) GetLogLevel(ctx context.Context, _ *adminpb.GetLogLevelRequest) (*adminpb.GetLogLevelResponse, error) {
	levels, err := s.model.LogLevels(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	return &adminpb.GetLogLevelResponse{Levels: each(levels, logLevelProto)}, nil
}

func (s *service) SetLogLevel(ctx context.Context, req *adminpb.SetLogLevelRequest) (*adminpb.SetLogLevelResponse, error) {
	level := hclog.LevelFromString(req.GetLevel())
	if level == hclog.NoLevel {
		return nil, status.Errorf(codes.InvalidArgument, "level %q is none of trace, debug, info, warn, error, off", req.GetLevel())
	}
	if err := s.model.SetLogLevel(ctx, level, req.GetSubsystem()); err != nil {
		return nil, toStatus(err)
	}
	s.log.Info("log level set", "level", level.String(), "subsystem", req.GetSubsystem(), "actor", caller(ctx))
	levels, err := s.model.LogLevels(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	return &adminpb.SetLogLevelResponse{Levels: each(levels, logLevelProto)}, nil
}

func (s *service) GetVersion(context.Context, *adminpb.GetVersionRequest) (*adminpb.GetVersionResponse, error) {
	return &adminpb.GetVersionResponse{Version: s.version, Started: timestampProto(s.started), ReadOnly: s.readOnly}, nil
}

// toStatus gives a model's error its gRPC code.
func toStatus(err error) error {
	code := codes.Internal
	switch {
	case errors.Is(err, breaker.ErrUnknownService), errors.Is(err, breaker.ErrUnknownHost),
		errors.Is(err, breaker.ErrUnknownProxy), errors.Is(err, ErrUnknownSubsystem):
		code = codes.NotFound
	case errors.Is(err, breaker.ErrInvalidOrder):
		code = codes.InvalidArgument
	case errors.Is(err, breaker.ErrHostNotResettable), errors.Is(err, breaker.ErrNoProxy), errors.Is(err, ErrNoPolicies),
		errors.Is(err, ErrProxyConnected):
		code = codes.FailedPrecondition
	case errors.Is(err, ErrUnsettled):
		code = codes.Unavailable
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	}
	// A status's message must be valid UTF-8; the error may quote what a client sent.
	return status.Error(code, strings.ToValidUTF8(err.Error(), "\uFFFD"))
}
