package usage

import (
	"strings"

	data "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
)

// flagNames are Envoy's short names of its response flags
// (https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage).
var flagNames = []struct {
	name string
	set  func(*data.ResponseFlags) bool
}{
	{"LH", (*data.ResponseFlags).GetFailedLocalHealthcheck},
	{"UH", (*data.ResponseFlags).GetNoHealthyUpstream},
	{"UT", (*data.ResponseFlags).GetUpstreamRequestTimeout},
	{"LR", (*data.ResponseFlags).GetLocalReset},
	{"UR", (*data.ResponseFlags).GetUpstreamRemoteReset},
	{"UF", (*data.ResponseFlags).GetUpstreamConnectionFailure},
	{"UC", (*data.ResponseFlags).GetUpstreamConnectionTermination},
	{"UO", (*data.ResponseFlags).GetUpstreamOverflow},
	{"NR", (*data.ResponseFlags).GetNoRouteFound},
	{"DI", (*data.ResponseFlags).GetDelayInjected},
	{"FI", (*data.ResponseFlags).GetFaultInjected},
	{"RL", (*data.ResponseFlags).GetRateLimited},
	{"UAEX", func(f *data.ResponseFlags) bool { return f.GetUnauthorizedDetails() != nil }},
	{"RLSE", (*data.ResponseFlags).GetRateLimitServiceError},
	{"DC", (*data.ResponseFlags).GetDownstreamConnectionTermination},
	{"URX", (*data.ResponseFlags).GetUpstreamRetryLimitExceeded},
	{"SI", (*data.ResponseFlags).GetStreamIdleTimeout},
	{"IH", (*data.ResponseFlags).GetInvalidEnvoyRequestHeaders},
	{"DPE", (*data.ResponseFlags).GetDownstreamProtocolError},
	{"UMSDR", (*data.ResponseFlags).GetUpstreamMaxStreamDurationReached},
	{"RFCF", (*data.ResponseFlags).GetResponseFromCacheFilter},
	{"NFCF", (*data.ResponseFlags).GetNoFilterConfigFound},
	{"DT", (*data.ResponseFlags).GetDurationTimeout},
	{"UPE", (*data.ResponseFlags).GetUpstreamProtocolError},
	{"NC", (*data.ResponseFlags).GetNoClusterFound},
	{"OM", (*data.ResponseFlags).GetOverloadManager},
	{"DF", (*data.ResponseFlags).GetDnsResolutionFailure},
	{"DR", (*data.ResponseFlags).GetDownstreamRemoteReset},
}

// flagText is the set flags, by their short names, with commas.
func flagText(f *data.ResponseFlags) string {
	if f == nil {
		return ""
	}
	var set []string
	for _, flag := range flagNames {
		if flag.set(f) {
			set = append(set, flag.name)
		}
	}
	return strings.Join(set, ",")
}

// left says that the client went away before the end.
func left(f *data.ResponseFlags) bool {
	return f.GetDownstreamConnectionTermination() || f.GetDownstreamRemoteReset()
}

// broken says that the provider's side ended the answer, whatever its status was.
func broken(f *data.ResponseFlags) bool {
	return f.GetUpstreamRemoteReset() || f.GetUpstreamConnectionFailure() || f.GetUpstreamConnectionTermination() ||
		f.GetUpstreamRequestTimeout() || f.GetUpstreamProtocolError() || f.GetStreamIdleTimeout() ||
		f.GetUpstreamMaxStreamDurationReached() || f.GetDnsResolutionFailure()
}
