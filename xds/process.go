package xds

import (
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	mutationrules "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	process "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	previous "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	upstream "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/postern-proxy/postern/wire"
)

const (
	clusterProcess = "postern-process" // gRPC: the ext_proc service

	// processTimeout is for one message: a body of 64 MiB and its answer.
	processTimeout = 10 * time.Second
	// window is what may be on the way to the service without its word: large
	// bodies should not wait for a window's worth at a time.
	window = 4 << 20
)

// processFilter is an ext_proc filter of a lane. It asks with the request's headers
// left out (what the service needs is metadata of the stream) and the whole body;
// answers of providers are not its business. A service that is away, slow or wrong
// ends the request: nothing passes unread.
func processFilter(lane string, more ...*core.HeaderValue) *process.ExternalProcessor {
	return &process.ExternalProcessor{
		GrpcService: &core.GrpcService{
			TargetSpecifier: &core.GrpcService_EnvoyGrpc_{EnvoyGrpc: &core.GrpcService_EnvoyGrpc{
				ClusterName: clusterProcess,
			}},
			InitialMetadata: append([]*core.HeaderValue{
				{Key: wire.MetaLane, Value: lane},
				{Key: wire.MetaLength, Value: "%REQ(content-length)%"},
				{Key: wire.MetaRequest, Value: "%REQ(x-request-id)%"},
			}, more...),
			RetryPolicy: otherReplica(),
		},
		ProcessingMode: &process.ProcessingMode{
			RequestHeaderMode:   process.ProcessingMode_SEND,
			RequestBodyMode:     process.ProcessingMode_BUFFERED,
			RequestTrailerMode:  process.ProcessingMode_SKIP,
			ResponseHeaderMode:  process.ProcessingMode_SKIP,
			ResponseBodyMode:    process.ProcessingMode_NONE,
			ResponseTrailerMode: process.ProcessingMode_SKIP,
		},
		MessageTimeout: seconds(processTimeout),
		StatusOnError:  &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
		MutationRules:  &mutationrules.HeaderMutationRules{DisallowIsError: boolValue(true)},
		ForwardRules: &process.HeaderForwardingRules{
			AllowedHeaders: &matcher.ListStringMatcher{Patterns: []*matcher.StringMatcher{exact("x-postern-none")}},
		},
		StatPrefix: lane,
		MetadataOptions: &process.MetadataOptions{ReceivingNamespaces: &process.MetadataOptions_MetadataNamespaces{
			Untyped: []string{wire.MetadataRequest, wire.MetadataGroups},
		}},
	}
}

// stagesFilter runs the stages of a request's entry. Of Envoy's own headers they may set
// the one by which a request has fewer attempts than its route.
func stagesFilter() *process.ExternalProcessor {
	f := processFilter(wire.LaneUnderstand)
	f.MutationRules.AllowExpression = &matcher.RegexMatcher{Regex: wire.HeaderRetries}
	return f
}

// otherReplica asks another replica where one cannot be reached, and not the same
// again: a dead one has the fewest requests and would be chosen each time.
func otherReplica() *core.RetryPolicy {
	return &core.RetryPolicy{
		NumRetries: uint32Value(2),
		RetryOn:    "connect-failure,refused-stream,reset,unavailable",
		RetryBackOff: &core.BackoffStrategy{
			BaseInterval: seconds(2 * time.Millisecond), MaxInterval: seconds(20 * time.Millisecond),
		},
		RetryHostPredicate: []*core.RetryPolicy_RetryHostPredicate{{
			Name: "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &core.RetryPolicy_RetryHostPredicate_TypedConfig{
				TypedConfig: pack(&previous.PreviousHostsPredicate{}),
			},
		}},
		HostSelectionRetryMaxAttempts: 5,
	}
}

// understood tells the service which entry of which version a request is judged by.
func understood(version, entry string, more ...*core.HeaderValue) *anypb.Any {
	return pack(&process.ExtProcPerRoute{Override: &process.ExtProcPerRoute_Overrides{
		Overrides: &process.ExtProcOverrides{GrpcInitialMetadata: append([]*core.HeaderValue{
			{Key: wire.MetaConfig, Value: literal(version)},
			{Key: wire.MetaEntry, Value: literal(entry)},
			{Key: wire.MetaPath, Value: "%REQ(:path)%"},
		}, more...)},
	}})
}

// notUnderstood takes a route out of the filter. It is judged by the final route,
// unlike on, which is judged by the first.
func notUnderstood() *anypb.Any {
	return pack(&process.ExtProcPerRoute{Override: &process.ExtProcPerRoute_Disabled{Disabled: true}})
}

// on switches on a filter that is off elsewhere.
func on() *anypb.Any { return pack(&route.FilterConfig{Config: new(anypb.Any)}) }

// processCluster is the ext_proc service: one replica or more, each on a socket.
// A replica that says it is not serving gets no new streams.
func processCluster(sockets []string) *cluster.Cluster {
	replicas := make([]*endpoint.LbEndpoint, 0, len(sockets))
	for _, socket := range sockets {
		replicas = append(replicas, endpoints(pipe(socket), "postern").GetLbEndpoints()...)
	}
	c := &cluster.Cluster{
		Name:                          clusterProcess,
		ClusterDiscoveryType:          &cluster.Cluster_Type{Type: cluster.Cluster_STATIC},
		ConnectTimeout:                seconds(time.Second),
		CircuitBreakers:               noBreaker(),
		PerConnectionBufferLimitBytes: uint32Value(window),
		LoadAssignment: &endpoint.ClusterLoadAssignment{
			ClusterName: clusterProcess,
			Endpoints:   []*endpoint.LocalityLbEndpoints{{LbEndpoints: replicas}},
		},
		TypedExtensionProtocolOptions: map[string]*anypb.Any{protocolOptions: grpcOptions()},
	}
	if len(sockets) > 1 {
		c.HealthChecks = []*core.HealthCheck{replicaCheck()}
	}
	return c
}

// grpcOptions are how Envoy speaks to Postern's own gRPC services.
func grpcOptions() *anypb.Any {
	return pack(&upstream.HttpProtocolOptions{
		UpstreamProtocolOptions: &upstream.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &upstream.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &upstream.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
					Http2ProtocolOptions: &core.Http2ProtocolOptions{
						InitialStreamWindowSize:     uint32Value(window),
						InitialConnectionWindowSize: uint32Value(4 * window),
						MaxConcurrentStreams:        uint32Value(1 << 16),
					},
				},
			},
		},
	})
}

func replicaCheck() *core.HealthCheck {
	return &core.HealthCheck{
		Timeout:            seconds(time.Second),
		Interval:           seconds(time.Second),
		NoTrafficInterval:  seconds(time.Second),
		UnhealthyThreshold: uint32Value(1),
		HealthyThreshold:   uint32Value(1),
		ReuseConnection:    wrapperspb.Bool(true),
		HealthChecker: &core.HealthCheck_GrpcHealthCheck_{
			GrpcHealthCheck: &core.HealthCheck_GrpcHealthCheck{},
		},
	}
}
