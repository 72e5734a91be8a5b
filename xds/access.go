package xds

import (
	"sort"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacconfig "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	jwt "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	rbac "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/wire"
)

const (
	jwtFilter = "envoy.filters.http.jwt_authn" // its metadata namespace
	jwtType   = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
	rbacType  = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"

	// claims is where the verified token's payload lies in the metadata.
	claims = "jwt"
)

// keys is the check of API keys: a signed token, judged by the public key alone.
// The health paths are open; everything else needs a key, unknown paths too.
func keys(jwks []byte) *core.TypedExtensionConfig {
	const provider = "postern"
	return extension(filterKeys, &jwt.JwtAuthentication{
		Providers: map[string]*jwt.JwtProvider{provider: {
			Issuer:              wire.KeyIssuer,
			JwksSourceSpecifier: &jwt.JwtProvider_LocalJwks{LocalJwks: inline(string(jwks))},
			FromHeaders: []*jwt.JwtHeader{
				{Name: "authorization", ValuePrefix: "Bearer " + wire.KeyPrefix},
			},
			RequireExpiration: true,
			PayloadInMetadata: claims,
			JwtCacheConfig:    &jwt.JwtCacheConfig{JwtCacheSize: 1000},
			ClaimToHeaders: []*jwt.JwtClaimToHeader{
				{ClaimName: "tenant", HeaderName: wire.HeaderTenant},
				{ClaimName: "sub", HeaderName: wire.HeaderUser},
				{ClaimName: "jti", HeaderName: wire.HeaderKey},
				{ClaimName: "tier", HeaderName: wire.HeaderTier},
			},
		}},
		Rules: []*jwt.RequirementRule{
			{Match: &route.RouteMatch{PathSpecifier: &route.RouteMatch_Path{Path: pathLive}}},
			{Match: &route.RouteMatch{PathSpecifier: &route.RouteMatch_Path{Path: pathReady}}},
			{
				Match: &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: "/"}},
				RequirementType: &jwt.RequirementRule_Requires{Requires: &jwt.JwtRequirement{
					RequiresType: &jwt.JwtRequirement_ProviderName{ProviderName: provider},
				}},
			},
		},
	})
}

// tiers refuses a good key whose tier is not configured (or that has none): its
// requests would match no bucket and so have no limit at all.
func tiers(cfg *config.Config) *core.TypedExtensionConfig {
	known := make([]*rbacconfig.Principal, 0, len(cfg.Tiers))
	for _, name := range names(cfg.Tiers) {
		known = append(known, claim("tier", &matcher.ValueMatcher{
			MatchPattern: &matcher.ValueMatcher_StringMatch{StringMatch: exact(name)},
		}))
	}
	unknown := &rbacconfig.Principal{Identifier: &rbacconfig.Principal_NotId{NotId: &rbacconfig.Principal{
		Identifier: &rbacconfig.Principal_OrIds{OrIds: &rbacconfig.Principal_Set{Ids: known}},
	}}}
	authenticated := claim("iss", &matcher.ValueMatcher{
		MatchPattern: &matcher.ValueMatcher_PresentMatch{PresentMatch: true},
	})
	return extension(filterTiers, &rbac.RBAC{Rules: &rbacconfig.RBAC{
		Action: rbacconfig.RBAC_DENY,
		Policies: map[string]*rbacconfig.Policy{policyUnknownTier: {
			Permissions: []*rbacconfig.Permission{{Rule: &rbacconfig.Permission_Any{Any: true}}},
			Principals: []*rbacconfig.Principal{{Identifier: &rbacconfig.Principal_AndIds{
				AndIds: &rbacconfig.Principal_Set{Ids: []*rbacconfig.Principal{authenticated, unknown}},
			}}},
		}},
	}})
}

// claim matches a claim of the verified token.
func claim(name string, value *matcher.ValueMatcher) *rbacconfig.Principal {
	return &rbacconfig.Principal{Identifier: &rbacconfig.Principal_SourcedMetadata{
		SourcedMetadata: &rbacconfig.SourcedMetadata{MetadataMatcher: &matcher.MetadataMatcher{
			Filter: jwtFilter,
			Path: []*matcher.MetadataMatcher_PathSegment{
				{Segment: &matcher.MetadataMatcher_PathSegment_Key{Key: claims}},
				{Segment: &matcher.MetadataMatcher_PathSegment_Key{Key: name}},
			},
			Value: value,
		}},
	}}
}

// names are a map's keys in order, so that the snapshot does not depend on the
// map's.
func names[V any](m map[string]V) []string {
	all := make([]string, 0, len(m))
	for name := range m {
		all = append(all, name)
	}
	sort.Strings(all)
	return all
}
