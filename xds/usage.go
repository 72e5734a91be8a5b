package xds

import (
	_ "embed" // usage.lua
	"time"

	accesslog "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	modulelog "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/dynamic_modules/v3"
	grpclog "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/grpc/v3"
	modules "github.com/envoyproxy/go-control-plane/envoy/extensions/dynamic_modules/v3"
	modulefilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/dynamic_modules/v3"
	tometadata "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_to_metadata/v3"
	lua "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/postern-proxy/postern/wire"
)

const (
	clusterUsage = "postern-usage" // gRPC: the access log service
	filterAsked  = "postern.asked" // notes the model's name for the log
	filterUsage  = "postern.usage" // reads the tokens of answers

	// LogFlush is how long an entry of the access log waits in Envoy at most.
	LogFlush = 500 * time.Millisecond
	// logBuffer is how much one worker collects before it sends, in bytes.
	logBuffer = 64 << 10
)

func accessLogs(in Input) []*accesslog.AccessLog {
	if in.Unmetered {
		return []*accesslog.AccessLog{failureLog()}
	}
	return []*accesslog.AccessLog{requestLog(in), failureLog()}
}

// recordLog has the native module write to the socket.
func recordLog(in Input) *accesslog.AccessLog_TypedConfig {
	return &accesslog.AccessLog_TypedConfig{TypedConfig: pack(&modulelog.DynamicModuleAccessLog{
		DynamicModuleConfig: moduleAt(in.Module),
		LoggerName:          "postern.records",
		LoggerConfig:        pack(wrapperspb.String(in.Sockets.Records)),
	})}
}

// requestLog writes an entry for each request.
func requestLog(in Input) *accesslog.AccessLog {
	if in.Module != "" {
		return &accesslog.AccessLog{Name: "postern.requests", ConfigType: recordLog(in)}
	}
	return &accesslog.AccessLog{
		Name: "postern.requests",
		ConfigType: &accesslog.AccessLog_TypedConfig{TypedConfig: pack(&grpclog.HttpGrpcAccessLogConfig{
			CommonConfig: usageLog(wire.LogRequests),
			// The version that routed it, and whether it was a stream.
			AdditionalResponseHeadersToLog: []string{wire.HeaderConfig, "content-type"},
		})},
	}
}

// attemptLog writes an entry for each attempt that failed, a redirect among them: the request's own entry
// tells of the one that did not.
func attemptLog(in Input) *accesslog.AccessLog {
	filter := failed(300, "postern.attempt_log.status")
	if in.Module != "" {
		return &accesslog.AccessLog{Name: "postern.attempts", Filter: filter, ConfigType: recordLog(in)}
	}
	return &accesslog.AccessLog{
		Name:   "postern.attempts",
		Filter: filter,
		ConfigType: &accesslog.AccessLog_TypedConfig{TypedConfig: pack(&grpclog.HttpGrpcAccessLogConfig{
			CommonConfig: usageLog(wire.LogAttempts),
			// How long a provider wants to be left alone, and what Amazon Bedrock calls its error.
			AdditionalResponseHeadersToLog: []string{"retry-after", "x-amzn-errortype"},
		})},
	}
}

// usageLog is a log to the usage service.
func usageLog(name string) *grpclog.CommonGrpcAccessLogConfig {
	return &grpclog.CommonGrpcAccessLogConfig{
		LogName: name,
		GrpcService: &core.GrpcService{TargetSpecifier: &core.GrpcService_EnvoyGrpc_{
			EnvoyGrpc: &core.GrpcService_EnvoyGrpc{ClusterName: clusterUsage},
		}},
		TransportApiVersion: core.ApiVersion_V3,
		BufferFlushInterval: seconds(LogFlush),
		BufferSizeBytes:     uint32Value(logBuffer),
	}
}

// usageCluster is the access log service.
func usageCluster(socket string) *cluster.Cluster {
	c := service(clusterUsage, socket)
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{protocolOptions: grpcOptions()}
	return c
}

// failed is an access log's filter: an answer of a status and above, or anything that
// Envoy flags. key is the runtime key that Envoy asks for and nobody sets.
func failed(status uint32, key string) *accesslog.AccessLogFilter {
	return &accesslog.AccessLogFilter{FilterSpecifier: &accesslog.AccessLogFilter_OrFilter{
		OrFilter: &accesslog.OrFilter{Filters: []*accesslog.AccessLogFilter{
			{FilterSpecifier: &accesslog.AccessLogFilter_StatusCodeFilter{
				StatusCodeFilter: &accesslog.StatusCodeFilter{Comparison: &accesslog.ComparisonFilter{
					Op:    accesslog.ComparisonFilter_GE,
					Value: &core.RuntimeUInt32{DefaultValue: status, RuntimeKey: key},
				}},
			}},
			{FilterSpecifier: &accesslog.AccessLogFilter_ResponseFlagFilter{
				ResponseFlagFilter: &accesslog.ResponseFlagFilter{},
			}},
		}},
	}}
}

// usageScript reads usage objects.
//
//go:embed usage.lua
var usageScript string

// usageFilter reads the tokens of each answer, on every route but those that say
// notMetered: by the module at that path, which is made for it, or else by the script.
func usageFilter(module string) *hcm.HttpFilter {
	if module == "" {
		return filter(filterUsage, &lua.Lua{DefaultSourceCode: &core.DataSource{
			Specifier: &core.DataSource_InlineString{InlineString: usageScript},
		}})
	}
	return filter(filterUsage, &modulefilter.DynamicModuleFilter{
		FilterName:          filterUsage,
		DynamicModuleConfig: moduleAt(module),
	})
}

// moduleAt is the native module at a path.
func moduleAt(path string) *modules.DynamicModuleConfig {
	return &modules.DynamicModuleConfig{
		DoNotClose:       true,
		MetricsNamespace: "postern",
		Module: &core.AsyncDataSource{Specifier: &core.AsyncDataSource_Local{Local: &core.DataSource{
			Specifier: &core.DataSource_Filename{Filename: path},
		}}},
	}
}

// notMetered is for routes whose answers name no tokens.
func notMetered() *anypb.Any { return pack(&route.FilterConfig{Disabled: true}) }

// askedFilter does nothing except on the routes that ask (noteModel).
func askedFilter() *hcm.HttpFilter { return filter(filterAsked, &tometadata.Config{}) }

// noteModel has the log know the model's name where the route's own does not say it.
func noteModel(more ...*tometadata.Config_Rule) *anypb.Any {
	return pack(&tometadata.Config{RequestRules: append([]*tometadata.Config_Rule{{
		Header: wire.HeaderModel,
		OnHeaderPresent: &tometadata.Config_KeyValuePair{
			MetadataNamespace: wire.MetadataRequest, Key: "model", Type: tometadata.Config_STRING,
		},
	}}, more...)})
}
