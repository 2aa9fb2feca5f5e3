// Package admin is whom Breakwater tells: it serves the state of every circuit
// breaker and takes an operator's orders, by gRPC and by HTTP/JSON.
//
// It holds no state of its own and concludes nothing: all answers come from a
// [Model]. gRPC status codes and HTTP statuses are made here and nowhere else. The
// one invariant: whatever one of the two ways in answers, the other answers too.
//
// # HTTP
//
// The calls of breakwater.admin.v1 are under /api/v1/ as admin/adminpb/http.yaml
// maps them, with the proto's field names and with unset fields present. A uint64
// is a string in JSON, as protobuf has it. Beside them:
//
//	GET  /api/v1/breakers:watch                      newline-delimited JSON, or server-sent events if the client accepts text/event-stream
//	GET  /api/v1/events:watch                        the same of events; a browser that connects again goes on where it was (Last-Event-ID)
//	GET  /api/v1/circuit-breakers                    the original system's list
//	POST /api/v1/circuit-breakers/{service}/reset    the original system's reset
//	GET  /api/v1/prometheus/targets                  the proxies, for Prometheus' HTTP service discovery
//	GET  /metrics                                    Prometheus
//	GET  /healthz                                    200 while the process serves
//	GET  /readyz                                     200 once Options.Ready agrees, else 503
//
// With Options.HTTPReadOnly every method but GET and HEAD is refused with 403, whatever its path,
// except for calls that only ask.
//
// Every error is JSON: {"code": 5, "message": "…"}, with the number of the gRPC code:
// 404 for NOT_FOUND, 400 for INVALID_ARGUMENT, 409 for FAILED_PRECONDITION.
//
// # Who may call
//
// Nobody is authenticated: the server is meant for loopback or a private network.
// So that a web page which an operator happens to visit can not act through the
// operator's browser, there is no CORS, a request that a browser marks as coming
// from another origin is refused unless it only reads, and a request that arrives on
// a loopback address, or on any if there are Options.AllowedHosts, must name an IP
// address, localhost or one of these as its host (DNS rebinding). Tools outside a browser send
// neither mark and need nothing special.
package admin
