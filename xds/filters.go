package xds

import (
	accesslog "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	rules "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	buffer "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/buffer/v3"
	cors "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	mutation "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	router "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	transform "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/transform/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/postern-proxy/postern/wire"
)

// Names of the filters, as they stand in typed_per_filter_config and in ECDS.
const (
	filterNames     = "postern.names"
	filterCORS      = "envoy.filters.http.cors"
	filterKeys      = "postern.keys"
	filterBody      = "postern.body"
	filterTransform = "postern.model"
	filterFind      = "postern.find"
	filterTiers     = "postern.tiers"
	filterBuckets   = "postern.buckets"
	filterStages    = "postern.understand"
	filterAnswer    = "postern.answer" // translates answers
	filterRouter    = "envoy.filters.http.router"
)

// bodyCeiling is what no configuration may exceed: the listener's own bound,
// above the limit that comes with the routes.
const bodyCeiling = 64 << 20

// filters is the order of judgement: who, how large, which model, may they, how
// often, and only then where to.
func filters(in Input) []*hcm.HttpFilter {
	all := []*hcm.HttpFilter{
		filter(filterNames, &mutation.HeaderMutation{Mutations: &mutation.Mutations{
			ResponseMutations: rateLimitNames(),
		}}),
		filter(filterCORS, &cors.Cors{}),
		discovered(filterKeys, jwtType),
		filter(filterBody, &buffer.Buffer{MaxRequestBytes: uint32Value(bodyCeiling)}),
		modelFilter(),
		off(filter(filterFind, processFilter(wire.LaneFind))),
		askedFilter(),
		discovered(filterTiers, rbacType),
		discovered(filterBuckets, localRateLimitType),
		off(filter(filterStages, stagesFilter())),
		formFilter(),
	}
	last := &router.Router{SuppressEnvoyHeaders: true}
	if !in.Unmetered {
		last.UpstreamLog = []*accesslog.AccessLog{attemptLog(in)}
		all = append(all, usageFilter(in.Module))
	}
	// Before the reader of tokens on the way back: that one may keep the last line of a
	// stream to its end, and the end of one that is cut must be seen as it came.
	return append(all, errorsFilter(), answerFilter(), filter(filterRouter, last))
}

// modelFilter reads "model" from a small JSON body into a header and has the route
// chosen again; the body itself passes untouched. It is off except on the routes
// that wait for a small body's model (see needModel).
func modelFilter() *hcm.HttpFilter {
	return off(filter(filterTransform, &transform.TransformConfig{
		RequestTransformation: &transform.Transformation{
			HeadersMutations: []*rules.HeaderMutation{set(wire.HeaderModel, "%REQUEST_BODY(model)%")},
		},
		ClearRouteCache: true,
	}))
}

// off is a filter that runs only where the first route match switches it on.
func off(f *hcm.HttpFilter) *hcm.HttpFilter {
	f.Disabled = true
	return f
}

// rateLimitNames gives the bucket's state OpenAI's names and forms: a client
// reads x-ratelimit-remaining-requests, and a reset as a duration ("3s").
// This filter is the first, so that on the way back it is the last and sees what
// the limiter wrote.
func rateLimitNames() []*rules.HeaderMutation {
	const reset = "x-ratelimit-reset-requests"
	return []*rules.HeaderMutation{
		set("x-ratelimit-limit-requests", "%RESP(x-ratelimit-limit)%"),
		set("x-ratelimit-remaining-requests", "%RESP(x-ratelimit-remaining)%"),
		set(reset, "%RESP(x-ratelimit-reset)%"),
		// Only where a value was written by the line before: an absent one
		// must not become a bare "s".
		mutate(reset, "%RESP(x-ratelimit-reset)%s", core.HeaderValueOption_OVERWRITE_IF_EXISTS),
		remove("x-ratelimit-limit"),
		remove("x-ratelimit-remaining"),
		remove("x-ratelimit-reset"),
		remove(headerFraming),
	}
}
