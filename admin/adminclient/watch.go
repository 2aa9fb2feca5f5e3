package adminclient

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/breakwater/breakwater/admin/adminpb"
)

// reconnectDelay is the time until a server that is gone is tried again.
const reconnectDelay = 500 * time.Millisecond

// Change is what Watch tells.
type Change struct {
	// Breakers are those that have changed; all that are watched, if Snapshot is true.
	Breakers []*adminpb.Breaker
	// Snapshot is true for the first change, and for the first after a loss: what is not in Breakers is gone.
	Snapshot bool
	// Removed are the services that are no more.
	Removed []string
	// Lost is why the server can not be heard any more; nil otherwise. What was told before may be
	// out of date until the next snapshot.
	Lost error
}

// Watch calls tell with the breakers of these services, or of all, and with each change of them, until ctx is
// done, whose error it returns, or tell returns an error, which it returns. If the server goes away, tell hears
// of it once, and Watch waits for it to come back. A server that refuses the call ends it.
func (c *Client) Watch(ctx context.Context, tell func(Change) error, services ...string) error {
	lost := false
	for {
		err := c.watchOnce(ctx, services, func(change Change) error {
			lost = false
			return tell(change)
		})
		var stopped *stoppedError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &stopped):
			return stopped.err
		case !errors.Is(err, io.EOF) && status.Code(err) != codes.Unavailable:
			return err
		}
		if !lost {
			lost = true
			if err := tell(Change{Lost: err}); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(reconnectDelay):
		}
	}
}

// stoppedError holds the error with which tell has ended a Watch.
type stoppedError struct{ err error }

func (e *stoppedError) Error() string { return e.err.Error() }

// watchOnce makes the call once. It returns never nil.
func (c *Client) watchOnce(ctx context.Context, services []string, tell func(Change) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.api.WatchBreakers(ctx, &adminpb.WatchBreakersRequest{Services: services})
	if err != nil {
		return err
	}
	var whole Assembler
	for {
		part, err := stream.Recv()
		if err != nil {
			return err
		}
		m := whole.Add(part)
		if m == nil {
			continue
		}
		if err := tell(Change{Breakers: m.GetBreakers(), Snapshot: m.GetSnapshot(), Removed: m.GetRemoved()}); err != nil {
			return &stoppedError{err}
		}
	}
}
