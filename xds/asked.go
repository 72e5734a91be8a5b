package xds

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"regexp"
	"strings"

	rules "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tometadata "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_to_metadata/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/wire"
)

// askedMetadata is the namespace of names that are made of the client's.
const askedMetadata = "postern.asked"

// An answer names the model as its provider was asked for it. Where that is known when
// the configuration is compiled it is a word; where it is the client's word, or made of
// it, it is noted in metadata, because no attempt leaves the header where it was.

// askedModel is the name for answers of an entry whose cluster does not say it.
func askedModel(entry string, route [][]config.Target) string {
	name, shared := config.SharedName(entry, route)
	switch {
	case shared && strings.Contains(name, "*"):
		return noted(askedMetadata, rewritten(name))
	case shared && name != "":
		return literal(name)
	case strings.HasSuffix(entry, "*"):
		return noted(wire.MetadataRequest, "model") // noteModel
	}
	return literal(entry)
}

// saysModel has a cluster that writes a name of its own say it.
func saysModel(v variant) []*rules.HeaderMutation {
	name := cmp.Or(v.to, v.deployment)
	switch {
	case name == "":
		return nil
	case v.pattern != "":
		return []*rules.HeaderMutation{set(wire.HeaderModel, noted(askedMetadata, rewritten(name)))}
	}
	return []*rules.HeaderMutation{set(wire.HeaderModel, literal(name))}
}

// noteNames are the rules by which the names with a * are noted.
func noteNames(entry string, route [][]config.Target) []*tometadata.Config_Rule {
	var all []*tometadata.Config_Rule
	seen := map[string]bool{}
	for _, group := range route {
		for _, target := range group {
			name := target.OwnName(entry)
			if !strings.Contains(name, "*") || seen[name] {
				continue
			}
			seen[name] = true
			all = append(all, noteName(entry, name))
		}
	}
	return all
}

func noteName(entry, name string) *tometadata.Config_Rule {
	before, after, _ := strings.Cut(name, "*")
	escape := func(text string) string { return strings.ReplaceAll(text, `\`, `\\`) }
	return &tometadata.Config_Rule{
		Header: wire.HeaderModel,
		OnHeaderPresent: &tometadata.Config_KeyValuePair{
			MetadataNamespace: askedMetadata, Key: rewritten(name), Type: tometadata.Config_STRING,
			RegexValueRewrite: &matcher.RegexMatchAndSubstitute{
				Pattern:      &matcher.RegexMatcher{Regex: "^" + regexp.QuoteMeta(strings.TrimSuffix(entry, "*")) + "(.*)$"},
				Substitution: escape(before) + `\1` + escape(after),
			},
		},
	}
}

// rewritten is the key under which a name with a * is noted.
func rewritten(name string) string {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(name))
	return fmt.Sprintf("model-%x", hash.Sum64())
}

func noted(namespace, key string) string {
	return "%DYNAMIC_METADATA(" + namespace + ":" + key + ")%"
}

// ofAnswer are the headers that say how an answer of an entry came about.
func ofAnswer(model string, attempts int) []*core.HeaderValueOption {
	all := []*core.HeaderValueOption{
		option("x-postern-attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%", core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD),
	}
	if model != "" {
		all = append(all, option(wire.HeaderModel, model, core.HeaderValueOption_ADD_IF_ABSENT))
	}
	if attempts > 1 {
		all = append(all, option("x-should-retry", shouldRetry, core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD))
	}
	return all
}
