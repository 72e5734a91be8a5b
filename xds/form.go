package xds

import (
	"slices"

	rules "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tometadata "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_to_metadata/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/postern-proxy/postern/config"
)

// A route whose targets have different names for the model writes the name once an
// attempt, in the filters of that attempt's cluster. The body of the next attempt
// is the client's again, but its headers are what the attempt before left: its
// content-length would be that of another body. So such a route notes the length in
// metadata, which no attempt changes, and every cluster restores it from there.
const (
	filterForm   = "postern.form"
	formMetadata = "postern.form"
	formLength   = "length"
)

// formFilter does nothing except on the routes that ask (noteLength).
func formFilter() *hcm.HttpFilter { return filter(filterForm, &tometadata.Config{}) }

func noteLength() *anypb.Any {
	return pack(&tometadata.Config{RequestRules: []*tometadata.Config_Rule{{
		Header: "content-length",
		OnHeaderPresent: &tometadata.Config_KeyValuePair{
			MetadataNamespace: formMetadata, Key: formLength, Type: tometadata.Config_STRING,
		},
	}}})
}

// differing says that a route of cfg writes names once an attempt.
func differing(cfg *config.Config) bool {
	return slices.ContainsFunc(variants(cfg), func(v variant) bool { return v.to != "" })
}

// restoreLength is for every provider's chain where a route is differing; without
// the route's note it does nothing.
func restoreLength() *rules.HeaderMutation {
	return mutate("content-length", "%DYNAMIC_METADATA("+formMetadata+":"+formLength+")%",
		core.HeaderValueOption_OVERWRITE_IF_EXISTS)
}

// variant is a provider under one name for the model: a cluster of its own where
// the name is written once an attempt, else the provider's plain one.
type variant struct {
	provider string
	pattern  string // the entry's name, where to has a *
	to       string // empty: the client's name
}

// cluster is the variant's name among the clusters.
func (v variant) cluster() string {
	name := clusterProvider + v.provider
	if v.to != "" {
		name += "=" + v.to
	}
	if v.pattern != "" {
		name += "<" + v.pattern
	}
	return name
}

// variants are all that the routes of cfg use, each once, in order; the plain one of
// each usable provider is always there.
func variants(cfg *config.Config) []variant {
	seen := map[string]variant{}
	for _, name := range usable(cfg) {
		v := variant{provider: name}
		seen[v.cluster()] = v
	}
	for _, entry := range names(cfg.Models) {
		route := cfg.Models[entry].UsableRoute(cfg.Providers)
		if _, shared := config.SharedName(entry, route); shared {
			continue
		}
		for _, group := range route {
			for _, target := range group {
				v := variantOf(entry, target)
				seen[v.cluster()] = v
			}
		}
	}
	all := make([]variant, 0, len(seen))
	for _, name := range names(seen) {
		all = append(all, seen[name])
	}
	return all
}

// variantOf is a target of a route whose targets differ in name.
func variantOf(entry string, target config.Target) variant {
	v := variant{provider: target.Provider, to: target.OwnName(entry)}
	for i := range len(v.to) {
		if v.to[i] == '*' {
			v.pattern = entry
		}
	}
	return v
}
