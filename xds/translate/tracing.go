package translate

import (
	"math"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tracev3 "github.com/envoyproxy/go-control-plane/envoy/config/trace/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	samplersv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/tracers/opentelemetry/samplers/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	metadatav3 "github.com/envoyproxy/go-control-plane/envoy/type/metadata/v3"
	tracingv3 "github.com/envoyproxy/go-control-plane/envoy/type/tracing/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
)

const (
	// tracingCluster is the collector of traces. The underscore keeps it apart from every
	// service: a service's name is a DNS label.
	tracingCluster = "breakwater_tracing"
	// exportTimeout bounds the export of a batch of spans, which no request waits for. A batch
	// that the collector does not take is lost.
	exportTimeout = 5 * time.Second

	// The attributes that spans have beside Envoy's own.
	spanCorrelationID = "correlation_id"
	spanService       = "breakwater.service"

	// samplingSteps is the denominator of the sampled share.
	samplingSteps = 1_000_000
)

// collector builds the cluster of the OTLP/gRPC receiver.
func collector(t *policy.Tracing) (*clusterv3.Cluster, error) {
	c, err := gatewayCluster(tracingCluster, t.Collector)
	if err != nil {
		return nil, err
	}
	options, err := pack(&httpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
					Http2ProtocolOptions: &corev3.Http2ProtocolOptions{},
				},
			},
		},
	})
	if err != nil {
		return nil, err
	}
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{httpProtocolOptions: options}
	return c, c.ValidateAll()
}

// tracing has a span sent for each request, and one below it for each attempt. A trace that the
// caller has begun goes on, and services get its context in traceparent.
func tracing(t *policy.Tracing) (*hcmv3.HttpConnectionManager_Tracing, error) {
	sampler, err := pack(&samplersv3.TraceIdRatioBasedSamplerConfig{SamplingPercentage: fraction(t.Sampling)})
	if err != nil {
		return nil, err
	}
	tracer, err := pack(&tracev3.OpenTelemetryConfig{
		GrpcService: &corev3.GrpcService{
			TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: tracingCluster}},
			Timeout:         durationpb.New(exportTimeout),
		},
		ServiceName: t.ServiceName,
		// By the trace's id and not by what the caller has decided: callers are not trusted, and
		// one that samples everything would set the collector's load.
		Sampler: &corev3.TypedExtensionConfig{
			Name:        "envoy.tracers.opentelemetry.samplers.trace_id_ratio_based",
			TypedConfig: sampler,
		},
	})
	if err != nil {
		return nil, err
	}
	return &hcmv3.HttpConnectionManager_Tracing{
		Provider: &tracev3.Tracing_Http{
			Name:       "envoy.tracers.opentelemetry",
			ConfigType: &tracev3.Tracing_Http_TypedConfig{TypedConfig: tracer},
		},
		// Each attempt has a span of its own: retries are seen.
		SpawnUpstreamSpan: boolValue(true),
		CustomTags:        spanTags(),
	}, nil
}

// spanTags are the attributes of spans beside Envoy's own. They name no service and no policy: the
// listener must not change with them.
func spanTags() []*tracingv3.CustomTag {
	return []*tracingv3.CustomTag{
		{
			Tag: spanCorrelationID,
			Type: &tracingv3.CustomTag_RequestHeader{
				RequestHeader: &tracingv3.CustomTag_Header{Name: headerCorrelationID},
			},
		},
		{
			Tag: spanService,
			Type: &tracingv3.CustomTag_Metadata_{Metadata: &tracingv3.CustomTag_Metadata{
				Kind: &metadatav3.MetadataKind{Kind: &metadatav3.MetadataKind_Route_{Route: &metadatav3.MetadataKind_Route{}}},
				MetadataKey: &metadatav3.MetadataKey{
					Key: envoy.MetadataKey,
					Path: []*metadatav3.MetadataKey_PathSegment{{
						Segment: &metadatav3.MetadataKey_PathSegment_Key{Key: metadataService},
					}},
				},
			}},
		},
	}
}

// fraction gives a share in [0, 1] as Envoy takes it.
func fraction(share float64) *typev3.FractionalPercent {
	return &typev3.FractionalPercent{
		Numerator:   uint32(math.Round(share * samplingSteps)),
		Denominator: typev3.FractionalPercent_MILLION,
	}
}
