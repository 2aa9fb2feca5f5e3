package admin

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

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
	// pageBytes bounds a page: maxPage or maxHTTPPage.
	pageBytes int
	// streams has room for those who watch, by gRPC and by HTTP.
	streams chan struct{}
	// stopping is done once the server stops: it ends the streams.
	stopping context.Context
	// planning has room for the one plan that is being made.
	planning chan struct{}
	// planRoom is the room for those that wait.
	planRoom *planRoom
}

func (s *service) ListBreakers(ctx context.Context, req *adminpb.ListBreakersRequest) (*adminpb.ListBreakersResponse, error) {
	p, err := s.newPager(req)
	if err != nil {
		return nil, err
	}
	// The key is the last service's name; of a breaker of which only a part had room, with the last proxy's id.
	from, proxy, inside := strings.Cut(p.after, keySeparator)
	breakers, err := s.model.Breakers(ctx, breaker.Query{From: from, Proxies: !req.GetSummary()})
	if err != nil {
		return nil, toStatus(err)
	}
	resp := &adminpb.ListBreakersResponse{}
	for b := range breakers {
		continued := false
		if b.Service == from {
			b.Proxies = behind(b.Proxies, proxy)
			if continued = inside && len(b.Proxies) > 0; !continued {
				continue
			}
		}
		message, rest := breakerProto(b), (*adminpb.Breaker)(nil)
		message.Continued = continued
		key := b.Service
		if p.empty {
			if message, rest = split(message, p.bytes); rest != nil {
				key = keyOf(key, message.GetProxies()[len(message.GetProxies())-1].GetProxy())
			}
		}
		taken := p.take(key, proto.Size(message))
		if taken {
			resp.Breakers = append(resp.Breakers, message)
		}
		if !taken || rest != nil {
			resp.NextPageToken = p.next()
			break
		}
	}
	return resp, nil
}

// behind are the proxies after the one of an id.
func behind(proxies []breaker.ProxyBreaker, id string) []breaker.ProxyBreaker {
	i := sort.Search(len(proxies), func(i int) bool { return proxies[i].Proxy > id })
	return proxies[i:]
}

func (s *service) GetBreaker(ctx context.Context, req *adminpb.GetBreakerRequest) (*adminpb.GetBreakerResponse, error) {
	if req.GetService() == "" {
		return nil, status.Error(codes.InvalidArgument, "service is empty")
	}
	p, err := s.newPager(req)
	if err != nil {
		return nil, err
	}
	b, err := s.model.Breaker(ctx, req.GetService())
	if err != nil {
		return nil, toStatus(err)
	}
	windows, err := s.model.Windows(ctx, req.GetService())
	if err != nil {
		return nil, toStatus(err)
	}
	resp := &adminpb.GetBreakerResponse{Breaker: summaryProto(b)}
	resp.Breaker.Continued = p.after != ""
	p.bytes -= proto.Size(resp)
	for _, x := range behind(b.Proxies, p.after) {
		proxy := proxyBreakerProto(x)
		size, window := proto.Size(proxy), (*adminpb.ProxyWindow)(nil)
		if i, ok := slices.BinarySearchFunc(windows, x.Proxy, func(w breaker.ProxyWindow, id string) int { return cmp.Compare(w.Proxy, id) }); ok {
			window = windowProto(windows[i])
			size += proto.Size(window)
		}
		if !p.take(x.Proxy, size) {
			resp.NextPageToken = p.next()
			break
		}
		resp.Breaker.Proxies = append(resp.Breaker.Proxies, proxy)
		if window != nil {
			resp.Windows = append(resp.Windows, window)
		}
	}
	return resp, nil
}

func (s *service) GetTraffic(ctx context.Context, req *adminpb.GetTrafficRequest) (*adminpb.GetTrafficResponse, error) {
	if req.GetService() == "" {
		return nil, status.Error(codes.InvalidArgument, "service is empty")
	}
	p, err := s.newPager(req)
	if err != nil {
		return nil, err
	}
	t, err := s.model.Traffic(ctx, req.GetService())
	if err != nil {
		return nil, toStatus(err)
	}
	resp := &adminpb.GetTrafficResponse{Service: t.Service, Time: timestampProto(t.Time)}
	resp.Proxies, resp.NextPageToken = fillPage(p, t.Proxies, func(p breaker.ProxyTraffic) string { return p.Proxy }, proxyTrafficProto)
	return resp, nil
}

func (s *service) GetHistory(ctx context.Context, req *adminpb.GetHistoryRequest) (*adminpb.GetHistoryResponse, error) {
	p, err := s.newPager(req)
	if err != nil {
		return nil, err
	}
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
	resp := historyProto(h)
	resp.Services, resp.NextPageToken = fillPage(p, h.Services, func(s breaker.ServiceHistory) string { return s.Service }, serviceHistoryProto)
	return resp, nil
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

func (s *service) ListProxies(ctx context.Context, req *adminpb.ListProxiesRequest) (*adminpb.ListProxiesResponse, error) {
	p, err := s.newPager(req)
	if err != nil {
		return nil, err
	}
	proxies, err := s.model.Proxies(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	disconnectedProxies, err := s.model.Disconnected(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	// One list, with the disconnected behind the others.
	resp := &adminpb.ListProxiesResponse{}
	const connected, disconnected = "1", "2"
	if p.after == "" || strings.HasPrefix(p.after, connected) {
		resp.Proxies, resp.NextPageToken = fillPage(p, proxies, func(p Proxy) string { return keyOf(connected, p.ID) }, proxyProto)
	}
	if resp.NextPageToken == "" {
		key := func(p DisconnectedProxy) string { return keyOf(disconnected, p.ID) }
		resp.Missed, resp.NextPageToken = fillPage(p, disconnectedProxies, key, disconnectedProxyProto)
	}
	return resp, nil
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
	return &adminpb.ForgetProxyResponse{Proxy: disconnectedProxyProto(proxy), NotSaved: unsaved != "", NotSavedReason: unsaved}, nil
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
