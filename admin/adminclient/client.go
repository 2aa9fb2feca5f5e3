// Package adminclient is a Go client of Breakwater's admin API: it lists and follows breakers, and
// resets, forces and releases them.
//
// It is for programs that operate Breakwater (a deployment that forces a service open, a bot that resets
// one), not for callers of services, which need nothing but the gateway's replies. Its one invariant: an
// action returns no error only if every proxy has proved it.
package adminclient

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/breakwater/breakwater/admin/adminpb"
)

// DefaultServer is where Breakwater's gRPC API listens unless it is told otherwise.
const DefaultServer = "127.0.0.1:8082"

// Client is a connection to one Breakwater. Its methods may be called from any goroutine.
type Client struct {
	// conn is nil if it is the caller's.
	conn *grpc.ClientConn
	api  adminpb.AdminServiceClient
}

// New returns a client of the server at host:port, or at another target of gRPC's with its scheme, such as
// dns:///breakwater:8082 or unix:/run/breakwater.sock. It waits for nothing: whether the server is there, the
// first call says. Without options the connection has no TLS. The caller must close the client.
func New(server string, opts ...grpc.DialOption) (*Client, error) {
	if !hasScheme(server) {
		if _, _, err := net.SplitHostPort(server); err != nil {
			return nil, fmt.Errorf("server %q is not of the form host:port: %w", server, err)
		}
	}
	opts = append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, opts...)
	conn, err := grpc.NewClient(server, opts...)
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", server, err)
	}
	return &Client{conn: conn, api: adminpb.NewAdminServiceClient(conn)}, nil
}

// hasScheme reports whether gRPC takes a target by its scheme. That of host:port would be the host; a scheme of
// a resolver that is given as an option is known by its slashes.
func hasScheme(target string) bool {
	scheme, _, _ := strings.Cut(target, ":")
	return resolver.Get(scheme) != nil || strings.Contains(target, "://")
}

// Over returns a client over a connection that the caller has. Close does nothing then.
func Over(api adminpb.AdminServiceClient) *Client { return &Client{api: api} }

// Close ends all calls.
func (c *Client) Close() error {
	if c.conn == nil {
		return nil
	}
	return c.conn.Close()
}

// API is the whole API, for what has no method here.
func (c *Client) API() adminpb.AdminServiceClient { return c.api }

// Action says who acts, why, and on what. The zero value acts on all of a service.
type Action struct {
	// Actor and Reason are kept in the events. An empty Actor is the client's address; ForceOpen and Disable need a Reason.
	Actor, Reason string
	// TTL is how long ForceOpen and Disable hold; 0: 15 minutes, or until Release if ForEver is true. It excludes ForEver.
	TTL     time.Duration
	ForEver bool
	// Proxy is the id of the one proxy that ForceOpen and Release act on; empty for all.
	Proxy string
	// Host is the one host, ip:port, that Reset acts on; empty for all.
	Host string
}

// Reset closes the breaker of a service on all proxies, and takes its ejected hosts back. It fails with an
// *UnprovedError if a proxy did not prove it.
func (c *Client) Reset(ctx context.Context, service string, a Action) error {
	resp, err := c.api.ResetBreaker(ctx, &adminpb.ResetBreakerRequest{Service: service, Host: a.Host, Actor: a.Actor, Reason: a.Reason})
	if err != nil || resp.GetOk() {
		return err
	}
	return unproved("reset", service, resp.GetProxies())
}

// ForceOpen keeps every request from a service. It fails with an *UnprovedError if a proxy did not prove
// it or none is connected; the order holds nevertheless, for that proxy too as soon as it can be reached.
func (c *Client) ForceOpen(ctx context.Context, service string, a Action) error {
	resp, err := c.api.ForceOpenBreaker(ctx, &adminpb.ForceOpenBreakerRequest{
		Service: service, Proxy: a.Proxy, Ttl: a.ttl(), ForEver: a.ForEver, Actor: a.Actor, Reason: a.Reason,
	})
	if err != nil || resp.GetOk() {
		return err
	}
	return unproved("force-open", service, resp.GetProxies())
}

// Disable turns the breaker of a service off on all proxies. Errors are as of ForceOpen.
func (c *Client) Disable(ctx context.Context, service string, a Action) error {
	resp, err := c.api.DisableBreaker(ctx, &adminpb.DisableBreakerRequest{Service: service, Ttl: a.ttl(), ForEver: a.ForEver, Actor: a.Actor, Reason: a.Reason})
	if err != nil || resp.GetOk() {
		return err
	}
	return unproved("disable", service, resp.GetProxies())
}

// Release ends what ForceOpen or Disable has ordered. Errors are as of ForceOpen.
func (c *Client) Release(ctx context.Context, service string, a Action) error {
	resp, err := c.api.ReleaseBreaker(ctx, &adminpb.ReleaseBreakerRequest{Service: service, Proxy: a.Proxy, Actor: a.Actor, Reason: a.Reason})
	if err != nil || resp.GetOk() {
		return err
	}
	return unproved("release", service, resp.GetProxies())
}

func (a Action) ttl() *durationpb.Duration {
	if a.TTL == 0 {
		return nil
	}
	return durationpb.New(a.TTL)
}

// UnprovedError says which proxies did not prove an action.
type UnprovedError struct {
	Action, Service string
	// Proxies has what each of them said, by its id; empty if the action reached none.
	Proxies map[string]string
}

func (e *UnprovedError) Error() string {
	if len(e.Proxies) == 0 {
		return fmt.Sprintf("%s %s reached no proxy: none is connected that it is for", e.Action, e.Service)
	}
	var said []string
	for _, proxy := range slices.Sorted(maps.Keys(e.Proxies)) {
		said = append(said, proxy+": "+e.Proxies[proxy])
	}
	return fmt.Sprintf("%s %s is not proved by every proxy: %s", e.Action, e.Service, strings.Join(said, "; "))
}

// proof is what one proxy answered to an action.
type proof interface {
	GetProxy() string
	GetError() string
}

func unproved[P proof](action, service string, proxies []P) error {
	e := &UnprovedError{Action: action, Service: service, Proxies: map[string]string{}}
	for _, p := range proxies {
		if p.GetError() != "" {
			e.Proxies[p.GetProxy()] = p.GetError()
		}
	}
	return e
}
