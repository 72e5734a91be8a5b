package xds

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"

	rules "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	signing "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/aws_request_signing/v3"
	process "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	mutation "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	codec "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/upstream_codec/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/wire"
)

// The headers in which a client says what answers it can read: Bedrock's are read by Go,
// in one form. That none is compressed is said to all providers.
var acceptHeaders = []string{"accept"}

// bedrockFilters is what each attempt at Bedrock runs: what is nobody's business there
// is removed, the request is translated, and what is then there is signed. The answer is
// translated in the filters of the client's side (answerFilter).
func bedrockFilters(in Input, v variant, chains common) []*hcm.HttpFilter {
	p := in.Config.Providers[v.provider]
	requests := requestMutations(p, chains)
	for _, header := range acceptHeaders {
		requests = append(requests, remove(header))
	}
	answers := append(responseMutations(v.provider), saysModel(v)...)
	answers = append(answers,
		set("x-postern-provider-request-id", "%RESP(x-amzn-requestid)%"),
		set(wire.HeaderForm, wire.FormBedrock))
	return []*hcm.HttpFilter{
		filter("postern.private", &mutation.HeaderMutation{Mutations: &mutation.Mutations{
			RequestMutations: requests, ResponseMutations: answers,
		}}),
		filter("postern.bedrock", translation(p, v)),
		filter("postern.signature", signature(p)),
		filter("envoy.filters.http.upstream_codec", &codec.UpstreamCodec{}),
	}
}

// translation is the ext_proc filter of a request.
func translation(p *config.Provider, v variant) *process.ExternalProcessor {
	about := []*core.HeaderValue{
		{Key: wire.MetaPath, Value: noted(formMetadata, formPath)},
		{Key: wire.MetaName, Value: literal(v.deployment)},
	}
	for _, more := range []*core.HeaderValue{
		{Key: wire.MetaPattern, Value: literal(v.pattern)},
		{Key: wire.MetaFields, Value: strings.Join(p.Fields, ",")},
		{Key: wire.MetaHosts, Value: strings.Join(p.ImageHosts(), ",")},
	} {
		if more.GetValue() != "" {
			about = append(about, more)
		}
	}
	f := processFilter(wire.LaneBedrock, about...)
	f.MetadataOptions.ReceivingNamespaces.Untyped = []string{wire.MetadataAttempt}
	return f
}

// answerFilter translates the answers of providers of another form, before any other
// filter sees them. It asks with the headers; how the body is wanted is said then: not at
// all, whole, or in pieces. It stands here and not in a provider's cluster, because there
// Envoy 1.40 ends with a fault where an answer that its provider has finished is still
// held when the client's buffer fills (docs/adr/0010).
func answerFilter() *hcm.HttpFilter {
	f := processFilter(wire.LaneAnswer, &core.HeaderValue{Key: wire.MetaAsked, Value: noted(wire.MetadataAttempt, wire.MetadataAsked)})
	f.AllowModeOverride = true
	f.ProcessingMode = &process.ProcessingMode{
		RequestHeaderMode:   process.ProcessingMode_SKIP,
		RequestBodyMode:     process.ProcessingMode_NONE,
		RequestTrailerMode:  process.ProcessingMode_SKIP,
		ResponseHeaderMode:  process.ProcessingMode_SEND,
		ResponseBodyMode:    process.ProcessingMode_NONE,
		ResponseTrailerMode: process.ProcessingMode_SKIP,
	}
	f.ForwardRules.AllowedHeaders = &matcher.ListStringMatcher{Patterns: []*matcher.StringMatcher{
		exact(":status"), exact("content-type"), exact(contentLength), exact("retry-after"), exact(wire.HeaderForm), prefix("x-amzn-"),
	}}
	f.MetadataOptions.ReceivingNamespaces.Untyped = []string{wire.MetadataUsage}
	return off(filter(filterAnswer, f))
}

// answersForm says that a route's answers may be of another form. It is judged by the final
// route, as notUnderstood is.
func answersForm() *anypb.Any {
	return pack(&process.ExtProcPerRoute{Override: &process.ExtProcPerRoute_Overrides{Overrides: &process.ExtProcOverrides{}}})
}

// signature signs with what Envoy finds by AWS's default chain, so that no AWS secret is
// in a configuration. The host is the one that the connection will be asked for: on a
// cold connection it is still the client's when the request is signed.
func signature(p *config.Provider) *signing.AwsRequestSigning {
	return &signing.AwsRequestSigning{
		ServiceName:          "bedrock",
		Region:               p.Region,
		HostRewrite:          authority(p.Endpoint()),
		MatchIncludedHeaders: []*matcher.StringMatcher{exact("content-type")},
	}
}

// alsoRetry adds Bedrock's own ways to say that another provider may do better: a model
// that failed has the status 424, and an account's quota is used up with a 400.
func alsoRetry(policy *route.RetryPolicy, attempts int) {
	if attempts < 2 {
		return
	}
	policy.RetryOn += ",retriable-headers"
	policy.RetriableStatusCodes = retried(true)
	policy.RetriableHeaders = []*route.HeaderMatcher{headerIs("x-amzn-errortype", prefix("ServiceQuotaExceeded"))}
}

// retried are the statuses below 500 that send a request to the next group.
func retried(translated bool) []uint32 {
	if !translated {
		return retriable
	}
	return append(slices.Clone(retriable), 424)
}

// anyTranslated says that a provider of cfg has another form.
func anyTranslated(cfg *config.Config) bool {
	for _, p := range cfg.Providers {
		if p.Translated() {
			return true
		}
	}
	return false
}

// translated says the same of a route.
func translated(route [][]config.Target) bool {
	return slices.ContainsFunc(slices.Concat(route...), config.Target.Translated)
}

// restoreAccept gives back what attempts at Bedrock took away.
func restoreAccept() []*rules.HeaderMutation {
	all := make([]*rules.HeaderMutation, 0, len(acceptHeaders))
	for _, header := range acceptHeaders {
		all = append(all, set(header, noted(formMetadata, header)))
	}
	return all
}

// groupsText is the groups of a route for a stage that may leave some out. It is ASCII,
// as the metadata of a stream has to be.
func groupsText(route [][]member) string {
	groups := make([][]wire.Member, 0, len(route))
	for _, members := range route {
		group := make([]wire.Member, 0, len(members))
		for _, m := range members {
			group = append(group, wire.Member{Cluster: m.cluster, Weight: m.weight, Provider: m.provider, Model: m.model})
		}
		groups = append(groups, group)
	}
	text, _ := json.Marshal(groups) //nolint:errchkjson // texts and numbers only: cannot fail
	var b strings.Builder
	for _, r := range string(text) {
		switch {
		case r < 0x7f:
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
