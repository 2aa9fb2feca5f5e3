package adminclient

import (
	"context"
	"iter"

	"github.com/breakwater/breakwater/admin/adminpb"
)

// Pages makes a call for each page of what an answer of the API has no room for. Call gets the page_token; the sequence
// ends with the first error.
func Pages[R interface{ GetNextPageToken() string }](call func(token string) (R, error)) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		for token := ""; ; {
			page, err := call(token)
			token = page.GetNextPageToken()
			if !yield(page, err) || err != nil || token == "" {
				return
			}
		}
	}
}

// Breakers returns every breaker, by the names of the services. Errors are gRPC statuses, as of all methods.
func (c *Client) Breakers(ctx context.Context) ([]*adminpb.Breaker, error) {
	return c.breakers(ctx, &adminpb.ListBreakersRequest{})
}

// Summaries is Breakers without the proxies: what they come to is in each breaker's overview.
func (c *Client) Summaries(ctx context.Context) ([]*adminpb.Breaker, error) {
	return c.breakers(ctx, &adminpb.ListBreakersRequest{Summary: true})
}

func (c *Client) breakers(ctx context.Context, req *adminpb.ListBreakersRequest) ([]*adminpb.Breaker, error) {
	var out []*adminpb.Breaker
	for page, err := range Pages(func(token string) (*adminpb.ListBreakersResponse, error) {
		req.PageToken = token
		return c.api.ListBreakers(ctx, req)
	}) {
		if err != nil {
			return nil, err
		}
		out = join(out, page.GetBreakers())
	}
	return out, nil
}

// join appends breakers, and puts one that is continued together with what there is of it.
func join(out, more []*adminpb.Breaker) []*adminpb.Breaker {
	for _, b := range more {
		if last := len(out) - 1; b.GetContinued() && last >= 0 && out[last].GetService() == b.GetService() {
			out[last].Proxies = append(out[last].Proxies, b.GetProxies()...)
			continue
		}
		out = append(out, b)
	}
	return out
}

// Breaker returns the breaker of a service. Of a service that there is none of, the status is NotFound.
func (c *Client) Breaker(ctx context.Context, service string) (*adminpb.Breaker, error) {
	var out []*adminpb.Breaker
	for page, err := range Pages(func(token string) (*adminpb.GetBreakerResponse, error) {
		return c.api.GetBreaker(ctx, &adminpb.GetBreakerRequest{Service: service, PageToken: token})
	}) {
		if err != nil {
			return nil, err
		}
		out = join(out, []*adminpb.Breaker{page.GetBreaker()})
	}
	return out[0], nil
}

// Proxies returns all proxies: those that are connected, and those that are disconnected.
func (c *Client) Proxies(ctx context.Context) (*adminpb.ListProxiesResponse, error) {
	out := &adminpb.ListProxiesResponse{}
	for page, err := range Pages(func(token string) (*adminpb.ListProxiesResponse, error) {
		return c.api.ListProxies(ctx, &adminpb.ListProxiesRequest{PageToken: token})
	}) {
		if err != nil {
			return nil, err
		}
		out.Proxies = append(out.Proxies, page.GetProxies()...)
		out.Missed = append(out.Missed, page.GetMissed()...)
	}
	return out, nil
}

// Orders returns the orders of the operators that are in force.
func (c *Client) Orders(ctx context.Context) ([]*adminpb.StandingOrder, error) {
	var out []*adminpb.StandingOrder
	for page, err := range Pages(func(token string) (*adminpb.ListOrdersResponse, error) {
		return c.api.ListOrders(ctx, &adminpb.ListOrdersRequest{PageToken: token})
	}) {
		if err != nil {
			return nil, err
		}
		out = append(out, page.GetOrders()...)
	}
	return out, nil
}

// Events returns the newest events, at most limit of them (0: all that are kept), from the oldest to the newest; of one
// service, unless that is empty.
func (c *Client) Events(ctx context.Context, service string, limit uint32) ([]*adminpb.Event, error) {
	var out []*adminpb.Event
	for page, err := range Pages(func(token string) (*adminpb.ListEventsResponse, error) {
		return c.api.ListEvents(ctx, &adminpb.ListEventsRequest{Service: service, Limit: limit, PageToken: token})
	}) {
		if err != nil {
			return nil, err
		}
		out = append(out, page.GetEvents()...)
	}
	return out, nil
}

// Assembler puts the messages of WatchBreakers together that one change is split into. The zero value is ready.
type Assembler struct {
	parts *adminpb.WatchBreakersResponse
}

// Add takes the next message of a stream, and returns the change that is complete with it; nil if there is more to come.
func (a *Assembler) Add(m *adminpb.WatchBreakersResponse) *adminpb.WatchBreakersResponse {
	if m.GetSnapshot() || a.parts == nil {
		a.parts = &adminpb.WatchBreakersResponse{Snapshot: m.GetSnapshot()}
	}
	a.parts.Breakers = join(a.parts.GetBreakers(), m.GetBreakers())
	a.parts.Removed = append(a.parts.GetRemoved(), m.GetRemoved()...)
	if m.GetMore() {
		return nil
	}
	change := a.parts
	a.parts = nil
	return change
}
