package xds

import (
	"math"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	ratelimit "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	bucketfilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/wire"
)

const (
	localRateLimitType = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"

	// maxKeys is how many keys' buckets Envoy keeps apart. Its default is 20,
	// above which the least recently used bucket is dropped, and its key is
	// as good as unlimited.
	maxKeys = 200_000

	// minFill is the shortest refill interval Envoy takes.
	minFill = 50 * time.Millisecond
)

// buckets is one token bucket a key, as large as the key's tier says. It comes
// by ECDS and not with the routes, because a route push would refill it.
func buckets(cfg *config.Config) *core.TypedExtensionConfig {
	const tier, key = "tier", "key"
	var limited []*ratelimit.LocalRateLimitDescriptor
	for _, name := range names(cfg.Tiers) {
		rate := cfg.Tiers[name].Requests
		if rate == nil {
			continue
		}
		limited = append(limited, &ratelimit.LocalRateLimitDescriptor{
			Entries: []*ratelimit.RateLimitDescriptor_Entry{
				{Key: tier, Value: name},
				{Key: key}, // no value: a bucket of its own for each
			},
			TokenBucket: bucket(*rate),
		})
	}
	everyone := &core.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{Numerator: 100}}
	return extension(filterBuckets, &bucketfilter.LocalRateLimit{
		StatPrefix:     StatPrefix,
		FilterEnabled:  everyone,
		FilterEnforced: everyone,
		// What matches no tier's bucket: the health paths, and tiers without
		// a limit. A key without a tier was refused before.
		TokenBucket: &typev3.TokenBucket{
			MaxTokens:     math.MaxUint32,
			TokensPerFill: uint32Value(math.MaxUint32),
			FillInterval:  seconds(time.Second),
		},
		AlwaysConsumeDefaultTokenBucket: boolValue(false),
		MaxDynamicDescriptors:           uint32Value(maxKeys),
		EnableRetryAfterHeader:          true,
		Descriptors:                     limited,
		RateLimits: []*route.RateLimit{{
			// Per descriptor, so that unlimited requests show no limit.
			XRatelimitOption: route.RateLimit_DRAFT_VERSION_03,
			Actions: []*route.RateLimit_Action{
				fromHeader(tier, wire.HeaderTier),
				fromHeader(key, wire.HeaderKey),
			},
		}},
	})
}

func fromHeader(key, header string) *route.RateLimit_Action {
	return &route.RateLimit_Action{ActionSpecifier: &route.RateLimit_Action_RequestHeaders_{
		RequestHeaders: &route.RateLimit_Action_RequestHeaders{DescriptorKey: key, HeaderName: header},
	}}
}

// bucket holds a rate's N tokens and refills them evenly: one token each Per/N,
// or as many at a time as the shortest interval needs.
func bucket(rate config.Rate) *typev3.TokenBucket {
	perToken := float64(rate.Per) / float64(rate.N)
	tokens := math.Max(1, math.Ceil(float64(minFill)/perToken))
	return &typev3.TokenBucket{
		MaxTokens:     uint32(rate.N), //nolint:gosec // validated: 1 to 1e9
		TokensPerFill: uint32Value(uint32(tokens)),
		FillInterval:  seconds(max(time.Duration(tokens*perToken), minFill)),
	}
}
