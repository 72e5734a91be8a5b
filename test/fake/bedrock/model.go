package bedrock

import (
	"regexp"
	"strings"
)

// model is what a family of models takes, by
// https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-supported-models-features.html.
type model struct {
	prefix      string // of the id, without a region's
	chat        bool
	system      bool
	vision      bool
	tools       bool
	streamTools bool // tools in a stream too
	choice      bool // toolChoice any and tool
	status      bool // of a tool's result
	cache       bool // cache points, and their tokens in the usage
	reasoning   bool
	prefill     bool // the conversation may end with the assistant
	stops       int  // at most so many stop sequences; 0: none
	embeds      int  // dimensions, if it embeds
}

const manyStops = 8191

// families in an order in which the first that fits is right.
var families = []model{
	{prefix: "anthropic.claude-v2", chat: true, system: true, prefill: true, stops: manyStops},
	{prefix: "anthropic.claude-instant", chat: true, system: true, prefill: true, stops: manyStops},
	claude("anthropic.claude-3-5-haiku", false, true),
	claude("anthropic.claude-opus-4-6", true, false),
	claude("anthropic.claude-sonnet-4-6", true, false),
	claude("anthropic.claude", true, true),
	{prefix: "amazon.nova-canvas"},
	{prefix: "amazon.nova-reel"},
	nova("amazon.nova-micro", false),
	nova("amazon.nova", true),
	{prefix: "amazon.titan-text", chat: true, stops: 4},
	{prefix: "amazon.titan-embed-text-v1", embeds: 1536},
	{prefix: "amazon.titan-embed-text-v2", embeds: 1024},
	{prefix: "amazon.titan-embed-image", embeds: 1024},
	{prefix: "meta.llama2", chat: true, system: true},
	{prefix: "meta.llama3-8b", chat: true, system: true},
	{prefix: "meta.llama3-70b", chat: true, system: true},
	{prefix: "meta.llama3-2-1b", chat: true, system: true},
	{prefix: "meta.llama3-2-3b", chat: true, system: true},
	{prefix: "meta.llama3-2", chat: true, system: true, tools: true, vision: true},
	{prefix: "meta.llama4", chat: true, system: true, tools: true, vision: true},
	{prefix: "meta.llama", chat: true, system: true, tools: true},
}

func claude(prefix string, vision, prefill bool) model {
	return model{
		prefix: prefix, chat: true, system: true, vision: vision, tools: true, streamTools: true, choice: true,
		status: true, cache: true, reasoning: true, prefill: prefill, stops: manyStops,
	}
}

func nova(prefix string, vision bool) model {
	return model{
		prefix: prefix, chat: true, system: true, vision: vision, tools: true, streamTools: true, choice: true,
		status: true, cache: true, prefill: true, stops: 4, // https://docs.aws.amazon.com/nova/latest/userguide/invoke.html
	}
}

var (
	modelID = regexp.MustCompile(`^(?:(?:us|us-gov|eu|apac|jp|au|ca|global)\.)?([a-z0-9-]+\.[a-zA-Z0-9._-]+(?::[0-9]+[a-z]*)*)$`)
	arn     = regexp.MustCompile(`^arn:aws(?:-[a-z]+)*:bedrock:[a-z0-9-]*:[0-9]{0,12}:([a-z-]+)/(.+)$`)
)

// model finds the family of an id, of a region's profile, or of an ARN of either.
func (s *Server) model(id string) (model, *Exception) {
	if meant, ok := s.models[id]; ok {
		id = meant
	}
	if parts := arn.FindStringSubmatch(id); parts != nil {
		switch parts[1] {
		case "foundation-model", "inference-profile":
			id = parts[2]
		default:
			return model{}, NotFound.With("Could not resolve the foundation model from the provided model identifier.")
		}
	}
	if parts := modelID.FindStringSubmatch(id); parts != nil {
		for _, m := range families {
			if strings.HasPrefix(parts[1], m.prefix) {
				return m, nil
			}
		}
	}
	return model{}, Validation.With("The provided model identifier is invalid.")
}
