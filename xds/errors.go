package xds

import (
	_ "embed" // errors.lua, ending.lua
	"fmt"
	"slices"
	"strings"

	xdscore "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcher "github.com/cncf/xds/go/xds/type/matcher/v3"
	accesslog "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	matching "github.com/envoyproxy/go-control-plane/envoy/extensions/common/matching/v3"
	composite "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	lua "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	upstream "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/postern-proxy/postern/fault"
	"github.com/postern-proxy/postern/wire"
)

// What a provider answers that is no success is looked at before the client sees it, and
// what is said of being busy is noted where another attempt follows (docs/adr/0012). Both
// are scripts that Envoy begins only where the status asks for it, so that good answers pay
// for a look at the status.
const (
	filterErrors = "postern.errors"

	busyMetadata = "postern.busy" // of a request: an attempt was answered 429
	busySince    = "status"       // 429
	busyAfter    = "after"        // its retry-after, where it had one
)

// errorsScript judges answers.
//
//go:embed errors.lua
var errorsScript string

// endingScript proves the end of streams that have none.
//
//go:embed ending.lua
var endingScript string

// headerFraming says in answers what tells their end: the protocol, and of HTTP/1 the
// length or the chunks. It is written in the provider's chain, before any filter of the
// gate's takes a length away, and no answer leaves with it.
const headerFraming = wire.HeaderPrefix + "framing"

// framing is its value.
const framing = "%UPSTREAM_PROTOCOL%%RESP(content-length)%%RESP(transfer-encoding)%"

// unframed is that of an answer whose end is the end of its connection.
const unframed = `HTTP/1\.[01]`

// busyScript notes one.
const busyScript = `function envoy_on_response(handle)
  local note = handle:streamInfo():dynamicMetadata()
  note:set("` + busyMetadata + `", "` + busySince + `", "429")
  local after = handle:headers():get("retry-after")
  if not after or after == "" then return end
  note:set("` + busyMetadata + `", "` + busyAfter + `", after)
end
`

// errorsFilter gives refusals of providers OpenAI's form. Envoy's own answers have it
// (replies.go) and do not say who the provider was.
func errorsFilter() *hcm.HttpFilter {
	var bodies strings.Builder
	for _, b := range []struct {
		name string
		err  error
	}{
		{"REFUSED", fault.KeyRefused()},
		{"BUSY", fault.Busy()},
		{"FAILED", &fault.Error{Kind: fault.UpstreamFailed}},
		{"TURNED_DOWN", &fault.Error{Kind: fault.UpstreamRefusal}},
	} {
		fmt.Fprintf(&bodies, "local %s = [==[%s]==]\n", b.name, fault.OpenAI(b.err))
	}
	cut := fmt.Sprintf("local CUT = [==[\n\n\ndata: %s\n\n]==]\n", fault.OpenAI(&fault.Error{Kind: fault.UpstreamRefused})) // Lua takes the first line break
	refused := every(isnt(begins(":status", "2")), there("x-postern-provider"))
	unproven := every(begins("content-type", "text/event-stream"), fits(headerFraming, unframed))
	return chosen(filterErrors, &xdsmatcher.Matcher{MatcherType: &xdsmatcher.Matcher_MatcherList_{MatcherList: &xdsmatcher.Matcher_MatcherList{
		Matchers: []*xdsmatcher.Matcher_MatcherList_FieldMatcher{
			{Predicate: refused, OnMatch: runs(filterErrors, bodies.String()+errorsScript)},
			{Predicate: unproven, OnMatch: runs("postern.ending", cut+endingScript)},
		},
	}}})
}

type (
	condition  = xdsmatcher.Matcher_MatcherList_Predicate
	conditions = xdsmatcher.Matcher_MatcherList_Predicate_PredicateList
)

func every(of ...*condition) *condition {
	return &condition{MatchType: &xdsmatcher.Matcher_MatcherList_Predicate_AndMatcher{AndMatcher: &conditions{Predicate: of}}}
}

func isnt(of *condition) *condition {
	return &condition{MatchType: &xdsmatcher.Matcher_MatcherList_Predicate_NotMatcher{NotMatcher: of}}
}

// begins says how an answer's header begins, in small letters or large.
func begins(header, with string) *condition {
	return predicate(header, &xdsmatcher.StringMatcher{MatchPattern: &xdsmatcher.StringMatcher_Prefix{Prefix: with}, IgnoreCase: true})
}

// there says that an answer has a header.
func there(header string) *condition { return fits(header, ".+") }

// fits says that the whole of an answer's header is of a pattern.
func fits(header, pattern string) *condition {
	return predicate(header, &xdsmatcher.StringMatcher{MatchPattern: &xdsmatcher.StringMatcher_SafeRegex{
		SafeRegex: &xdsmatcher.RegexMatcher{
			EngineType: &xdsmatcher.RegexMatcher_GoogleRe2{GoogleRe2: &xdsmatcher.RegexMatcher_GoogleRE2{}}, Regex: pattern,
		},
	}})
}

// predicate asks a header of an answer.
func predicate(header string, value *xdsmatcher.StringMatcher) *condition {
	return &condition{MatchType: &xdsmatcher.Matcher_MatcherList_Predicate_SinglePredicate_{
		SinglePredicate: &xdsmatcher.Matcher_MatcherList_Predicate_SinglePredicate{
			Input:   answersHeader(header),
			Matcher: &xdsmatcher.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{ValueMatch: value},
		},
	}}
}

// busyFilter is for attempts that others may follow.
func busyFilter() *hcm.HttpFilter {
	return chosen(busyMetadata, &xdsmatcher.Matcher{MatcherType: &xdsmatcher.Matcher_MatcherTree_{MatcherTree: &xdsmatcher.Matcher_MatcherTree{
		Input: answersHeader(":status"),
		TreeType: &xdsmatcher.Matcher_MatcherTree_ExactMatchMap{ExactMatchMap: &xdsmatcher.Matcher_MatcherTree_MatchMap{
			Map: map[string]*xdsmatcher.Matcher_OnMatch{"429": runs(busyMetadata, busyScript)},
		}},
	}}})
}

// notesBusy adds it to a guarded cluster. A chain's last filter is the codec.
func notesBusy(c *cluster.Cluster) {
	options := new(upstream.HttpProtocolOptions)
	if err := c.GetTypedExtensionProtocolOptions()[protocolOptions].UnmarshalTo(options); err != nil {
		panic("xds: " + err.Error()) // packed here
	}
	chain := options.GetHttpFilters()
	options.HttpFilters = slices.Insert(chain, len(chain)-1, busyFilter())
	c.TypedExtensionProtocolOptions[protocolOptions] = pack(options)
}

// chosen is a filter that a matcher chooses by the headers of an answer.
func chosen(name string, by *xdsmatcher.Matcher) *hcm.HttpFilter {
	return filter(name, &matching.ExtensionWithMatcher{
		ExtensionConfig: extension("envoy.filters.http.composite", &composite.Composite{}), XdsMatcher: by,
	})
}

// answersHeader is a header of an answer, for a matcher.
func answersHeader(header string) *xdscore.TypedExtensionConfig {
	return &xdscore.TypedExtensionConfig{Name: header, TypedConfig: pack(&matcher.HttpResponseHeaderMatchInput{HeaderName: header})}
}

// runs has a script judge the answer.
func runs(name, script string) *xdsmatcher.Matcher_OnMatch {
	return &xdsmatcher.Matcher_OnMatch{OnMatch: &xdsmatcher.Matcher_OnMatch_Action{Action: &xdscore.TypedExtensionConfig{
		Name: name,
		TypedConfig: pack(&composite.ExecuteFilterAction{TypedConfig: extension(name, &lua.Lua{
			DefaultSourceCode: &core.DataSource{Specifier: &core.DataSource_InlineString{InlineString: script}},
		})}),
	}}}
}

// wasBusy is a request of which an attempt before the last was answered 429.
func wasBusy() *accesslog.AccessLogFilter {
	return &accesslog.AccessLogFilter{FilterSpecifier: &accesslog.AccessLogFilter_MetadataFilter{MetadataFilter: &accesslog.MetadataFilter{
		Matcher: &matcher.MetadataMatcher{
			Filter: busyMetadata,
			Path:   []*matcher.MetadataMatcher_PathSegment{{Segment: &matcher.MetadataMatcher_PathSegment_Key{Key: busySince}}},
			Value:  &matcher.ValueMatcher{MatchPattern: &matcher.ValueMatcher_StringMatch{StringMatch: exact("429")}},
		},
		MatchIfKeyNotFound: boolValue(false),
	}}}
}
