package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// needsGRPC is what to give to --server instead.
const needsGRPC = "--server needs the gRPC address, " + defaultServer + " by default"

// noRoute is in what the gateway answers to a request that no policy has a route for.
const noRoute = `"error":"no_route"`

// explain says in one line what went wrong with a call, and what is probably at the other end.
func (c *client) explain(err error, d *dialer) error {
	st, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	message := st.Message()
	switch {
	case strings.Contains(message, "unexpected HTTP status code"), strings.Contains(message, "unexpected content-type"):
		return fmt.Errorf("%s answers HTTP: %s", c.server, needsGRPC)
	case strings.Contains(message, noRoute):
		return fmt.Errorf("%s is the gateway, which is for callers: %s", c.server, needsGRPC)
	}
	switch st.Code() {
	case codes.Unavailable:
		return c.unavailable(oneLine(st.Message()), d)
	case codes.DeadlineExceeded:
		return fmt.Errorf("no answer from %s within %v", c.server, c.timeout)
	case codes.Unimplemented:
		if strings.HasPrefix(st.Message(), "unknown service") {
			return fmt.Errorf("%s has no admin API, as the port that proxies connect to: %s", c.server, needsGRPC)
		}
		return fmt.Errorf("the server at %s does not know this call: it may be of another version (%s)", c.server, oneLine(st.Message()))
	}
	return errors.New(oneLine(st.Message()))
}

// unavailable says why a call could not be made or was cut off.
func (c *client) unavailable(message string, d *dialer) error {
	heard, dialErr := d.last()
	var unresolved *net.DNSError
	var errno syscall.Errno
	switch {
	case errors.As(dialErr, &unresolved):
		return fmt.Errorf("cannot resolve %s: %s; %s", unresolved.Name, unresolved.Err, needsGRPC)
	case dialErr != nil:
		cause := dialErr
		if errors.As(dialErr, &errno) {
			cause = errno
		}
		return fmt.Errorf("no server at %s (%w): start one with `breakwater serve` or `breakwater run`, or name another with --server or %s",
			c.server, cause, envVar("server"))
	case bytes.HasPrefix(heard, []byte("HTTP/")):
		return fmt.Errorf("%s answers HTTP: %s", c.server, needsGRPC)
	case bytes.HasPrefix(heard, []byte{tlsAlert, tlsMajor}), len(heard) == 0 && speaksTLS(c.server):
		return fmt.Errorf("%s answers TLS: %s, and without TLS", c.server, needsGRPC)
	case len(heard) == 0:
		return fmt.Errorf("%s closes the connection without an answer: %s", c.server, needsGRPC)
	case !looksLikeHTTP2(heard):
		return fmt.Errorf("%s answers something else than gRPC: %s", c.server, needsGRPC)
	}
	return fmt.Errorf("no answer from %s: %s", c.server, message)
}

// How a TLS record begins that says what is wrong with what came: its type, and the first byte of its version.
const tlsAlert, tlsMajor = 0x15, 0x03

// heardBytes are as many of a connection's first bytes as are kept: the header of an HTTP/2 frame.
const heardBytes = 9

// looksLikeHTTP2 reports whether a connection begins with a SETTINGS frame, as every one of HTTP/2 does.
func looksLikeHTTP2(heard []byte) bool { return len(heard) == heardBytes && heard[3] == 4 }

// tlsTimeout bounds the question whether a server speaks TLS.
const tlsTimeout = time.Second

// speaksTLS reports whether a handshake gets as far as the server's hello. Nothing is sent over the connection.
func speaksTLS(server string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), tlsTimeout)
	defer cancel()
	hello := false
	d := tls.Dialer{Config: &tls.Config{
		InsecureSkipVerify: true, //nolint:gosec // it is asked what the server speaks, not who it is
		NextProtos:         []string{"h2", "http/1.1"},
		VerifyConnection: func(tls.ConnectionState) error {
			hello = true
			return nil
		},
	}}
	conn, err := d.DialContext(ctx, "tcp", server)
	if err == nil {
		_ = conn.Close()
	}
	var alert tls.AlertError
	return hello || errors.As(err, &alert)
}

// dialer remembers why connecting failed, and what the other end has said: gRPC itself gives only a text.
type dialer struct {
	mu sync.Mutex // guards the following, and what is heard
	// err is of the last attempt, and conn the last connection; nil if there was none.
	err  error
	conn *heardConn
}

func (d *dialer) dial(ctx context.Context, addr string) (net.Conn, error) {
	var nd net.Dialer
	conn, err := nd.DialContext(ctx, "tcp", addr)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
	if err != nil {
		return nil, err
	}
	d.conn = &heardConn{Conn: conn, mu: &d.mu}
	return d.conn, nil
}

// last is how the last connection begins, and why the last attempt to connect failed.
func (d *dialer) last() (heard []byte, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		heard = d.conn.heard
	}
	return heard, d.err
}

// heardConn keeps how a connection begins.
type heardConn struct {
	net.Conn
	mu    *sync.Mutex // guards heard
	heard []byte
}

func (c *heardConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if room := heardBytes - len(c.heard); room > 0 {
		c.heard = append(c.heard, b[:min(n, room)]...)
	}
	return n, err
}
