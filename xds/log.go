package xds

import (
	accesslog "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	stream "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// failureLog writes one JSON line for each request that failed, to Envoy's own
// output. It is the only trace of what the codec refused (malformed HTTP, headers
// over the limit). It names no header that holds a credential, and no query.
func failureLog() *accesslog.AccessLog {
	fields := map[string]*structpb.Value{}
	for name, operator := range map[string]string{
		"time":       "%START_TIME%",
		"request_id": "%REQ(X-REQUEST-ID)%",
		"method":     "%REQ(:METHOD)%",
		"path":       "%PATH(NQ)%",
		"route":      "%ROUTE_NAME%",
		"status":     "%RESPONSE_CODE%",
		"details":    "%RESPONSE_CODE_DETAILS%",
		"flags":      "%RESPONSE_FLAGS%",
		"provider":   "%UPSTREAM_CLUSTER%",
		"attempts":   "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
		"failure":    "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
		"tenant":     "%DYNAMIC_METADATA(" + jwtFilter + ":" + claims + ":tenant)%",
		"key":        "%DYNAMIC_METADATA(" + jwtFilter + ":" + claims + ":jti)%",
		"received":   "%BYTES_RECEIVED%",
		"sent":       "%BYTES_SENT%",
		"duration":   "%DURATION%",
	} {
		fields[name] = structpb.NewStringValue(operator)
	}
	return &accesslog.AccessLog{
		Name:   "postern.failures",
		Filter: failed(400, "postern.failure_log.status"),
		ConfigType: &accesslog.AccessLog_TypedConfig{TypedConfig: pack(&stream.StdoutAccessLog{
			AccessLogFormat: &stream.StdoutAccessLog_LogFormat{LogFormat: &core.SubstitutionFormatString{
				Format: &core.SubstitutionFormatString_JsonFormat{JsonFormat: &structpb.Struct{Fields: fields}},
			}},
		})},
	}
}
