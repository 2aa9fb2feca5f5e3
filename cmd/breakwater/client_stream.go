package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/breakwater/breakwater/admin/adminpb"
)

// stream is a call of the API that goes on until the client ends it.
type stream[T any] struct {
	client *client
	// open begins the call, anew after each loss.
	open func(context.Context, adminpb.AdminServiceClient) (grpc.ServerStreamingClient[T], error)
	// receive takes one message. Its error ends the stream.
	receive func(*T) error
	// lost is told once why the server is gone, and nil once it is back.
	lost func(error) error
	gone bool
}

var errNoAnswer = errors.New("no answer")

// follow receives until the command is interrupted, which is no error. If the server goes
// away it waits for it to come back; only the first time it has to be there, within the
// client's timeout.
func (s *stream[T]) follow(cmd *cobra.Command) error {
	c := s.client
	server, err := c.connect()
	if err != nil {
		return err
	}
	defer server.close()
	for served := false; ; {
		answered, err := s.once(cmd.Context(), server.api, served)
		served = served || answered
		code := status.Code(err)
		switch {
		case cmd.Context().Err() != nil:
			return nil
		case errors.Is(err, errNoAnswer):
			return fmt.Errorf("no answer from %s within %v", c.server, c.timeout)
		case !served || code != codes.Unavailable:
			return c.explain(err, server.dialer)
		}
		if !s.gone {
			s.gone = true
			if err := s.lost(c.explain(err, server.dialer)); err != nil {
				return err
			}
		}
		select {
		case <-cmd.Context().Done():
			return nil
		case <-time.After(reconnectDelay):
		}
	}
}

// once makes the call once and reports whether the server answered. again is true if it has
// answered before.
func (s *stream[T]) once(ctx context.Context, api adminpb.AdminServiceClient, again bool) (answered bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := time.AfterFunc(s.client.timeout, func() {
		if !again {
			cancel(errNoAnswer)
		}
	})
	defer patience.Stop()
	calls, err := s.open(ctx, api)
	if err != nil {
		return false, err
	}
	// A call that fails has no headers, and its error comes from Recv.
	header, err := calls.Header()
	if answered = err == nil && header != nil; answered {
		patience.Stop()
		if s.gone {
			s.gone = false
			if err := s.lost(nil); err != nil {
				return true, err
			}
		}
	}
	for {
		m, err := calls.Recv()
		switch {
		case errors.Is(context.Cause(ctx), errNoAnswer):
			return answered, errNoAnswer
		case errors.Is(err, io.EOF):
			return answered, status.Error(codes.Unavailable, "the server has ended the call")
		case err != nil:
			return answered, err
		}
		if err := s.receive(m); err != nil {
			return answered, err
		}
	}
}
