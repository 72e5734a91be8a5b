package xds

import (
	"fmt"
	"slices"
	"time"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	groups "github.com/envoyproxy/go-control-plane/envoy/extensions/router/cluster_specifiers/priority_group/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/fault"
)

const (
	// answerTimeout bounds what Postern answers itself.
	answerTimeout = 10 * time.Second

	// Back-off between attempts, jittered by Envoy.
	backOffBase = 25 * time.Millisecond
	backOffMax  = 250 * time.Millisecond

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
var retriable = []uint32{401, 403, 408, 429}

// modelRoute is the way of the requests that match one configured model. A model
// none of whose providers is usable answers as if it were not there, but says so.
func modelRoute(cfg *config.Config, name string, match *route.HeaderMatcher) *route.Route {
	m := cfg.Models[name]
	usable := m.UsableRoute(cfg.Providers)
	matched := pathPrefix(pathAPI, match)
	if len(usable) == 0 {
		r := refuse("model/"+name, &fault.Error{
			Kind: fault.ModelNotFound, Param: "model",
			Message: "The model is configured here, but none of its providers has its credential.",
		})
		r.Match = matched
		return r
	}
	// All targets of a route have the same base path (validated): the first's.
	first := cfg.Providers[usable[0][0].Provider]
	_, shared := config.SharedName(name, usable)
	r := &route.Route{
		Name: "model/" + name, Match: matched,
		Action:               &route.Route_Route{Route: action(m.Timeouts, first, rotate(name, usable))},
		TypedPerFilterConfig: map[string]*anypb.Any{},
	}
	if !shared {
		r.TypedPerFilterConfig[filterForm] = noteLength()
	}
	if m.Understood(name, cfg.Providers) {
		r.TypedPerFilterConfig[filterStages] = understood(cfg.Version, name)
	}
	return r
}

// passRoute takes the endpoints that name no model to the default provider, by
// path. It is nil if there is none.
func passRoute(cfg *config.Config) *route.Route {
	name, p, ok := cfg.Fallback()
	if !ok {
		return nil
	}
	only := rotate("", [][]config.Target{{{Provider: name}}})
	return &route.Route{
		Name:   "pass/" + name,
		Match:  pathRegex(plainPath),
		Action: &route.Route_Route{Route: action(passTimeouts, p, only)},
	}
}

// action sends a request through attempts, one after the other.
func action(t config.Timeouts, first *config.Provider, attempts []*groups.PriorityGroup) *route.RouteAction {
	a := &route.RouteAction{
		ClusterSpecifier: &route.RouteAction_InlineClusterSpecifierPlugin{
			InlineClusterSpecifierPlugin: &route.ClusterSpecifierPlugin{
				Extension: extension("postern.groups", &groups.PriorityGroupClusterSpecifier{PriorityGroups: attempts}),
			},
		},
		Timeout: seconds(time.Duration(t.Total)),
		// The connection manager's own idle time would end a request whose
		// first groups are slow to fail; the total bounds it instead.
		IdleTimeout:          seconds(time.Duration(t.Total)),
		HostRewriteSpecifier: &route.RouteAction_AutoHostRewrite{AutoHostRewrite: boolValue(true)},
		RetryPolicy:          retries(t, len(attempts)),
	}
	if base := first.BasePath(); base != "/v1" {
		a.RegexRewrite = &matcher.RegexMatchAndSubstitute{
			Pattern: &matcher.RegexMatcher{Regex: "^/v1/"}, Substitution: base + "/",
		}
	}
	return a
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
			BaseInterval: seconds(backOffBase), MaxInterval: seconds(backOffMax),
		},
	}
	if attempts == 1 {
		policy.RetryOn, policy.RetriableStatusCodes = retryUnsent, nil
		policy.NumRetries = uint32Value(1)
	}
	return policy
}

// rotate turns the groups of a route into one group an attempt. Envoy draws one
// random number for a request and uses it for all its attempts, so a group that
// was tried twice would give the same provider twice: a group of k targets
// becomes k attempts, in which the providers move round and the weights stay, and
// each of the k meets each provider once. A target of weight 0 is out.
func rotate(entry string, route [][]config.Target) []*groups.PriorityGroup {
	_, shared := config.SharedName(entry, route)
	var attempts []*groups.PriorityGroup
	for _, targets := range route {
		targets = slices.DeleteFunc(slices.Clone(targets), func(t config.Target) bool { return t.Share() == 0 })
		for turn := range targets {
			group := &groups.PriorityGroup{Name: fmt.Sprintf("g%d", len(attempts))}
			for place, target := range targets {
				moved := targets[(place+turn)%len(targets)]
				group.Clusters = append(group.Clusters, &groups.ClusterWeight{
					ClusterName: clusterOf(entry, moved, shared),
					Weight:      uint32Value(uint32(target.Share())), //nolint:gosec // validated: 0 to 1e6
				})
			}
			attempts = append(attempts, group)
		}
	}
	return attempts
}

// clusterOf is where a target's attempts go: where all targets share the model's
// name, it was written before, and the provider's plain cluster serves.
func clusterOf(entry string, target config.Target, shared bool) string {
	if shared {
		return variant{provider: target.Provider}.cluster()
	}
	return variantOf(entry, target).cluster()
}
