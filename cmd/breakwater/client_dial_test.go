package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// TestWhatIsAtTheOtherEnd: a wrong --server is told what answers there, by a command that calls and by one that follows.
func TestWhatIsAtTheOtherEnd(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	secureGRPC := listen(t, func(l net.Listener) {
		_ = grpc.NewServer(grpc.Creds(credentials.NewTLS(secure.TLS))).Serve(l)
	})
	mute := listen(t, serveConns(func(conn net.Conn) { _, _ = io.ReadFull(conn, make([]byte, 24)) }))
	mail := listen(t, serveConns(func(conn net.Conn) {
		_, _ = io.WriteString(conn, "220 mail.example ESMTP\r\n")
		_, _ = io.Copy(io.Discard, conn)
	}))
	proxies := serveFake(t, nil) // gRPC without the admin API, as for proxies
	envoyAdmin := listen(t, func(l net.Listener) {
		s := http.Server{Handler: http.NotFoundHandler(), Protocols: new(http.Protocols)}
		s.Protocols.SetUnencryptedHTTP2(true)
		_ = s.Serve(l)
	})
	gateway := listen(t, func(l net.Listener) {
		_ = grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
			return status.Error(codes.Unimplemented, `{"details":"route_not_found","error":"no_route"}`)
		})).Serve(l)
	})
	const needs = "--server needs the gRPC address, 127.0.0.1:8082 by default"
	for _, tt := range []struct{ name, server, want string }{
		{"HTTP", web.Listener.Addr().String(), "%s answers HTTP: " + needs},
		{"HTTPS", secure.Listener.Addr().String(), "%s answers TLS: " + needs + ", and without TLS"},
		{"gRPC with TLS", secureGRPC, "%s answers TLS: " + needs + ", and without TLS"},
		{"HTTP/2", envoyAdmin, "%s answers HTTP: " + needs},
		{"the gateway", gateway, "%s is the gateway, which is for callers: " + needs},
		{"one that closes", mute, "%s closes the connection without an answer: " + needs},
		{"another protocol", mail, "%s answers something else than gRPC: " + needs},
		{"the proxies' port", proxies, "%s has no admin API, as the port that proxies connect to: " + needs},
		{"a name that there is not", "nobody..invalid:8082", "cannot resolve nobody..invalid: no such host; " + needs},
	} {
		for _, cmd := range []func() (string, error){
			func() (string, error) { return runClient(t, newStatusCmd(), "--server", tt.server) },
			func() (string, error) { return runClient(t, newWatchCmd(), "--server", tt.server) },
		} {
			out, err := cmd()
			if want := strings.ReplaceAll(tt.want, "%s", tt.server); err == nil || err.Error() != want || exitCode(err) != exitFailed || out != "" {
				t.Errorf("%s: %v and %q with exit code %d, want %q", tt.name, err, out, exitCode(err), want)
			}
		}
	}
}

// listen serves on a port of its own, and returns its address.
func listen(t *testing.T, serve func(net.Listener)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		serve(l)
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
	return l.Addr().String()
}

// serveConns talks over every connection, and closes it.
func serveConns(talk func(net.Conn)) func(net.Listener) {
	return func(l net.Listener) {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				talk(conn)
			}()
		}
	}
}

func TestUnknownCommand(t *testing.T) {
	for args, want := range map[string]string{
		"statu":     `unknown command "statu" for "breakwater"; did you mean state or status?`,
		"forceopen": `unknown command "forceopen" for "breakwater"; did you mean force-open?`,
		"xyzzy":     `unknown command "xyzzy" for "breakwater"`,
		"demo fial": `unknown command "fial" for "breakwater demo"; did you mean fail or heal?`,
	} {
		var stdout, stderr strings.Builder
		if code := execute(t.Context(), strings.Fields(args), &stdout, &stderr); code != exitUsage || stderr.String() != "breakwater: "+want+"\n" {
			t.Errorf("%s: exit code %d and %q, want %q", args, code, stderr.String(), want)
		}
	}
}
