package xds

import (
	rules "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

func remove(name string) *rules.HeaderMutation {
	return &rules.HeaderMutation{Action: &rules.HeaderMutation_Remove{Remove: name}}
}

func removeMatching(names *matcher.StringMatcher) *rules.HeaderMutation {
	return &rules.HeaderMutation{Action: &rules.HeaderMutation_RemoveOnMatch_{
		RemoveOnMatch: &rules.HeaderMutation_RemoveOnMatch{KeyMatcher: names},
	}}
}

// set writes a header; value may hold Envoy's format operators. An empty value
// writes nothing.
func set(name, value string) *rules.HeaderMutation {
	return mutate(name, value, core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)
}

func mutate(name, value string, action core.HeaderValueOption_HeaderAppendAction) *rules.HeaderMutation {
	return &rules.HeaderMutation{Action: &rules.HeaderMutation_Append{Append: option(name, value, action)}}
}

func option(name, value string, action core.HeaderValueOption_HeaderAppendAction) *core.HeaderValueOption {
	return &core.HeaderValueOption{
		Header:       &core.HeaderValue{Key: name, Value: value},
		AppendAction: action,
	}
}

// literal makes a text safe where Envoy reads format operators.
func literal(text string) string {
	escaped := make([]byte, 0, len(text))
	for i := range len(text) {
		if text[i] == '%' {
			escaped = append(escaped, '%')
		}
		escaped = append(escaped, text[i])
	}
	return string(escaped)
}
