package admin

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/breaker"
)

func (s *service) ForceOpenBreaker(ctx context.Context, req *adminpb.ForceOpenBreakerRequest) (*adminpb.ForceOpenBreakerResponse, error) {
	ttl, err := ttlOf(req.GetTtl())
	if err != nil {
		return nil, err
	}
	result, err := s.order(ctx, breaker.OrderRequest{
		Service: req.GetService(), Proxy: req.GetProxy(), State: breaker.ForcedOpen, TTL: ttl,
		Action: breaker.Action{Actor: req.GetActor(), Reason: req.GetReason()},
	})
	if err != nil {
		return nil, err
	}
	return &adminpb.ForceOpenBreakerResponse{
		Service: result.Service, Ok: result.OK(), Until: timestampProto(result.Until), Proxies: each(result.Proxies, proxyOrderProto),
	}, nil
}

func (s *service) DisableBreaker(ctx context.Context, req *adminpb.DisableBreakerRequest) (*adminpb.DisableBreakerResponse, error) {
	ttl, err := ttlOf(req.GetTtl())
	if err != nil {
		return nil, err
	}
	result, err := s.order(ctx, breaker.OrderRequest{
		Service: req.GetService(), State: breaker.Disabled, TTL: ttl,
		Action: breaker.Action{Actor: req.GetActor(), Reason: req.GetReason()},
	})
	if err != nil {
		return nil, err
	}
	return &adminpb.DisableBreakerResponse{
		Service: result.Service, Ok: result.OK(), Until: timestampProto(result.Until), Proxies: each(result.Proxies, proxyOrderProto),
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
	}, nil
}

// ttlOf is 0 for an unset duration. Its error is a gRPC status.
func ttlOf(d *durationpb.Duration) (time.Duration, error) {
	if d == nil {
		return 0, nil
	}
	if err := d.CheckValid(); err != nil {
		return 0, status.Errorf(codes.InvalidArgument, "ttl is no duration: %v", err)
	}
	return d.AsDuration(), nil
}

// order checks the request, has the model do it and logs who did what. Its errors are
// gRPC statuses.
func (s *service) order(ctx context.Context, req breaker.OrderRequest) (breaker.OrderResult, error) {
	if err := admit(ctx, "service", req.Service, &req.Action); err != nil {
		return breaker.OrderResult{}, err
	}
	log := s.log.With("service", req.Service, "proxy", req.Proxy, "state", req.State, "ttl", req.TTL, "actor", req.Actor, "reason", req.Reason)
	result, err := s.model.Order(ctx, req)
	if err != nil {
		log.Warn("order refused", "error", err)
		return breaker.OrderResult{}, toStatus(err)
	}
	log.Info("order", "ok", result.OK())
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
