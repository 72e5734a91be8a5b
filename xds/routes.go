package xds

import (
	"math"
	"slices"
	"sort"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	buffer "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/buffer/v3"
	cors "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/fault"
	"github.com/postern-proxy/postern/wire"
)

// Paths at the door.
const (
	pathLive   = "/livez"
	pathReady  = "/readyz"
	pathModels = "/v1/models"
	pathUsage  = "/v1/usage"
	pathBase   = "/v1"
	pathAPI    = "/v1/"
)

// modelPaths are the endpoints whose body names a model.
var modelPaths = []string{wire.PathChat, wire.PathCompletions, wire.PathEmbeddings, wire.PathResponses}

// contentLength is the header by which a body's size chooses its way.
const contentLength = "content-length"

// What passes by path must not reach an endpoint that names a model, because nobody
// would have asked whether the model may be used: neither in another spelling of its
// path nor in one that only a provider decodes.
const (
	plainPath      = `/v1/[A-Za-z0-9_.:@~/-]+`
	modelLookalike = `(?i)/v1/(chat/completions|completions|embeddings|responses)(/|[^/].*)?`
)

// printable is what a model's name may look like where a pattern is asked:
// visible ASCII, and spaces within; at most 256 bytes. An exact name was matched
// before it.
const printable = `[!-~]([ -~]{0,254}[!-~])?`

// SmallBody is the largest body in bytes whose model Envoy reads itself; above it
// Go's scan costs less (docs/adr/0002).
const SmallBody = 20 << 10

// notText is how JSON that is no string looks once it stands in a header.
const notText = `-?[0-9.]+([eE][+-]?[0-9]+)?|true|false|null|\[.*|\{.*`

// routes is the route table. A request for a model is matched twice: first by
// its path, where it waits for its model's name (needModel), and again once the
// header with the name is there. The order follows from that: what waits comes
// first, because every request passes there; names come next; other paths last.
func routes(in Input) *route.RouteConfiguration {
	cfg := in.Config
	host := &route.VirtualHost{
		Name:                   "postern",
		Domains:                []string{"*"},
		RequestBodyBufferLimit: wrapperspb.UInt64(uint64(cfg.Listen.BodyLimit)), //nolint:gosec // validated
		ResponseHeadersToAdd: []*core.HeaderValueOption{
			option(wire.HeaderConfig, cfg.Version, core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD),
		},
		ResponseHeadersToRemove: []string{headerWait},
		TypedPerFilterConfig: map[string]*anypb.Any{
			filterBody: pack(&buffer.BufferPerRoute{Override: &buffer.BufferPerRoute_Buffer{
				Buffer: &buffer.Buffer{MaxRequestBytes: uint32Value(uint32(cfg.Listen.BodyLimit))}, //nolint:gosec // validated
			}}),
		},
	}
	if cfg.Listen.CORS != nil {
		host.TypedPerFilterConfig[filterCORS] = pack(corsPolicy(cfg.Listen.CORS))
	}
	if anyUnderstood(cfg) {
		// Refusals and native routes are not asked about; an entry that is
		// says so itself (understood).
		host.TypedPerFilterConfig[filterStages] = notUnderstood()
	}
	if anyTranslated(cfg) {
		host.TypedPerFilterConfig[filterAnswer] = notUnderstood() // likewise
	}
	host.Routes = append(host.Routes, tooLarge(cfg))
	host.Routes = append(host.Routes, needModel(cfg)...)
	host.Routes = append(host.Routes, modelRoutes(in)...)
	host.Routes = append(host.Routes, otherPaths(in)...)
	return &route.RouteConfiguration{
		Name:                           routeTable,
		VirtualHosts:                   []*route.VirtualHost{host},
		MaxDirectResponseBodySizeBytes: uint32Value(64 << 10),
	}
}

// needModel is the first match of every request that must name a model. If the
// name is found, the route is chosen again and this one never answers; if not,
// this one is the answer. Small bodies of known length are read by Envoy, the others
// by Go.
func needModel(cfg *config.Config) []*route.Route {
	absent := modelPresent()
	absent.InvertMatch = true
	post := headerIs(":method", exact("POST"))
	form := headerIs("content-type", prefix("application/json")) // as Envoy's reader asks
	short := &route.HeaderMatcher{Name: contentLength, HeaderMatchSpecifier: &route.HeaderMatcher_RangeMatch{
		RangeMatch: &typev3.Int64Range{Start: 0, End: SmallBody + 1},
	}}
	stages := anyUnderstood(cfg)
	var all []*route.Route
	for _, path := range modelPaths {
		encoded := refuse("model.encoded", &fault.Error{Kind: fault.UnsupportedEncoding})
		encoded.Match = pathMatch(path, post, absent, compressed())
		envoyReads := waiting(cfg, stages, filterTransform, pathMatch(path, post, absent, form, short))
		// Its length is known and small: there is nothing to bound.
		envoyReads.TypedPerFilterConfig[filterBody] = pack(&route.FilterConfig{Disabled: true})
		all = append(all, encoded, envoyReads,
			waiting(cfg, stages, filterFind, pathMatch(path, post, absent, form)),
			waiting(cfg, stages, "", pathMatch(path, post, absent)))
	}
	return all
}

// waiting is a route that waits for a model's name, which reader is to find; "" is
// for bodies of no form that a reader knows. stages says that a model's entry may ask
// for them once its name is found.
func waiting(cfg *config.Config, stages bool, reader string, match *route.RouteMatch) *route.Route {
	r := turnDown(cfg, "model.missing", fault.ModelMissing())
	r.Match = match
	r.TypedPerFilterConfig = map[string]*anypb.Any{}
	if reader != "" {
		r.TypedPerFilterConfig[reader] = on()
	}
	if stages {
		r.TypedPerFilterConfig[filterStages] = on()
	}
	if anyTranslated(cfg) {
		r.TypedPerFilterConfig[filterAnswer] = on()
	}
	return r
}

// turnDown is refuse on the paths that pages call. Envoy's CORS filter passes over
// routes that are direct responses, so where pages may call the gate the refusal is
// Postern's own answer: the same, by way of a cluster.
func turnDown(cfg *config.Config, name string, err *fault.Error) *route.Route {
	if cfg.Listen.CORS == nil {
		return refuse(name, err)
	}
	return answered(name, nil)
}

// tooLarge answers a body whose announced length is over the limit without waiting
// for it.
func tooLarge(cfg *config.Config) *route.Route {
	r := refuse("body.too_large", &fault.Error{Kind: fault.BodyTooLarge})
	r.Match = pathPrefix("/", &route.HeaderMatcher{Name: contentLength, HeaderMatchSpecifier: &route.HeaderMatcher_RangeMatch{
		RangeMatch: &typev3.Int64Range{Start: int64(cfg.Listen.BodyLimit) + 1, End: math.MaxInt64},
	}})
	r.TypedPerFilterConfig = map[string]*anypb.Any{filterBody: pack(&route.FilterConfig{Disabled: true})}
	return r
}

// compressed matches a body that nobody here can read.
func compressed() *route.HeaderMatcher {
	encoded := headerIs("content-encoding", regex("(?i)identity|"))
	encoded.InvertMatch = true
	encoded.TreatMissingHeaderAsEmpty = true
	return encoded
}

// anyUnderstood says that a model's bodies are read for more than the model's name.
func anyUnderstood(cfg *config.Config) bool {
	for name, m := range cfg.Models {
		if m.Understood(name, cfg.Providers) {
			return true
		}
	}
	return false
}

// modelRoutes are the second match: exact names, then what no name may be, then
// patterns from the longest to the shortest, then no such model.
func modelRoutes(in Input) []*route.Route {
	cfg := in.Config
	var exacts, patterns []*route.Route
	for _, name := range names(cfg.Models) {
		if strings.HasSuffix(name, "*") {
			continue
		}
		exacts = append(exacts, modelRoute(in, name, headerIs(wire.HeaderModel, exact(name))))
	}
	for _, pattern := range byLength(cfg.Models) {
		match := modelPresent()
		if stem := strings.TrimSuffix(pattern, "*"); stem != "" {
			match = headerIs(wire.HeaderModel, prefix(stem))
		}
		patterns = append(patterns, modelRoute(in, pattern, match))
	}
	wrongType := refuse("model.not_text", &fault.Error{
		Kind: fault.InvalidRequest, Param: "model", Message: `"model" must be a string.`,
	})
	wrongType.Match = pathPrefix(pathAPI, headerIs(wire.HeaderModel, regex(notText)))
	unprintable := refuse("model.unprintable", &fault.Error{
		Kind: fault.InvalidRequest, Param: "model", Message: `"model" must be a name of printable characters, at most 256.`,
	})
	not := headerIs(wire.HeaderModel, regex(printable))
	not.InvertMatch = true
	unprintable.Match = pathPrefix(pathAPI, modelPresent(), not)
	unknown := refuse("model.unknown", &fault.Error{Kind: fault.ModelNotFound, Param: "model"})
	unknown.Match = pathPrefix(pathAPI, modelPresent())

	return slices.Concat(exacts, []*route.Route{wrongType, unprintable}, patterns, []*route.Route{unknown})
}

// byLength are the patterns, the most specific first.
func byLength(models map[string]*config.Model) []string {
	var patterns []string
	for _, name := range names(models) {
		if strings.HasSuffix(name, "*") {
			patterns = append(patterns, name)
		}
	}
	sort.SliceStable(patterns, func(i, j int) bool { return len(patterns[i]) > len(patterns[j]) })
	return patterns
}

// otherPaths are the routes of requests that name no model.
func otherPaths(in Input) []*route.Route {
	cfg := in.Config
	live := &route.Route{
		Name:  "live",
		Match: pathMatch(pathLive),
		Action: &route.Route_DirectResponse{DirectResponse: &route.DirectResponseAction{
			Status: 200, Body: inline(`{"status":"live"}`),
		}},
		ResponseHeadersToAdd: jsonContent(),
	}
	all := []*route.Route{
		live,
		answered("ready", pathMatch(pathReady)),
		answered("models", pathMatch(pathModels)),
		answered("models", pathPrefix(pathModels+"/")),
		answered("usage", pathMatch(pathUsage)),
		answered("usage", pathPrefix(pathUsage+"/")),
	}
	for _, path := range modelPaths {
		wrongMethod := turnDown(cfg, "method", &fault.Error{Kind: fault.MethodNotAllowed})
		wrongMethod.Match = pathMatch(path)
		wrongMethod.ResponseHeadersToAdd = append(wrongMethod.ResponseHeadersToAdd,
			option("allow", "POST", core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD))
		all = append(all, wrongMethod)
	}
	if passed := passRoute(in); passed != nil {
		lookalike := refuse("unknown", &fault.Error{Kind: fault.UnknownPath})
		lookalike.Match = pathRegex(modelLookalike)
		all = append(all, lookalike, passed)
	}
	unknown := refuse("unknown", &fault.Error{Kind: fault.UnknownPath})
	unknown.Match = pathPrefix("/")
	return append(all, unknown)
}

// answered is a route to Postern's own HTTP service.
func answered(name string, match *route.RouteMatch) *route.Route {
	return &route.Route{
		Name:  name,
		Match: match,
		Action: &route.Route_Route{Route: &route.RouteAction{
			ClusterSpecifier: &route.RouteAction_Cluster{Cluster: clusterAnswer},
			Timeout:          seconds(answerTimeout),
		}},
		TypedPerFilterConfig: map[string]*anypb.Any{filterUsage: notMetered()},
	}
}

// refuse is a route that answers with err in the client's form.
func refuse(name string, err *fault.Error) *route.Route {
	return &route.Route{
		Name: name,
		Action: &route.Route_DirectResponse{DirectResponse: &route.DirectResponseAction{
			Status: uint32(err.Kind.Status()), //nolint:gosec // an HTTP status
			Body:   inline(string(fault.OpenAI(err))),
		}},
		ResponseHeadersToAdd: jsonContent(),
	}
}

func jsonContent() []*core.HeaderValueOption {
	return []*core.HeaderValueOption{
		option("content-type", "application/json", core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD),
	}
}

func pathMatch(path string, headers ...*route.HeaderMatcher) *route.RouteMatch {
	return &route.RouteMatch{PathSpecifier: &route.RouteMatch_Path{Path: path}, Headers: headers}
}

func pathPrefix(path string, headers ...*route.HeaderMatcher) *route.RouteMatch {
	return &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: path}, Headers: headers}
}

func pathRegex(path string) *route.RouteMatch {
	return &route.RouteMatch{PathSpecifier: &route.RouteMatch_SafeRegex{SafeRegex: &matcher.RegexMatcher{Regex: path}}}
}

func headerIs(name string, value *matcher.StringMatcher) *route.HeaderMatcher {
	return &route.HeaderMatcher{
		Name:                 name,
		HeaderMatchSpecifier: &route.HeaderMatcher_StringMatch{StringMatch: value},
	}
}

func modelPresent() *route.HeaderMatcher {
	return &route.HeaderMatcher{
		Name:                 wire.HeaderModel,
		HeaderMatchSpecifier: &route.HeaderMatcher_PresentMatch{PresentMatch: true},
	}
}

// corsPolicy lets pages of the configured origins call the gate with a key.
func corsPolicy(c *config.CORS) *cors.CorsPolicy {
	policy := &cors.CorsPolicy{
		AllowMethods:  "GET, POST, DELETE, OPTIONS",
		AllowHeaders:  "*, authorization, content-type",
		ExposeHeaders: "x-request-id, retry-after, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests",
		MaxAge:        "600",
	}
	for _, origin := range c.Origins {
		match := exact(origin)
		if origin == "*" {
			match = regex(".*")
		}
		policy.AllowOriginStringMatch = append(policy.AllowOriginStringMatch, match)
	}
	return policy
}
