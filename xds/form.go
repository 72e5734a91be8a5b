package xds

import (
	"slices"

	rules "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tometadata "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_to_metadata/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/wire"
)

// A route whose targets differ in path, or in their name for the model, writes it once
// an attempt, in the filters of that attempt's cluster. The body of the next attempt is
// the client's again, but its headers are what the attempt before left: its path would
// be another provider's, its content-length that of another body. So such a route notes
// what the client sent in metadata, which no attempt changes, and every cluster of the
// route makes its own of it.
const (
	filterForm   = "postern.form"
	formMetadata = wire.MetadataForm
)

// What is noted, each under its name.
const (
	formLength = "length"          // content-length
	formType   = "type"            // content-type
	formPath   = wire.MetadataPath // what follows /v1 in the path, without the query
	formQuery  = "query"           // with its question mark
	formModel  = "model"           // the name the client gave
)

// formFilter does nothing except on the routes that ask (noteForm).
func formFilter() *hcm.HttpFilter { return filter(filterForm, &tometadata.Config{}) }

func noteForm(route [][]config.Target) *anypb.Any {
	all := []*tometadata.Config_Rule{
		note(contentLength, formLength, nil),
		note("content-type", formType, nil),
		note(":path", formPath, &matcher.RegexMatchAndSubstitute{
			Pattern: &matcher.RegexMatcher{Regex: `^/v1(/[^?]*).*$`}, Substitution: `\1`,
		}),
		note(":path", formQuery, &matcher.RegexMatchAndSubstitute{
			Pattern: &matcher.RegexMatcher{Regex: `^[^?]*`},
		}),
		note(wire.HeaderModel, formModel, nil),
	}
	if translated(route) {
		for _, header := range acceptHeaders {
			all = append(all, note(header, header, nil))
		}
	}
	return pack(&tometadata.Config{RequestRules: all})
}

// note writes a header down, changed if change is there. What is empty then, or longer
// than 8 KiB, is not written.
func note(header, key string, change *matcher.RegexMatchAndSubstitute) *tometadata.Config_Rule {
	return &tometadata.Config_Rule{
		Header: header,
		OnHeaderPresent: &tometadata.Config_KeyValuePair{
			MetadataNamespace: formMetadata, Key: key, Type: tometadata.Config_STRING, RegexValueRewrite: change,
		},
	}
}

// differing says that a route of cfg changes bodies once an attempt.
func differing(cfg *config.Config) bool {
	return slices.ContainsFunc(variants(cfg), func(v variant) bool { return v.to != "" || cfg.Providers[v.provider].Translated() })
}

// restoreForm is for every provider's chain where a route is differing; without the
// route's note it does nothing.
func restoreForm() []*rules.HeaderMutation {
	noted := func(key string) string { return "%DYNAMIC_METADATA(" + formMetadata + ":" + key + ")%" }
	return []*rules.HeaderMutation{
		mutate(contentLength, noted(formLength), core.HeaderValueOption_OVERWRITE_IF_EXISTS),
		mutate("content-type", noted(formType), core.HeaderValueOption_OVERWRITE_IF_EXISTS),
	}
}

// shape is what all targets of a route have in common, and what is therefore written
// once, for all attempts.
type shape struct {
	name bool // for the model
	path bool // its beginning
}

func shapeOf(cfg *config.Config, entry string, route [][]config.Target) shape {
	_, name := config.SharedName(entry, route)
	return shape{name: name, path: config.SharedPath(route, cfg.Providers)}
}
