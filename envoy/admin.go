package envoy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const (
	// defaultAdminTimeout bounds one admin call: with 5,000 clusters Envoy's main
	// thread takes 0.2 s for the largest.
	defaultAdminTimeout = 5 * time.Second
	// defaultMaxResponse bounds a reply: 5,000 clusters of two hosts are 9.7 MB.
	defaultMaxResponse = 64 << 20
	// maxState bounds the part of a reply other than 200 that is read, for Envoy's state.
	maxState = 64
)

// errNotEnvoy: something answers, but not as Envoy's admin API does. What it said is not quoted: any server can be
// behind an address that a node names, and not all who see the error may see that server.
var errNotEnvoy = errors.New("the reply is not one of Envoy's admin API")

// LogLevels are the levels that Envoy's /logging knows.
var LogLevels = []string{"trace", "debug", "info", "warning", "error", "critical", "off"}

// Admin asks one Envoy's admin API. It keeps an idle connection open: call Close
// when it is no longer needed. Its methods may be called from any goroutine.
type Admin struct {
	addr        string
	client      *http.Client
	transport   *http.Transport
	maxResponse int64
	observe     func(path string, took time.Duration, err error)
}

// AdminOption changes how NewAdmin's client behaves.
type AdminOption func(*Admin)

// WithTimeout bounds each call, from dialling to the last byte of the reply. The
// default is 5 s.
func WithTimeout(d time.Duration) AdminOption {
	return func(a *Admin) { a.client.Timeout = d }
}

// WithMaxResponse bounds the size of each reply in bytes. The default is 64 MiB.
func WithMaxResponse(n int64) AdminOption {
	return func(a *Admin) { a.maxResponse = n }
}

// WithObserver is told of each call when it has ended: its path without the query, how long it took, and
// its error.
func WithObserver(observe func(path string, took time.Duration, err error)) AdminOption {
	return func(a *Admin) { a.observe = observe }
}

// NewAdmin returns a client of the admin API at addr, a host:port. It does not
// connect yet.
func NewAdmin(addr string, opts ...AdminOption) *Admin {
	transport := &http.Transport{
		// No proxy from the environment: an admin API is never behind one.
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     30 * time.Second,
	}
	a := &Admin{
		addr:      addr,
		transport: transport,
		client: &http.Client{
			Transport:     transport,
			Timeout:       defaultAdminTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		maxResponse: defaultMaxResponse,
	}
	for _, opt := range opts {
		opt(a)
	}
	return a
}

// Addr is the host:port that NewAdmin was given.
func (a *Admin) Addr() string { return a.addr }

// Close closes idle connections. Calls in flight are not disturbed.
func (a *Admin) Close() { a.transport.CloseIdleConnections() }

// StatusError is a reply of the admin API other than 200. It has nothing of the reply but what is known beforehand, for
// the reason of errNotEnvoy.
type StatusError struct {
	Method, Path string
	Code         int
	// State is Envoy's state, such as PRE_INITIALIZING, if the reply is no more than that; otherwise empty.
	State string
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s %s: %d", e.Method, e.Path, e.Code)
	if name := http.StatusText(e.Code); name != "" {
		text += " " + name
	}
	if e.State != "" {
		text += ": " + e.State
	}
	return text
}

// Ready returns nil if Envoy is live: it has its first configuration and serves.
// Otherwise the error carries Envoy's state, such as PRE_INITIALIZING.
func (a *Admin) Ready(ctx context.Context) error {
	_, err := a.call(ctx, http.MethodGet, "/ready", nil)
	return err
}

// ServerInfo returns Envoy's version, state, uptime, command line and node.
func (a *Admin) ServerInfo(ctx context.Context) (*adminv3.ServerInfo, error) {
	info := &adminv3.ServerInfo{}
	if err := a.getProto(ctx, "/server_info", nil, info); err != nil {
		return nil, err
	}
	return info, nil
}

// SetLogLevel sets the level of all of Envoy's loggers to one of LogLevels. It
// lasts until Envoy restarts.
func (a *Admin) SetLogLevel(ctx context.Context, level string) error {
	if !slices.Contains(LogLevels, level) {
		return fmt.Errorf("log level %q: must be one of %s", level, strings.Join(LogLevels, ", "))
	}
	_, err := a.call(ctx, http.MethodPost, "/logging", url.Values{"level": {level}})
	return err
}

// getProto decodes the JSON reply into m. Fields that this build's protos do not
// know are ignored: a newer Envoy may send them.
func (a *Admin) getProto(ctx context.Context, path string, query url.Values, m proto.Message) error {
	body, err := a.call(ctx, http.MethodGet, path, query)
	if err != nil {
		return err
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, m); err != nil {
		return a.notEnvoy(path)
	}
	return nil
}

// notEnvoy is the error of a reply to GET that cannot be decoded.
func (a *Admin) notEnvoy(path string) error {
	return fmt.Errorf("envoy admin %s: GET %s: %w", a.addr, path, errNotEnvoy)
}

// call returns the body of a reply with code 200, and an error for any other.
func (a *Admin) call(ctx context.Context, method, path string, query url.Values) ([]byte, error) {
	start := time.Now()
	body, err := a.roundTrip(ctx, method, path, query)
	if a.observe != nil {
		a.observe(path, time.Since(start), err)
	}
	if err != nil {
		// url.Error would repeat the whole URL, a filter of thousands of bytes included.
		var urlErr *url.Error
		if errors.As(err, &urlErr) {
			err = fmt.Errorf("%s %s: %w", method, path, unquoted(urlErr.Err))
		}
		return nil, fmt.Errorf("envoy admin %s: %w", a.addr, err)
	}
	return body, nil
}

func (a *Admin) roundTrip(ctx context.Context, method, path string, query url.Values) ([]byte, error) {
	u := url.URL{Scheme: "http", Host: a.addr, Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		e := &StatusError{Method: method, Path: path, Code: resp.StatusCode}
		// The code tells more than a failure to read the rest.
		start, _ := io.ReadAll(io.LimitReader(resp.Body, maxState))
		if state := strings.TrimSpace(string(start)); adminv3.ServerInfo_State_value[state] != 0 {
			e.State = state
		}
		return nil, e
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, a.maxResponse+1))
	if err != nil {
		return nil, fmt.Errorf("%s %s: reading the reply: %w", method, path, unquoted(err))
	}
	if int64(len(body)) > a.maxResponse {
		return nil, fmt.Errorf("%s %s: the reply is larger than %d bytes", method, path, a.maxResponse)
	}
	return body, nil
}

// unquoted is an error of net/http's without what the other side has sent: of what is no HTTP it quotes the beginning.
func unquoted(err error) error {
	var network *net.OpError
	var timeout interface{ Timeout() bool }
	if errors.As(err, &network) || errors.As(err, &timeout) && timeout.Timeout() ||
		errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return errNotEnvoy
}

// oneLine joins s's lines and runs of space into one line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
