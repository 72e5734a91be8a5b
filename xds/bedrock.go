package xds

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"

	rules "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	signing "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/aws_request_signing/v3"
	process "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	mutation "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	codec "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/upstream_codec/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/wire"
)

// The headers in which a client says what answers it can read. Bedrock's answers are
// read by Go, in one form and not compressed.
var acceptHeaders = []string{"accept", "accept-encoding"}

// bedrockFilters is what each attempt at Bedrock runs: what is nobody's business there
// is removed, the request is translated, and what is then there is signed. On the way
// back the answer is translated before anything else sees it.
func bedrockFilters(in Input, v variant, custom []string) []*hcm.HttpFilter {
	p := in.Config.Providers[v.provider]
	requests := requestMutations(p, custom, in.Config)
	for _, header := range acceptHeaders {
		requests = append(requests, remove(header))
	}
	answers := append(responseMutations(v.provider), saysModel(v)...)
	answers = append(answers,
		set("x-postern-provider-request-id", "%RESP(x-amzn-requestid)%"),
		removeMatching(prefix("x-amzn-")))
	return []*hcm.HttpFilter{
		filter("postern.private", &mutation.HeaderMutation{Mutations: &mutation.Mutations{
			RequestMutations: requests, ResponseMutations: answers,
		}}),
		filter("postern.bedrock", translation(p, v)),
		filter("postern.signature", signature(p)),
		filter("envoy.filters.http.upstream_codec", &codec.UpstreamCodec{}),
	}
}

// translation is the ext_proc filter both ways. A stream is asked for piece by piece
// once its headers are there.
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
	f.AllowModeOverride = true
	f.ProcessingMode.ResponseHeaderMode = process.ProcessingMode_SEND
	f.ProcessingMode.ResponseBodyMode = process.ProcessingMode_BUFFERED
	f.ForwardRules.AllowedHeaders = &matcher.ListStringMatcher{Patterns: []*matcher.StringMatcher{
		exact(":status"), exact("content-type"), exact(contentLength), exact("retry-after"),
		exact("x-amzn-errortype"), exact("x-amzn-bedrock-input-token-count"),
	}}
	f.MetadataOptions.ReceivingNamespaces.Untyped = []string{wire.MetadataUsage}
	return f
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

// anyTranslated says that a route of cfg has a target of another form.
func anyTranslated(cfg *config.Config) bool {
	for _, p := range cfg.Providers {
		if p.Translated() {
			return true
		}
	}
	return false
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
