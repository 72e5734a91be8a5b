package xds

import (
	"strings"

	accesslog "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	cel "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/postern-proxy/postern/fault"
	"github.com/postern-proxy/postern/wire"
)

const policyUnknownTier = "unknown_tier"

// reply says which of Envoy's own answers becomes which error. The details are
// Envoy's (%RESPONSE_CODE_DETAILS%); they choose the error and are never part of
// its text, because they name addresses and socket paths.
type reply struct {
	when string // CEL over response.code_details, written as $d
	err  *fault.Error
	keep bool // Envoy's own status stays
	busy bool // only where an attempt before said that it is busy
}

// unanswered are requests whose last attempt had no answer that can be passed on.
const unanswered = `$d.startsWith('upstream_') || $d in ['response_timeout', 'no_healthy_upstream', 'failed_to_inject_credential'] || $d.contains('protocol_error')`

// replies are asked in order.
var replies = []reply{
	{`$d.startsWith('jwt_authn_access_denied')`, &fault.Error{Kind: fault.InvalidKey}, false, false},
	{`$d.startsWith('rbac_access_denied_matched_policy[` + policyUnknownTier + `')`,
		fault.New("", fault.Forbidden, "The tier of this API key is not configured here."), false, false},
	{`$d.startsWith('rbac_access_denied')`, &fault.Error{Kind: fault.Forbidden}, false, false},
	{`$d == 'request_payload_too_large' || $d == 'request_payload_exceeded_retry_buffer_limit'`, &fault.Error{Kind: fault.BodyTooLarge}, false, false},
	{`$d == 'local_rate_limited' || $d == 'request_rate_limited'`, &fault.Error{Kind: fault.RateLimited}, false, false},
	{`$d == 'request_overall_timeout' || $d == 'request_header_timeout'`, &fault.Error{Kind: fault.RequestTimeout}, false, false},
	// The last attempt had no answer, but one before it had: that says more.
	{unanswered, fault.Busy(), false, true},
	{`$d in ['upstream_per_try_timeout', 'upstream_per_try_idle_timeout', 'response_timeout', 'upstream_response_timeout', 'stream_idle_timeout', 'upstream_max_stream_duration_reached']`,
		&fault.Error{Kind: fault.UpstreamTimeout}, false, false},
	{`$d.contains('protocol_error')`, &fault.Error{Kind: fault.UpstreamGarbage}, false, false},
	{`$d.startsWith('upstream_reset') || $d.startsWith('upstream_remote_reset') || $d == 'no_healthy_upstream' || $d == 'failed_to_inject_credential' || $d.startsWith('credential')`,
		&fault.Error{Kind: fault.UpstreamRefused}, false, false},
	{`$d in ['cluster_not_found', 'no_cluster_found', 'overflow', 'maintenance_mode'] || $d.startsWith('ext_proc_error') || $d.startsWith('ext_proc')`,
		&fault.Error{Kind: fault.Unavailable}, false, false},
	// A name that no deployment has (path.go).
	{`$d == 'lua_response' && response.code == 404`, &fault.Error{Kind: fault.ModelNotFound, Param: "model"}, false, false},
	{`$d == 'route_not_found'`, &fault.Error{Kind: fault.UnknownPath}, false, false},
	// What the codec refuses: the request line, the headers, the transfer.
	{`response.code in [426, 431, 501]`, fault.New("", fault.InvalidRequest, "The request is not HTTP that this gateway takes."), true, false},
	// Whatever else Envoy says itself: never its own words.
	{`$d != 'direct_response' && !$d.startsWith('` + wire.DetailsPrefix + `') && response.code >= 500`, &fault.Error{Kind: fault.Unavailable}, false, false},
	{`$d != 'direct_response' && !$d.startsWith('` + wire.DetailsPrefix + `') && response.code >= 400`, &fault.Error{Kind: fault.InvalidRequest}, false, false},
}

// localReplies gives Envoy's own answers the client's form, those of its codec
// included. Direct responses bring theirs.
func localReplies() *hcm.LocalReplyConfig {
	config := &hcm.LocalReplyConfig{}
	for _, r := range replies {
		mapper := &hcm.ResponseMapper{
			Filter: when(r.when),
			BodyFormatOverride: &core.SubstitutionFormatString{
				Format: &core.SubstitutionFormatString_TextFormatSource{
					TextFormatSource: inline(literal(string(fault.OpenAI(r.err)))),
				},
				ContentType: "application/json",
			},
		}
		if r.busy {
			mapper.Filter = both(wasBusy(), mapper.GetFilter())
			mapper.HeadersToAdd = []*core.HeaderValueOption{
				option("retry-after", noted(busyMetadata, busyAfter), core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD),
				option("x-should-retry", "true", core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD),
			}
		}
		if !r.keep {
			mapper.StatusCode = uint32Value(uint32(r.err.Kind.Status())) //nolint:gosec // an HTTP status
		}
		config.Mappers = append(config.Mappers, mapper)
	}
	return config
}

func both(a, b *accesslog.AccessLogFilter) *accesslog.AccessLogFilter {
	return &accesslog.AccessLogFilter{FilterSpecifier: &accesslog.AccessLogFilter_AndFilter{
		AndFilter: &accesslog.AndFilter{Filters: []*accesslog.AccessLogFilter{a, b}},
	}}
}

func when(expression string) *accesslog.AccessLogFilter {
	text := strings.ReplaceAll(expression, "$d", "response.code_details")
	return &accesslog.AccessLogFilter{FilterSpecifier: &accesslog.AccessLogFilter_ExtensionFilter{
		ExtensionFilter: &accesslog.ExtensionFilter{
			Name: "envoy.access_loggers.extension_filters.cel",
			ConfigType: &accesslog.ExtensionFilter_TypedConfig{
				TypedConfig: pack(&cel.ExpressionFilter{Expression: text}),
			},
		},
	}}
}
