package usage

import (
	"math/bits"
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

// flagBits are the places of the flags in Envoy's own set of them
// (envoy/stream_info/stream_info.h, CoreResponseFlag). The one that carries more than a
// bit, UAEX, has none here: nothing of ours makes it.
var flagBits = map[int]func(*data.ResponseFlags){
	0:  func(f *data.ResponseFlags) { f.FailedLocalHealthcheck = true },
	1:  func(f *data.ResponseFlags) { f.NoHealthyUpstream = true },
	2:  func(f *data.ResponseFlags) { f.UpstreamRequestTimeout = true },
	3:  func(f *data.ResponseFlags) { f.LocalReset = true },
	4:  func(f *data.ResponseFlags) { f.UpstreamRemoteReset = true },
	5:  func(f *data.ResponseFlags) { f.UpstreamConnectionFailure = true },
	6:  func(f *data.ResponseFlags) { f.UpstreamConnectionTermination = true },
	7:  func(f *data.ResponseFlags) { f.UpstreamOverflow = true },
	8:  func(f *data.ResponseFlags) { f.NoRouteFound = true },
	9:  func(f *data.ResponseFlags) { f.DelayInjected = true },
	10: func(f *data.ResponseFlags) { f.FaultInjected = true },
	11: func(f *data.ResponseFlags) { f.RateLimited = true },
	13: func(f *data.ResponseFlags) { f.RateLimitServiceError = true },
	14: func(f *data.ResponseFlags) { f.DownstreamConnectionTermination = true },
	15: func(f *data.ResponseFlags) { f.UpstreamRetryLimitExceeded = true },
	16: func(f *data.ResponseFlags) { f.StreamIdleTimeout = true },
	17: func(f *data.ResponseFlags) { f.InvalidEnvoyRequestHeaders = true },
	18: func(f *data.ResponseFlags) { f.DownstreamProtocolError = true },
	19: func(f *data.ResponseFlags) { f.UpstreamMaxStreamDurationReached = true },
	20: func(f *data.ResponseFlags) { f.ResponseFromCacheFilter = true },
	21: func(f *data.ResponseFlags) { f.NoFilterConfigFound = true },
	22: func(f *data.ResponseFlags) { f.DurationTimeout = true },
	23: func(f *data.ResponseFlags) { f.UpstreamProtocolError = true },
	24: func(f *data.ResponseFlags) { f.NoClusterFound = true },
	25: func(f *data.ResponseFlags) { f.OverloadManager = true },
	26: func(f *data.ResponseFlags) { f.DnsResolutionFailure = true },
	28: func(f *data.ResponseFlags) { f.DownstreamRemoteReset = true },
}

// flagsAt are the flags of a set of bits; nil: none.
func flagsAt(set uint64) *data.ResponseFlags {
	if set == 0 {
		return nil
	}
	f := &data.ResponseFlags{}
	for ; set != 0; set &= set - 1 {
		if raise := flagBits[bits.TrailingZeros64(set)]; raise != nil {
			raise(f)
		}
	}
	return f
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
