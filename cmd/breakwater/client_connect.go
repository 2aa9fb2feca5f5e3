package main

import (
	"context"
	"net"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

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
	return c.explain(do(ctx, s.api), s.dialer)
}

// checkServices fails if there is no service of one of these names. The API shows nothing of such a service, and does not
// fail, for it may come.
func (c *client) checkServices(cmd *cobra.Command, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	return c.call(cmd, func(ctx context.Context, api adminpb.AdminServiceClient) error {
		for _, name := range names {
			if _, err := api.GetBreaker(ctx, &adminpb.GetBreakerRequest{Service: name, PageSize: 1}); err != nil {
				return err
			}
		}
		return nil
	})
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
	conn, err := grpc.NewClient("passthrough:///"+c.server, // the dialer looks the name up, and knows why it can not
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

// contextOf is cmd's context, which is nil if the root was run without one.
func contextOf(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}
