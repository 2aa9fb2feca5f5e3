package policy

// The raw documents, as a user writes them. These structs are the one source of
// the field names, built-in values, bounds and descriptions: the decoder, the
// layering, the origins and the JSON Schema all read their tags.
//
//	json         the field's name; without omitempty the field is required
//	default      the built-in value, in the user's own notation
//	off          "true" if the value off is allowed; for a section, the field that off sets to 0
//	min, max     bounds, in the user's own notation
//	empty        "true" if an empty string or list is allowed
//	merge        "replace" if a higher layer's section replaces a lower one's as a whole

// document is one service's policy.
type document struct {
	Service  label         `json:"service" jsonschema_description:"Name of the service: a DNS label."`
	Profile  text          `json:"profile,omitempty" jsonschema_description:"Shared set of defaults.yaml that this service uses."`
	Upstream upstreamValue `json:"upstream" jsonschema_description:"Where the service runs: a URL (http, https, h2c, h2, grpc, grpcs) or a list of host:port or URLs of one scheme."`
	Routes   routeList     `json:"routes,omitempty" jsonschema_description:"Requests that go to this service. Without routes: every path of the host of the service's own name."`
	settings
}

// settings are what all layers share.
type settings struct {
	TLS         tlsSection         `json:"tls,omitempty" jsonschema_description:"How an encrypted upstream is verified."`
	Timeout     timeoutSection     `json:"timeout,omitempty" jsonschema_description:"What a caller waits for."`
	Retry       retrySection       `json:"retry,omitempty" off:"max_retries" jsonschema_description:"What is tried again; off for nothing."`
	Breaker     breakerSection     `json:"breaker,omitempty" jsonschema_description:"When the circuit breaker opens and closes."`
	Limits      limitsSection      `json:"limits,omitempty" jsonschema_description:"What Envoy holds open towards the service, per proxy."`
	HealthCheck healthCheckSection `json:"health_check,omitempty" off:"true" jsonschema_description:"Envoy's active health check; off unless given."`
	Fallback    fallbackSection    `json:"fallback,omitempty" off:"true" merge:"replace" jsonschema_description:"What a caller gets while the breaker is open; off unless given."`
}

type tlsSection struct {
	Gate       gate `json:"-"`
	ServerName text `json:"server_name,omitempty" empty:"true" jsonschema_description:"Name sent as SNI and expected in the certificate. Default: the upstream's host name."`
	CAFile     text `json:"ca_file,omitempty" empty:"true" jsonschema_description:"Bundle of trusted authorities, a path on Envoy's host. Default: the system's."`
	CertFile   text `json:"cert_file,omitempty" empty:"true" jsonschema_description:"Client certificate, a path on Envoy's host."`
	KeyFile    text `json:"key_file,omitempty" empty:"true" jsonschema_description:"Key of the client certificate, a path on Envoy's host."`
}

type timeoutSection struct {
	Connect span `json:"connect,omitempty" default:"5s" min:"1ms" max:"1h" jsonschema_description:"Bound of the TCP and TLS handshake with a host."`
	Request span `json:"request,omitempty" default:"30s" off:"true" min:"1ms" max:"24h" jsonschema_description:"Bound of the whole request, all attempts and back-off included."`
	PerTry  span `json:"per_try,omitempty" default:"off" off:"true" min:"1ms" max:"24h" jsonschema_description:"Bound of one attempt. Off: a timed-out request is not retried."`
	Idle    span `json:"idle,omitempty" default:"5m" off:"true" min:"1ms" max:"24h" jsonschema_description:"Longest time without a byte in either direction of a request."`
}

type retrySection struct {
	MaxRetries count      `json:"max_retries,omitempty" default:"3" min:"0" max:"100" jsonschema_description:"Retries after the first attempt; 0 for none."`
	BaseDelay  span       `json:"base_delay,omitempty" default:"100ms" min:"1ms" max:"1h" jsonschema_description:"First step of the exponential, fully jittered back-off."`
	MaxDelay   span       `json:"max_delay,omitempty" default:"10s" min:"1ms" max:"1h" jsonschema_description:"Longest back-off."`
	On         conditions `json:"on,omitempty" default:"5xx,reset,connect-failure" jsonschema_description:"Envoy's retry conditions, or response statuses."`
	Methods    methods    `json:"methods,omitempty" default:"GET,HEAD,OPTIONS,PUT,DELETE" empty:"true" jsonschema_description:"Methods that are retried on every condition. Others are retried only if the request never reached the service."`
	Budget     share      `json:"budget,omitempty" default:"20%" jsonschema_description:"Share of the active requests that may be retries."`
}

type breakerSection struct {
	FailureThreshold count           `json:"failure_threshold,omitempty" default:"5" off:"true" min:"1" max:"100000" jsonschema_description:"Failures in the window that open."`
	SuccessThreshold count           `json:"success_threshold,omitempty" default:"2" min:"1" max:"100000" jsonschema_description:"Successes in half-open that close."`
	Timeout          span            `json:"timeout,omitempty" default:"60s" min:"100ms" max:"24h" jsonschema_description:"Time a breaker stays open before probes are let through."`
	WindowSize       count           `json:"window_size,omitempty" default:"100" min:"1" max:"100000" jsonschema_description:"Attempts looked back on."`
	FailureRate      share           `json:"failure_rate,omitempty" default:"off" off:"true" jsonschema_description:"Share of failed attempts that opens."`
	MinRequests      count           `json:"min_requests,omitempty" default:"20" min:"1" max:"100000" jsonschema_description:"Attempts below which failure_rate does not apply."`
	SlowCall         slowCallSection `json:"slow_call,omitempty" off:"true" jsonschema_description:"Opens the breaker on slow attempts; off unless given."`
	HalfOpen         halfOpenSection `json:"half_open,omitempty" jsonschema_description:"What is let through in half-open."`
	Backoff          factor          `json:"backoff,omitempty" default:"1" min:"1" max:"100" jsonschema_description:"Factor of timeout for each consecutive re-opening."`
	MaxTimeout       span            `json:"max_timeout,omitempty" min:"100ms" max:"240h" jsonschema_description:"Bound of timeout times backoff. Default: 10 times timeout."`
	Errors           statuses        `json:"errors,omitempty" jsonschema_description:"Response statuses that count as failures: 5xx, 429, 500-503. Connection errors and timeouts always count. Default: 5xx."`
	Shadow           toggle          `json:"shadow,omitempty" default:"false" jsonschema_description:"Observe and report, and never act."`
}

type slowCallSection struct {
	Gate        gate  `json:"-"`
	Duration    span  `json:"duration,omitempty" min:"1ms" max:"24h" jsonschema_description:"Time above which an attempt is slow. Required."`
	Rate        share `json:"rate,omitempty" jsonschema_description:"Share of slow attempts that opens. Required."`
	MinRequests count `json:"min_requests,omitempty" default:"20" min:"1" max:"100000" jsonschema_description:"Attempts below which rate does not apply."`
}

type halfOpenSection struct {
	MaxRequests count `json:"max_requests,omitempty" default:"1" min:"1" max:"100000" jsonschema_description:"Probes at a time."`
}

type limitsSection struct {
	MaxConnections     count `json:"max_connections,omitempty" default:"1024" min:"1" max:"1000000" jsonschema_description:"Connections to the service, per proxy."`
	MaxPendingRequests count `json:"max_pending_requests,omitempty" default:"1024" min:"1" max:"1000000" jsonschema_description:"Requests that wait for a connection, per proxy."`
	MaxRequests        count `json:"max_requests,omitempty" default:"1024" min:"1" max:"1000000" jsonschema_description:"Requests in flight, per proxy."`
}

type healthCheckSection struct {
	Gate               gate   `json:"-"`
	Path               text   `json:"path,omitempty" jsonschema_description:"Path of the HTTP check; not for gRPC, where the gRPC health service is asked."`
	Interval           span   `json:"interval,omitempty" default:"10s" min:"100ms" max:"1h" jsonschema_description:"Time between checks."`
	Timeout            span   `json:"timeout,omitempty" default:"2s" min:"1ms" max:"1h" jsonschema_description:"Bound of one check."`
	HealthyThreshold   count  `json:"healthy_threshold,omitempty" default:"2" min:"1" max:"1000" jsonschema_description:"Passes that make a host healthy."`
	UnhealthyThreshold count  `json:"unhealthy_threshold,omitempty" default:"3" min:"1" max:"1000" jsonschema_description:"Failures that make a host unhealthy."`
	Uneject            toggle `json:"uneject,omitempty" default:"false" jsonschema_description:"Let a passing check end an ejection early."`
}

type fallbackSection struct {
	Gate    gate         `json:"-"`
	Service text         `json:"service,omitempty" jsonschema_description:"Another service that answers instead."`
	Status  count        `json:"status,omitempty" default:"200" min:"200" max:"599" jsonschema_description:"Status of the static reply."`
	Headers headerValues `json:"headers,omitempty" jsonschema_description:"Headers of the static reply."`
	Body    text         `json:"body,omitempty" empty:"true" jsonschema_description:"Body of the static reply, at most 64 KiB."`
}

// routeDocument is one route as a user writes it.
type routeDocument struct {
	Prefix  text             `json:"prefix,omitempty" jsonschema_description:"Whole path segments: /a matches /a and /a/b, not /ab."`
	Path    text             `json:"path,omitempty" jsonschema_description:"The whole path, without the query."`
	Regex   text             `json:"regex,omitempty" max:"4096" jsonschema_description:"An RE2 expression of the whole path."`
	Hosts   hostNames        `json:"hosts,omitempty" jsonschema_description:"Host names: exact or *.suffix. Default: every host that no other route names."`
	Methods methods          `json:"methods,omitempty" jsonschema_description:"Methods. Default: all."`
	Headers headerConditions `json:"headers,omitempty" jsonschema_description:"Conditions on request headers; all must hold."`
	Rewrite text             `json:"rewrite,omitempty" jsonschema_description:"Replaces the matched prefix or path; for a regex the substitution, where \\1 is the first group."`
}

// headerDocument is one condition on a request header as a user writes it.
type headerDocument struct {
	Name    text   `json:"name" jsonschema_description:"Name of the header."`
	Exact   text   `json:"exact,omitempty" jsonschema_description:"The whole value."`
	Prefix  text   `json:"prefix,omitempty" jsonschema_description:"How the value begins."`
	Regex   text   `json:"regex,omitempty" max:"4096" jsonschema_description:"An RE2 expression of the whole value."`
	Present toggle `json:"present,omitempty" jsonschema_description:"Any value."`
	Invert  toggle `json:"invert,omitempty" jsonschema_description:"The condition must not hold."`
}

// defaultsDocument is defaults.yaml.
type defaultsDocument struct {
	settings
	Profiles profileMap `json:"profiles,omitempty" jsonschema_description:"Shared sets by name, which a service picks with profile."`
}

// gatewayDocument is gateway.yaml.
type gatewayDocument struct {
	Address     address        `json:"address,omitempty" default:"127.0.0.1:8080" jsonschema_description:"host:port that every Envoy listens on."`
	ExposeAdmin address        `json:"expose_admin,omitempty" default:"off" off:"true" jsonschema_description:"host:port of Breakwater's HTTP API as Envoy reaches it, to serve /api/v1/circuit-breakers on the gateway's port too."`
	AccessLog   text           `json:"access_log,omitempty" default:"stdout" jsonschema_description:"stdout, stderr, off, or a path on Envoy's host."`
	Tracing     tracingSection `json:"tracing,omitempty" off:"true" jsonschema_description:"OpenTelemetry export from Envoy: a span for each request and each attempt, in the caller's trace (traceparent), with the attributes correlation_id and breakwater.service; off unless given."`
	Headers     headerLimits   `json:"headers,omitempty" jsonschema_description:"Bounds of a request's headers."`
}

type tracingSection struct {
	Gate        gate    `json:"-"`
	Collector   address `json:"collector" jsonschema_description:"host:port of an OTLP/gRPC receiver."`
	Sampling    share   `json:"sampling,omitempty" default:"100%" min:"0" jsonschema_description:"Share of the traces that are sampled, by their ids, whatever the caller has decided."`
	ServiceName text    `json:"service_name,omitempty" default:"gateway" jsonschema_description:"Name of the gateway in traces."`
}

type headerLimits struct {
	MaxSizeKB count `json:"max_size_kb,omitempty" default:"60" min:"1" max:"8192" jsonschema_description:"Size of all headers of a request, in KiB."`
	MaxCount  count `json:"max_count,omitempty" default:"100" min:"1" max:"32768" jsonschema_description:"Number of headers of a request."`
}
