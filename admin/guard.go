package admin

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"

	"github.com/breakwater/breakwater/envoy"
)

// guard stands before every handler: it turns browsers of other origins away (see the
// package comment), bounds the body, names the caller for the log and survives a panic.
func (s *Server) guard(next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &answerWriter{ResponseWriter: w}
		defer s.survive(answer, r)
		w = answer
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("X-Frame-Options", "DENY")
		if (onLoopback(r) || len(s.opts.AllowedHosts) > 0) && !s.hostAllowed(r.Host) {
			writeStatus(w, http.StatusMisdirectedRequest, codes.PermissionDenied,
				"host "+r.Host+" is not a name of this server: use its IP address or localhost, or give the name to --http-host")
			return
		}
		if err := origin.Check(r); err != nil {
			why := err.Error()
			if r.Header.Get("Sec-Fetch-Site") == "" {
				why += ": a proxy in between must pass on the Host header that the browser sends"
			}
			writeStatus(w, http.StatusForbidden, codes.PermissionDenied, why)
			return
		}
		limit := bodyLimit(r)
		if r.ContentLength > limit {
			w.Header().Set("Connection", "close") // what is not read is not waited for
			writeTooLarge(w, fmt.Sprintf("the body has %d bytes, at most %d are allowed", r.ContentLength, limit))
			return
		}
		r.Body = &boundedBody{ReadCloser: http.MaxBytesReader(w, r.Body, limit)}
		if remote, err := s.callerAddress(r); err == nil {
			ctx := peer.NewContext(r.Context(), &peer.Peer{Addr: net.TCPAddrFromAddrPort(remote)})
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}

// callerAddress is the address of who sent the request. Where a gateway has passed it on, it is the one that the gateway
// saw, with port 0.
func (s *Server) callerAddress(r *http.Request) (netip.AddrPort, error) {
	proof, address, _ := strings.Cut(r.Header.Get(envoy.GatewayProof), " ")
	if s.opts.GatewaySecret == "" || subtle.ConstantTimeCompare([]byte(proof), []byte(s.opts.GatewaySecret)) != 1 {
		return netip.ParseAddrPort(r.RemoteAddr)
	}
	caller, err := netip.ParseAddr(address)
	return netip.AddrPortFrom(caller, 0), err
}

// boundedBody remembers that a body was too large: grpc-gateway makes another error of it.
type boundedBody struct {
	io.ReadCloser
	exceeded *http.MaxBytesError
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		errors.As(err, &b.exceeded)
	}
	return n, err
}

func writeTooLarge(w http.ResponseWriter, message string) {
	writeStatus(w, http.StatusRequestEntityTooLarge, codes.ResourceExhausted, message)
}

// survive ends a call that panicked: with an error, or, if its answer has begun, by
// cutting the connection, so that no client takes half an answer for a whole one.
func (s *Server) survive(w *answerWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	s.opts.Log.Error("panic in an HTTP call", "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
	if w.begun {
		panic(http.ErrAbortHandler)
	}
	writeStatus(w, http.StatusInternalServerError, codes.Internal, "internal error")
}

// answerWriter knows whether the answer has begun.
type answerWriter struct {
	http.ResponseWriter
	begun bool
}

func (w *answerWriter) WriteHeader(code int) {
	w.begun = true
	w.ResponseWriter.WriteHeader(code)
}

func (w *answerWriter) Write(data []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(data)
}

// Unwrap is for http.ResponseController.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// onLoopback reports whether the request arrived on a loopback address, where only this
// host's programs, its browsers among them, can have sent it.
func onLoopback(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && local.IP.IsLoopback()
}

// hostAllowed reports whether a Host header can not be a name that a web page has
// pointed at this address. An IP address is no name, and a browser always sends one.
func (s *Server) hostAllowed(hostport string) bool {
	if hostport == "" {
		return true
	}
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || slices.Contains(s.opts.AllowedHosts, host)
}

// withTimeout ends a call after callTimeout.
func withTimeout(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
