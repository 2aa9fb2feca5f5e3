package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/breakwater/breakwater/admin/adminpb"
)

const (
	defaultServer = "127.0.0.1:8082"
	// readTimeout bounds a call that only reads.
	readTimeout = 10 * time.Second
	// planTimeout bounds a plan, which may be of thousands of services and waits for the plan before it.
	planTimeout = 30 * time.Second
	// resetTimeout bounds a reset, which waits for every proxy.
	resetTimeout = 40 * time.Second
	// completionTimeout bounds what a shell's completion waits for.
	completionTimeout = 2 * time.Second
	// reconnectDelay and maxReconnectDelay bound the time until a client that follows
	// tries a server again that is gone.
	reconnectDelay    = 500 * time.Millisecond
	maxReconnectDelay = 3 * time.Second
)

// client is what the commands that ask a running server have in common.
type client struct {
	server  string
	output  string
	timeout time.Duration
}

// addFlags adds the flags of a client whose calls take at most timeout by default.
func (c *client) addFlags(cmd *cobra.Command, timeout time.Duration) {
	f := cmd.Flags()
	f.StringVar(&c.server, "server", defaultServer, "host:port of the server's gRPC API")
	f.StringVarP(&c.output, "output", "o", outputTable, "table, json or yaml")
	f.DurationVar(&c.timeout, "timeout", timeout, "how long to wait for the server's answer")
	// The flag exists, so that registering its completion can not fail.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{outputTable, outputJSON, outputYAML}, cobra.ShellCompDirectiveNoFileComp))
	cmd.SetFlagErrorFunc(usageFlagError)
}

// call checks the common flags, connects, and runs do within the timeout. It puts
// do's gRPC error into words.
func (c *client) call(cmd *cobra.Command, do func(context.Context, adminpb.AdminServiceClient) error) error {
	s, err := c.connect()
	if err != nil {
		return err
	}
	defer s.close()
	ctx, cancel := context.WithTimeout(cmd.Context(), c.timeout)
	defer cancel()
	return c.explain(do(ctx, s.api), s.dialer.lastError())
}

// session is a connection to a server, which may not be there.
type session struct {
	api    adminpb.AdminServiceClient
	dialer *dialer
	close  func()
}

// connect checks the common flags. It waits for nothing. The caller must close the session.
func (c *client) connect() (session, error) {
	if err := checkOutput(c.output); err != nil {
		return session{}, err
	}
	if _, _, err := net.SplitHostPort(c.server); err != nil {
		return session{}, usagef("server %q is not of the form host:port", c.server)
	}
	if c.timeout <= 0 {
		return session{}, usagef("timeout %v is not above 0", c.timeout)
	}
	var d dialer
	conn, err := grpc.NewClient(c.server,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(d.dial),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: reconnectDelay, Multiplier: 1.5, Jitter: 0.2, MaxDelay: maxReconnectDelay},
			MinConnectTimeout: c.timeout,
		}),
		grpc.WithUserAgent("breakwater-cli"))
	if err != nil {
		return session{}, usagef("server %q: %w", c.server, err)
	}
	return session{api: adminpb.NewAdminServiceClient(conn), dialer: &d, close: func() { _ = conn.Close() }}, nil
}

// explain says in one line what went wrong with a call. dialErr is the last error of
// connecting; nil if there was none.
func (c *client) explain(err, dialErr error) error {
	st, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	switch {
	case st.Code() == codes.Unavailable && dialErr != nil:
		cause := dialErr
		var errno syscall.Errno
		if errors.As(dialErr, &errno) {
			cause = errno
		}
		return fmt.Errorf("no server at %s (%w): start one with `breakwater serve` or `breakwater run`, or name another with --server or %s",
			c.server, cause, envVar("server"))
	case st.Code() == codes.DeadlineExceeded:
		return fmt.Errorf("no answer from %s within %v", c.server, c.timeout)
	case st.Code() == codes.Unimplemented:
		return fmt.Errorf("the server at %s does not know this call: it may be of another version (%s)", c.server, oneLine(st.Message()))
	case st.Code() == codes.Unavailable:
		return fmt.Errorf("no answer from %s: %s", c.server, oneLine(st.Message()))
	}
	return errors.New(oneLine(st.Message()))
}

// dialer remembers why connecting failed: gRPC itself gives only a text.
type dialer struct {
	mu  sync.Mutex // guards the following
	err error
}

func (d *dialer) dial(ctx context.Context, addr string) (net.Conn, error) {
	var nd net.Dialer
	conn, err := nd.DialContext(ctx, "tcp", addr)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
	return conn, err
}

func (d *dialer) lastError() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// contextOf is cmd's context, which is nil if the root was run without one.
func contextOf(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}
