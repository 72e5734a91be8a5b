package xds

import (
	"fmt"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	groups "github.com/envoyproxy/go-control-plane/envoy/extensions/router/cluster_specifiers/priority_group/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/fault"
	"github.com/postern-proxy/postern/wire"
)

const (
	// answerTimeout bounds what Postern answers itself.
	answerTimeout = 10 * time.Second

	// Back-off between attempts, jittered by Envoy and doubled each time. It is short
	// where the next attempt goes to somebody else, who has done nothing to be spared:
	// 25 ms there were what failover cost, in the median half of it.
	backOffElsewhere = 2 * time.Millisecond
	backOffBase      = 25 * time.Millisecond // to the same provider again
	backOffMax       = 250 * time.Millisecond

	// retryAnswer is what sends a request to the next group: no answer at all,
	// a server's error, or one of the statuses below.
	retryAnswer = "5xx,retriable-status-codes"
	// retryUnsent is what sends it to the same provider again, once: it was
	// certainly not worked on.
	retryUnsent = "connect-failure,refused-stream,reset-before-request"
)

// passTimeouts are those of the endpoints that name no model.
var passTimeouts = config.Timeouts{
	FirstByte: config.Duration(5 * time.Minute), // an upload is counted too
	Idle:      config.Duration(5 * time.Minute),
	Total:     config.Duration(10 * time.Minute),
}

// retriable are statuses below 500 that another provider may answer better: its
// key may be good where this one is not, and its quota may not be used up. A 400
// is the client's own and never tried again.
// So is a redirect, which is followed by nobody: it would lead the client, and its
// words, past the gate.
var retriable = []uint32{301, 302, 303, 307, 308, 401, 403, 408, 429}

// waitable is when an answer has the next attempt wait, where that goes to the same
// provider: a busy provider that says when it will not be, and that is soon. What is
// longer is the client's to wait.
const waitable = `^(429|503|529) 0*[1-5]$`

// maxWait is the longest of them.
const maxWait = 5 * time.Second

// headerWait is what waitable is asked of: status and retry-after. No answer leaves with
// it.
const headerWait = wire.HeaderPrefix + "wait"

// shouldRetry tells OpenAI's clients, where all providers of a route were tried, whether
// to try again all the same: if the last one is only busy, or says when it will not be.
// Without it they would multiply the attempts of a bad hour by three. The status is read
// as a header, because Envoy's own answers have no code yet.
const shouldRetry = "%CEL(response.headers[':status'] < '400' ? '' : " +
	"response.headers[':status'] == '429' || 'retry-after' in response.headers ? 'true' : 'false')%"

// modelRoute is the way of the requests that match one configured model. A model
// none of whose providers is usable answers as if it were not there, but says so.
func modelRoute(in Input, name string, match *route.HeaderMatcher) *route.Route {
	cfg := in.Config
	m, usable := cfg.Models[name], in.ordered(name)
	matched := pathPrefix(pathAPI, match)
	if len(usable) == 0 {
		r := refuse("model/"+name, &fault.Error{
			Kind: fault.ModelNotFound, Param: "model",
			Message: "The model is configured here, but none of its providers has its credential.",
		})
		r.Match = matched
		return r
	}
	s, base := shapeOf(cfg, name, usable), pathBase
	if s.path {
		base = cfg.Providers[usable[0][0].Provider].BasePath()
	}
	groups := members(cfg, name, usable)
	attempts := guardAttempts(in.attempts(name, groups))
	r := &route.Route{
		Name: "model/" + name, Match: matched,
		Action:               &route.Route_Route{Route: action(m.Timeouts, base, attempts)},
		TypedPerFilterConfig: map[string]*anypb.Any{},
		ResponseHeadersToAdd: ofAnswer(askedModel(name, usable), len(attempts)),
		// An answer that was packed for the client would hide its tokens.
		RequestHeadersToRemove: []string{"accept-encoding"},
		// A client that followed it would pass the gate by, its words with it.
		ResponseHeadersToRemove: []string{"location"},
	}
	stick(m, r.GetRoute())
	if !s.name || !s.path {
		r.TypedPerFilterConfig[filterForm] = noteForm(usable)
	}
	if strings.HasSuffix(name, "*") {
		r.TypedPerFilterConfig[filterAsked] = noteModel(noteNames(name, usable)...)
	}
	if translated(usable) {
		r.TypedPerFilterConfig[filterAnswer] = answersForm()
		alsoRetry(r.GetRoute().GetRetryPolicy(), len(attempts))
	}
	if m.Understood(name, cfg.Providers) {
		var more []*core.HeaderValue
		if m.Arranges(name, cfg.Providers) {
			more = append(more, &core.HeaderValue{Key: wire.MetaGroups, Value: literal(groupsText(behind(groups, in.rests(name))))})
			if stands := in.stands(name, groups); stands != "" {
				more = append(more, &core.HeaderValue{Key: wire.MetaStands, Value: stands})
			}
		}
		r.TypedPerFilterConfig[filterStages] = understood(cfg.Version, name, more...)
	}
	return r
}

// passRoute takes the endpoints that name no model to the default provider, by
// path. It is nil if there is none.
func passRoute(in Input) *route.Route {
	cfg := in.Config
	name, p, ok := cfg.Fallback()
	if !ok {
		return nil
	}
	only := rotate(behind(members(cfg, "", [][]config.Target{{{Provider: name}}}), in.rests("")))
	passed := action(passTimeouts, p.BasePath(), only)
	if len(only) > 1 {
		// To the next key goes what this one was refused, and nothing that may
		// have been done: nobody knows what these endpoints do.
		passed.RetryPolicy.RetryOn = retryUnsent + ",retriable-status-codes"
		passed.RetryPolicy.RetriableStatusCodes = []uint32{401, 403, 429}
	}
	return &route.Route{
		Name:                 "pass/" + name,
		Match:                pathRegex(plainPath),
		Action:               &route.Route_Route{Route: passed},
		TypedPerFilterConfig: map[string]*anypb.Any{filterUsage: notMetered()},
	}
}

// action sends a request through attempts, one after the other.
func action(t config.Timeouts, base string, attempts []*groups.PriorityGroup) *route.RouteAction {
	a := &route.RouteAction{
		ClusterSpecifier: &route.RouteAction_InlineClusterSpecifierPlugin{
			InlineClusterSpecifierPlugin: &route.ClusterSpecifierPlugin{
				Extension: extension("postern.groups", &groups.PriorityGroupClusterSpecifier{
					PriorityGroups:            attempts,
					OverrideMetadataNamespace: wire.MetadataGroups,
					// Where the route has none, Envoy draws by chance.
					RandomValueSpecifier: &groups.PriorityGroupClusterSpecifier_UseHashPolicy{UseHashPolicy: boolValue(true)},
				}),
			},
		},
		Timeout:              seconds(time.Duration(t.Total)),
		IdleTimeout:          seconds(silence(t, len(attempts))),
		HostRewriteSpecifier: &route.RouteAction_AutoHostRewrite{AutoHostRewrite: boolValue(true)},
		RetryPolicy:          retries(t, len(attempts)),
	}
	if base != pathBase {
		a.RegexRewrite = &matcher.RegexMatchAndSubstitute{
			Pattern: &matcher.RegexMatcher{Regex: "^/v1/"}, Substitution: base + "/",
		}
	}
	return a
}

// silence is how long a request may be silent in all, on both sides: as long as an answer
// may, and as long as its attempts take that get none. It ends the answers that stall
// within the first byte's time. For those Envoy forgets the attempt's own idle time: when
// the first byte's is over it looks no more, until the next byte comes.
func silence(t config.Timeouts, attempts int) time.Duration {
	failing := time.Duration(attempts) * (time.Duration(t.FirstByte) + backOffMax)
	if attempts == 1 { // asked twice, see retries
		failing = 2*time.Duration(t.FirstByte) + maxWait
	}
	return min(time.Duration(t.Total), max(time.Duration(t.Idle), failing))
}

func retries(t config.Timeouts, attempts int) *route.RetryPolicy {
	policy := &route.RetryPolicy{
		RetryOn:               retryAnswer,
		RetriableStatusCodes:  retriable,
		NumRetries:            uint32Value(uint32(attempts - 1)), //nolint:gosec // at most 256
		PerTryTimeout:         seconds(time.Duration(t.FirstByte)),
		PerTryIdleTimeout:     seconds(time.Duration(t.Idle)),
		RefreshClusterOnRetry: true,
		RetryBackOff: &route.RetryPolicy_RetryBackOff{
			BaseInterval: seconds(backOffElsewhere), MaxInterval: seconds(backOffMax),
		},
	}
	if attempts == 1 {
		policy.RetryBackOff.BaseInterval = seconds(backOffBase)
		policy.RetryOn, policy.RetriableStatusCodes = retryUnsent+",retriable-headers", nil
		policy.NumRetries = uint32Value(1)
		policy.RetriableHeaders = []*route.HeaderMatcher{headerIs(headerWait, regex(waitable))}
		policy.RateLimitedRetryBackOff = &route.RetryPolicy_RateLimitedRetryBackOff{
			ResetHeaders: []*route.RetryPolicy_ResetHeader{{Name: "retry-after", Format: route.RetryPolicy_SECONDS}},
			MaxInterval:  seconds(maxWait),
		}
	}
	return policy
}

// groupName is that of the group of an attempt, from 0.
func groupName(attempt int) string { return fmt.Sprintf("g%d", attempt) }

// rotate turns the groups of a route into one group an attempt. Envoy draws one
// random number for a request and uses it for all its attempts, so a group that
// was tried twice would give the same provider twice: a group of k targets
// becomes k attempts, in which the providers move round and the weights stay, and
// each of the k meets each provider once.
func rotate(route [][]member) []*groups.PriorityGroup {
	var attempts []*groups.PriorityGroup
	for _, members := range route {
		for turn := range members {
			group := &groups.PriorityGroup{Name: groupName(len(attempts))}
			for place, m := range members {
				moved := members[(place+turn)%len(members)]
				group.Clusters = append(group.Clusters, &groups.ClusterWeight{
					ClusterName: moved.cluster,
					Weight:      uint32Value(uint32(m.weight)), //nolint:gosec // bounded
				})
			}
			attempts = append(attempts, group)
		}
	}
	return attempts
}
