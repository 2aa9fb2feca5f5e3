package main

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/breakwater/breakwater/admin/adminpb"
)

// proved is what ResetBreaker and its like call ok.
func (f *fakeAPI) proved() bool {
	if len(f.ordered) == 0 {
		return false
	}
	for _, p := range f.ordered {
		if p.Error != "" {
			return false
		}
	}
	return true
}

func (f *fakeAPI) ForceOpenBreaker(ctx context.Context, req *adminpb.ForceOpenBreakerRequest) (*adminpb.ForceOpenBreakerResponse, error) {
	if req.Service == "nope" {
		return nil, status.Error(codes.NotFound, `unknown service "nope"`)
	}
	resp := &adminpb.ForceOpenBreakerResponse{Service: req.Service, Ok: f.proved(), Proxies: f.ordered, NotSaved: f.unsaved != "", NotSavedReason: f.unsaved}
	if req.Ttl != nil {
		resp.Until = noon
	}
	return resp, f.record(ctx, req)
}

func (f *fakeAPI) DisableBreaker(ctx context.Context, req *adminpb.DisableBreakerRequest) (*adminpb.DisableBreakerResponse, error) {
	return &adminpb.DisableBreakerResponse{Service: req.Service, Ok: f.proved(), Proxies: f.ordered, NotSaved: f.unsaved != "", NotSavedReason: f.unsaved}, f.record(ctx, req)
}

func (f *fakeAPI) ReleaseBreaker(ctx context.Context, req *adminpb.ReleaseBreakerRequest) (*adminpb.ReleaseBreakerResponse, error) {
	return &adminpb.ReleaseBreakerResponse{Service: req.Service, Ok: f.proved(), Proxies: f.ordered, NotSaved: f.unsaved != "", NotSavedReason: f.unsaved}, f.record(ctx, req)
}

func (f *fakeAPI) ListOrders(context.Context, *adminpb.ListOrdersRequest) (*adminpb.ListOrdersResponse, error) {
	return &adminpb.ListOrdersResponse{Orders: f.orders}, nil
}

func (f *fakeAPI) ListEvents(ctx context.Context, req *adminpb.ListEventsRequest) (*adminpb.ListEventsResponse, error) {
	return &adminpb.ListEventsResponse{Events: f.events}, f.record(ctx, req)
}

func (f *fakeAPI) ExplainBreaker(ctx context.Context, req *adminpb.ExplainBreakerRequest) (*adminpb.ExplainBreakerResponse, error) {
	return f.explains, f.record(ctx, req)
}

// WatchEvents sends the events after since, and ends as a server does that stops.
func (f *fakeAPI) WatchEvents(req *adminpb.WatchEventsRequest, stream grpc.ServerStreamingServer[adminpb.WatchEventsResponse]) error {
	if err := f.record(stream.Context(), req); err != nil {
		return err
	}
	if err := stream.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	for _, e := range f.events {
		if e.Id > req.Since {
			if err := stream.Send(&adminpb.WatchEventsResponse{Event: e}); err != nil {
				return err
			}
		}
	}
	return status.Error(codes.Unavailable, "the server is stopping")
}

// WatchBreakers sends a snapshot and two changes, and ends as WatchEvents does.
func (f *fakeAPI) WatchBreakers(req *adminpb.WatchBreakersRequest, stream grpc.ServerStreamingServer[adminpb.WatchBreakersResponse]) error {
	if err := f.record(stream.Context(), req); err != nil {
		return err
	}
	counted := &adminpb.Breaker{Service: "search-service", State: "unknown", Summary: "no proxy is connected"}
	for _, m := range []*adminpb.WatchBreakersResponse{
		{Snapshot: true, Breakers: f.breakers},
		{Breakers: []*adminpb.Breaker{counted}},
		{Breakers: []*adminpb.Breaker{{Service: "search-service", State: "closed", Summary: "closed on 1 of 1 proxy"}}, Removed: []string{"fraud-service"}},
	} {
		if err := stream.Send(m); err != nil {
			return err
		}
	}
	return status.Error(codes.Unavailable, "the server is stopping")
}
