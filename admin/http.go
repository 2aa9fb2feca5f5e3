package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/admin/page"
)

// gatewayRoutes are the paths of admin/adminpb/http.yaml. The gateway itself can not
// say which methods a path allows, so the standard mux stands before it.
var gatewayRoutes = []string{
	"GET /api/v1/breakers",
	"GET /api/v1/breakers/{service}",
	"POST /api/v1/breakers/{service}/reset",
	"POST /api/v1/breakers/{service}/force-open",
	"POST /api/v1/breakers/{service}/disable",
	"POST /api/v1/breakers/{service}/release",
	"GET /api/v1/breakers/{service}/explain",
	"GET /api/v1/breakers/{service}/traffic",
	"GET /api/v1/history",
	"GET /api/v1/orders",
	"GET /api/v1/events",
	"GET /api/v1/proxies",
	"POST /api/v1/proxies/{id}/forget",
	"GET /api/v1/config",
	"GET /api/v1/log-level",
	"PUT /api/v1/log-level",
	"GET /api/v1/version",
}

// newHTTP is everything that is served by HTTP, guards included.
func (s *Server) newHTTP() (http.Handler, error) {
	gateway := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &compactJSON{}),
		runtime.WithErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
			if b, ok := r.Body.(*boundedBody); ok && b.exceeded != nil {
				writeTooLarge(w, fmt.Sprintf("the body has more than %d bytes", b.exceeded.Limit))
				return
			}
			writeError(w, err)
		}),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithDisablePathLengthFallback(),
	)
	service := *s.service
	service.readOnly, service.pageBytes = s.opts.HTTPReadOnly, maxHTTPPage
	if err := adminpb.RegisterAdminServiceHandlerServer(context.Background(), gateway, &service); err != nil {
		return nil, fmt.Errorf("admin: routes of AdminService: %w", err)
	}
	api := withTimeout(headAsGet(gateway))
	mux := http.NewServeMux()
	for _, route := range gatewayRoutes {
		mux.Handle(route, api)
	}
	mux.Handle("POST "+planPath, service.planRoom.http(api))
	mux.HandleFunc("GET /api/v1/breakers:watch", service.serveWatch)
	mux.HandleFunc("GET /api/v1/events:watch", service.serveWatchEvents)
	mux.Handle("GET /api/v1/circuit-breakers", withTimeout(http.HandlerFunc(service.serveLegacyList)))
	mux.Handle("POST /api/v1/circuit-breakers/{service}/reset", withTimeout(http.HandlerFunc(service.serveLegacyReset)))
	mux.Handle("GET /api/v1/prometheus/targets", withTimeout(http.HandlerFunc(service.serveTargets)))
	pages, err := page.Handlers()
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	for path, handler := range pages {
		if path == "/" {
			path = "/{$}" // that path alone
		}
		mux.Handle("GET "+path, handler)
	}
	mux.HandleFunc("GET /healthz", serveHealthy)
	mux.HandleFunc("GET /readyz", s.serveReady)
	if s.opts.Gatherer != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(s.opts.Gatherer, promhttp.HandlerOpts{
			ErrorLog: s.opts.Log.StandardLogger(nil),
		}))
	}
	handler := routed(mux)
	if s.opts.HTTPReadOnly {
		handler = readOnly(handler)
	}
	return s.measureHTTP(s.guard(handler))
}

// routed answers what mux has no route for: JSON, with Allow where another method would do.
func routed(mux *http.ServeMux) http.Handler {
	methods := []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		var allowed []string
		other := r.Clone(r.Context())
		for _, other.Method = range methods {
			if _, pattern := mux.Handler(other); pattern != "" {
				allowed = append(allowed, other.Method)
			}
		}
		if len(allowed) == 0 {
			writeStatus(w, http.StatusNotFound, codes.NotFound, "no such path: "+r.URL.Path)
			return
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		writeStatus(w, http.StatusMethodNotAllowed, codes.Unimplemented,
			fmt.Sprintf("%s is not allowed here, only %s", r.Method, strings.Join(allowed, ", ")))
	})
}

// headAsGet is for handlers that know GET alone: net/http leaves a HEAD's body out.
func headAsGet(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			r = r.Clone(r.Context())
			r.Method = http.MethodGet
		}
		next.ServeHTTP(w, r)
	})
}

func serveHealthy(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (s *Server) serveReady(w http.ResponseWriter, r *http.Request) {
	if s.opts.Ready != nil {
		if err := s.opts.Ready(r.Context()); err != nil {
			writeStatus(w, http.StatusServiceUnavailable, codes.Unavailable, err.Error())
			return
		}
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}

// writeError answers with a gRPC status, or with Unknown for any other error.
func writeError(w http.ResponseWriter, err error) {
	st := status.Convert(err)
	httpStatus := runtime.HTTPStatusFromCode(st.Code())
	if st.Code() == codes.FailedPrecondition {
		// The request is well formed: it is the state of things that forbids it.
		httpStatus = http.StatusConflict
	}
	writeStatus(w, httpStatus, st.Code(), st.Message())
}

func writeStatus(w http.ResponseWriter, httpStatus int, code codes.Code, message string) {
	writeJSON(w, httpStatus, struct {
		Code    codes.Code `json:"code"`
		Message string     `json:"message"`
	}{code, message})
}

// writeJSON answers with v, which must be marshallable. A client that is gone can not be told.
func writeJSON(w http.ResponseWriter, httpStatus int, v any) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		httpStatus = http.StatusInternalServerError
		body.Reset()
		fmt.Fprintf(&body, `{"code":%d,"message":"answer can not be encoded"}`, codes.Internal)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(httpStatus)
	_, _ = w.Write(bytes.TrimRight(body.Bytes(), "\n"))
}

// marshalJSON gives a message's JSON with the proto's names, unset fields and no
// insignificant space: protojson alone varies the space from build to build.
func marshalJSON(m proto.Message) ([]byte, error) {
	// The JSON of a list is about six times as long as its protobuf. Room for it saves copying it whenever it grows.
	loose, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.MarshalAppend(make([]byte, 0, 6*proto.Size(m)), m)
	if err != nil {
		return nil, err
	}
	return withoutSpace(loose), nil
}

// withoutSpace takes the spaces between the values out of valid JSON, in place. json.Compact does so too, and takes as
// long as half of protojson's work for checking what is valid.
func withoutSpace(valid []byte) []byte {
	n := 0
	quoted, escaped := false, false
	for _, c := range valid {
		switch {
		case escaped:
			escaped = false
		case c == '"':
			quoted = !quoted
		case quoted:
			escaped = c == '\\'
		case c == ' ':
			continue
		}
		valid[n] = c
		n++
	}
	return valid[:n]
}

// compactJSON is marshalJSON for the gateway. Unknown fields of a request are errors.
type compactJSON struct{ runtime.JSONPb }

func (*compactJSON) ContentType(any) string { return "application/json" }

func (c *compactJSON) Marshal(v any) ([]byte, error) {
	if m, ok := v.(proto.Message); ok {
		return marshalJSON(m)
	}
	return c.JSONPb.Marshal(v)
}
