package usage

import (
	"strings"

	data "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"

	"github.com/postern-proxy/postern/fault"
	"github.com/postern-proxy/postern/wire"
)

// viaUpstream are Envoy's details of an answer that came from upstream as it is.
const viaUpstream = "via_upstream"

// Blame is who is at fault that a request did not succeed.
type Blame string

// Who can be at fault.
const (
	Nobody   Blame = "none"
	Client   Blame = "client"   // a bad request, a bad key, over its limit, gone
	Gateway  Blame = "gateway"  // Postern, Envoy or their configuration
	Provider Blame = "provider" // an error, a refusal, a timeout, a cut
)

// Reason is why a request was refused before any provider was asked, in closed words
// for metrics and for the client's own eyes; Details say it at length.
type Reason string

// reasons are known by the beginning of Envoy's details.
var reasons = []struct {
	prefix string
	reason Reason
}{
	{"jwt_authn_access_denied", "key"},
	{"rbac_access_denied", "access"},
	{"local_rate_limited", "rate_limit"},
	{"request_rate_limited", "rate_limit"},
	{"rate_limited", "rate_limit"},
	{"request_payload_too_large", "body_too_large"},
	{"request_header_timeout", "request_timeout"},
	{"request_overall_timeout", "request_timeout"},
	{"stream_idle_timeout", "request_timeout"},
	{"route_not_found", "no_route"},
	{"direct_response", "no_route"},
	{"ext_proc", "extproc"},
	{"no_healthy_upstream", "no_provider"},
	{"cluster_not_found", "no_provider"},
	{"overload", "overload"},
	{"http1.", "malformed"},
	{"http2.", "malformed"},
	{"low_version", "malformed"},
	{"missing_host", "malformed"},
	{"missing_path", "malformed"},
	{wire.DetailsPrefix, "body"},
}

// reasonOf is why a request that no provider was asked for failed.
func reasonOf(r *Request) Reason {
	if r.Status < 400 && r.Status != 0 || r.sent || r.Tried > 1 || r.Details == viaUpstream {
		return ""
	}
	for _, known := range reasons {
		if strings.HasPrefix(r.Details, known.prefix) {
			return known.reason
		}
	}
	if r.Provider != "" { // it was tried: there was no connection to it
		return ""
	}
	if r.Aborted {
		return "client_left"
	}
	return "other"
}

// blame says who is at fault, for a request and for an attempt. asked says that a
// provider was.
func blame(status int, details string, flags *data.ResponseFlags, asked bool) Blame {
	switch {
	case left(flags):
		return Client
	case asked && details == viaUpstream && status >= 400:
		return providersAnswer(status)
	case asked && (broken(flags) || status >= 500 || status == 0):
		if flags.GetNoClusterFound() || flags.GetUpstreamOverflow() || !broken(flags) && strings.HasPrefix(details, "ext_proc") {
			return Gateway
		}
		return Provider
	case status == 0, status >= 500:
		return Gateway
	case status >= 400:
		return Client
	}
	return Nobody
}

// providersAnswer says whose fault a provider's refusal is. A refused credential is
// ours, since clients' never reach a provider; too many requests is the provider's
// state, not this request's mistake.
func providersAnswer(status int) Blame {
	switch {
	case status == 401, status == 403:
		return Gateway
	case status == 408, status == 424, status == 429, status >= 500:
		return Provider // 424: its model failed (Amazon Bedrock)
	}
	return Client
}

// brokenOff is whose fault it is that an answer ended with that kind of failure after it
// had begun with a 200: what the kind's status says.
func brokenOff(kind string) Blame {
	for _, k := range fault.Kinds() {
		if k.String() == kind {
			return providersAnswer(k.Status())
		}
	}
	return Provider
}

// Throttled says that an error's name, as Amazon's services send it in x-amzn-errortype,
// means too many requests, whatever its status is: a used-up quota has a 400.
func Throttled(name string) bool {
	name, _, _ = strings.Cut(name, ":")
	name = strings.ToLower(name[strings.LastIndexAny(name, "#/")+1:])
	return strings.HasPrefix(name, "throttl") || strings.HasPrefix(name, "servicequotaexceeded") ||
		strings.HasPrefix(name, "toomanyrequests") || strings.HasPrefix(name, "requestlimitexceeded")
}
