package translate

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/breakwater/breakwater/policy"
)

// accessLogFields are the fields of a line, each with Envoy's command operator.
var accessLogFields = map[string]string{
	"time":                  "%START_TIME%",
	"method":                "%REQ(:METHOD)%",
	"path":                  "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
	"authority":             "%REQ(:AUTHORITY)%",
	"protocol":              "%PROTOCOL%",
	"status":                "%RESPONSE_CODE%",
	"flags":                 "%RESPONSE_FLAGS%",
	"details":               "%RESPONSE_CODE_DETAILS%",
	"service":               routeField(metadataService),
	"route_kind":            routeField(metadataKind),
	"upstream_cluster":      "%UPSTREAM_CLUSTER%",
	"upstream_host":         "%UPSTREAM_HOST%",
	"upstream_failure":      "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
	"upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
	"attempts":              "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
	"duration_ms":           "%DURATION%",
	"bytes_received":        "%BYTES_RECEIVED%",
	"bytes_sent":            "%BYTES_SENT%",
	"client":                "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
	"user_agent":            "%REQ(USER-AGENT)%",
	"request_id":            "%REQ(X-REQUEST-ID)%",
	"correlation_id":        "%REQ(X-CORRELATION-ID)%",
	"breaker":               "%RESP(X-CIRCUIT-BREAKER)%",
}

// accessLog writes a line of JSON for each request; empty if the gateway asks for none.
func accessLog(gw *policy.Gateway) ([]*accesslogv3.AccessLog, error) {
	format := jsonFormat(accessLogFields)
	var name string
	var config validated
	switch gw.AccessLog {
	case "":
		return nil, nil
	case "stdout":
		name = "envoy.access_loggers.stdout"
		config = &streamv3.StdoutAccessLog{
			AccessLogFormat: &streamv3.StdoutAccessLog_LogFormat{LogFormat: format},
		}
	case "stderr":
		name = "envoy.access_loggers.stderr"
		config = &streamv3.StderrAccessLog{
			AccessLogFormat: &streamv3.StderrAccessLog_LogFormat{LogFormat: format},
		}
	default:
		name = "envoy.access_loggers.file"
		config = &filev3.FileAccessLog{
			Path:            gw.AccessLog,
			AccessLogFormat: &filev3.FileAccessLog_LogFormat{LogFormat: format},
		}
	}
	packed, err := pack(config)
	if err != nil {
		return nil, err
	}
	return []*accesslogv3.AccessLog{{
		Name:       name,
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: packed},
	}}, nil
}

// jsonFormat is one JSON object. A value that is one operator alone keeps its type
// (numbers stay numbers), and one that has no value is null.
func jsonFormat(fields map[string]string) *corev3.SubstitutionFormatString {
	values := make(map[string]*structpb.Value, len(fields))
	for k, v := range fields {
		values[k] = structpb.NewStringValue(v)
	}
	return &corev3.SubstitutionFormatString{Format: &corev3.SubstitutionFormatString_JsonFormat{
		JsonFormat: &structpb.Struct{Fields: values},
	}}
}
