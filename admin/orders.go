package admin

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/breaker"
)

// defaultTTL is how long an override holds for which neither a TTL nor for_ever is given.
const defaultTTL = 15 * time.Minute

func (s *service) ForceOpenBreaker(ctx context.Context, req *adminpb.ForceOpenBreakerRequest) (*adminpb.ForceOpenBreakerResponse, error) {
	result, err := s.override(ctx, req, breaker.OrderRequest{
		Service: req.GetService(), Proxy: req.GetProxy(), State: breaker.ForcedOpen,
		Action: breaker.Action{Actor: req.GetActor(), Reason: req.GetReason()},
	})
	if err != nil {
		return nil, err
	}
	return &adminpb.ForceOpenBreakerResponse{
		Service: result.Service, Ok: result.OK(), Until: timestampProto(result.Until), Proxies: each(result.Proxies, proxyOrderProto),
		NotSaved: result.NotSaved != "", NotSavedReason: result.NotSaved,
	}, nil
}

func (s *service) DisableBreaker(ctx context.Context, req *adminpb.DisableBreakerRequest) (*adminpb.DisableBreakerResponse, error) {
	result, err := s.override(ctx, req, breaker.OrderRequest{
		Service: req.GetService(), State: breaker.Disabled,
		Action: breaker.Action{Actor: req.GetActor(), Reason: req.GetReason()},
	})
	if err != nil {
		return nil, err
	}
	return &adminpb.DisableBreakerResponse{
		Service: result.Service, Ok: result.OK(), Until: timestampProto(result.Until), Proxies: each(result.Proxies, proxyOrderProto),
		NotSaved: result.NotSaved != "", NotSavedReason: result.NotSaved,
	}, nil
}

func (s *service) ReleaseBreaker(ctx context.Context, req *adminpb.ReleaseBreakerRequest) (*adminpb.ReleaseBreakerResponse, error) {
	result, err := s.order(ctx, breaker.OrderRequest{
		Service: req.GetService(), Proxy: req.GetProxy(), State: breaker.Closed,
		Action: breaker.Action{Actor: req.GetActor(), Reason: req.GetReason()},
	})
	if err != nil {
		return nil, err
	}
	return &adminpb.ReleaseBreakerResponse{
		Service: result.Service, Ok: result.OK(), Proxies: each(result.Proxies, proxyOrderProto),
		NotSaved: result.NotSaved != "", NotSavedReason: result.NotSaved,
	}, nil
}

// lasting is a request that says how long an override is to hold.
type lasting interface {
	GetTtl() *durationpb.Duration
	GetForEver() bool
}

// override is order for a state that holds as long as asked says. Its errors are gRPC statuses.
func (s *service) override(ctx context.Context, asked lasting, req breaker.OrderRequest) (breaker.OrderResult, error) {
	if req.Service != "" && strings.TrimSpace(req.Reason) == "" {
		return breaker.OrderResult{}, status.Error(codes.InvalidArgument, "reason is empty: an override needs one")
	}
	var err error
	if req.TTL, err = ttlOf(asked); err != nil {
		return breaker.OrderResult{}, err
	}
	return s.order(ctx, req)
}

// ttlOf is how long an override is to hold: 0 until it is released. Its error is a gRPC status.
func ttlOf(asked lasting) (time.Duration, error) {
	ttl := asked.GetTtl()
	switch {
	case ttl != nil && asked.GetForEver():
		return 0, status.Error(codes.InvalidArgument, "ttl and for_ever exclude each other")
	case asked.GetForEver():
		return 0, nil
	case ttl == nil:
		return defaultTTL, nil
	}
	if err := ttl.CheckValid(); err != nil {
		return 0, status.Errorf(codes.InvalidArgument, "ttl is no duration: %v", err)
	}
	if d := ttl.AsDuration(); d > 0 {
		return d, nil
	}
	return 0, status.Errorf(codes.InvalidArgument, "ttl is %s and must be positive; for_ever is for an override without an end", ttl.AsDuration())
}

// order checks the request, has the model do it and logs who did what. Its errors are
// gRPC statuses.
func (s *service) order(ctx context.Context, req breaker.OrderRequest) (breaker.OrderResult, error) {
	if err := admit(ctx, "service", req.Service, &req.Action); err != nil {
		return breaker.OrderResult{}, err
	}
	log := s.log.With("service", req.Service, "state", req.State, "actor", req.Actor, "reason", req.Reason)
	if req.Proxy != "" {
		log = log.With("proxy", req.Proxy)
	}
	result, err := s.model.Order(ctx, req)
	if err != nil {
		log.Warn("order refused", "error", err)
		return breaker.OrderResult{}, toStatus(err)
	}
	if !result.Until.IsZero() {
		log = log.With("until", result.Until.UTC().Format(time.RFC3339))
	}
	log.Info("order", "ok", result.OK(), "not_saved", result.NotSaved != "")
	return result, nil
}

func (s *service) ListOrders(ctx context.Context, req *adminpb.ListOrdersRequest) (*adminpb.ListOrdersResponse, error) {
	p, err := s.newPager(req)
	if err != nil {
		return nil, err
	}
	orders, err := s.model.Orders(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	resp := &adminpb.ListOrdersResponse{}
	key := func(o breaker.StandingOrder) string { return keyOf(o.Service, o.Proxy) }
	resp.Orders, resp.NextPageToken = fillPage(p, orders, key, standingOrderProto)
	return resp, nil
}

func (s *service) ExplainBreaker(ctx context.Context, req *adminpb.ExplainBreakerRequest) (*adminpb.ExplainBreakerResponse, error) {
	if req.GetService() == "" {
		return nil, status.Error(codes.InvalidArgument, "service is empty")
	}
	explanation, err := s.model.Explain(ctx, req.GetService())
	if err != nil {
		return nil, toStatus(err)
	}
	return explanationProto(explanation), nil
}
