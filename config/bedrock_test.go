package config

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// amazon is a document with one provider of Bedrock's form and one model, which it
// serves.
func amazon(provider, target string) string {
	return fmt.Sprintf("providers: {aws: {schema: bedrock%s}}\nmodels: {haiku: {route: [[{provider: aws%s}]]}}\n", provider, target)
}

const claude = ", model: 'us.anthropic.claude-haiku-4-5-20251001-v1:0'"

func TestBedrockEndpoints(t *testing.T) {
	for text, want := range map[string]struct{ region, url string }{
		", region: us-east-1":     {"us-east-1", "https://bedrock-runtime.us-east-1.amazonaws.com"},
		", region: us-gov-west-1": {"us-gov-west-1", "https://bedrock-runtime.us-gov-west-1.amazonaws.com"},
		", region: cn-north-1":    {"cn-north-1", "https://bedrock-runtime.cn-north-1.amazonaws.com.cn"},
		`, url: "https://Bedrock-Runtime.eu-central-1.amazonaws.com/"`:           {"eu-central-1", "https://bedrock-runtime.eu-central-1.amazonaws.com"},
		`, url: "https://bedrock-runtime-fips.us-west-2.amazonaws.com"`:          {"us-west-2", "https://bedrock-runtime-fips.us-west-2.amazonaws.com"},
		`, url: "https://vpce-1-a.bedrock-runtime.us-east-2.vpce.amazonaws.com"`: {"us-east-2", "https://vpce-1-a.bedrock-runtime.us-east-2.vpce.amazonaws.com"},
		`, url: "http://127.0.0.1:9", region: ap-southeast-2`:                    {"ap-southeast-2", "http://127.0.0.1:9"},
	} {
		c := parse(t, amazon(text, claude), Env{})
		p := c.Providers["aws"]
		assert.Equal(t, want.region, p.Region, text)
		assert.Equal(t, want.url, p.URL, text)
		assert.True(t, p.Usable())
		assert.True(t, p.Translated())
		assert.Equal(t, "bedrock", p.PriceList())
		assert.Empty(t, c.Warnings())
		assert.True(t, c.Models["haiku"].Route[0][0].Translated())
	}
}

func TestBedrockMistakes(t *testing.T) {
	for text, why := range map[string]string{
		amazon("", claude):                                                        "needs a region",
		amazon(", region: earth", claude):                                         "must be an AWS region",
		amazon(`, url: "https://proxy.example.com"`, claude):                      "needs a region",
		amazon(`, region: us-east-1, url: "https://proxy.example.com/x"`, claude): "must have no path",
		amazon(`, region: us-east-1, url: "proxy.example.com"`, claude):           "whole http or https URL, such as https://bedrock-runtime",
		amazon(`, region: us-east-1, key: "${K}"`, claude):                        "default credential chain",
		amazon(`, region: us-east-1, keys: [{key: "${K}"}]`, claude):              "default credential chain",
		amazon(`, region: us-east-1, builtin: demo`, claude):                      "is for schema: openai",
		amazon(`, region: us-east-1, api_version: v1`, claude):                    "is for schema: azure",
		amazon(`, region: us-east-1`, ""):                                         "needs a model",
		amazon(`, region: us-east-1, images: {hosts: []}`, claude):                "from 1 to 64 hosts",
		amazon(`, region: us-east-1, images: {hosts: [10.0.0.1]}`, claude):        "name of a host",
		amazon(`, region: us-east-1, images: {hosts: ["*"]}`, claude):             "name of a host",
		amazon(`, region: us-east-1, images: {hosts: [localhost]}`, claude):       "name of a host",
		amazon(`, region: us-east-1, fields: [top k]`, claude):                    "name of a field",
		amazon(`, region: us-east-1, fields: [top_k, top_k]`, claude):             "stands here twice",
		document("url: 'http://localhost/v1', region: us-east-1", "", ""):         "is for schema: bedrock",
		document("url: 'http://localhost/v1', fields: [a]", "", ""):               "is for schema: bedrock",
		amazon(`, region: us-east-1`, claude) + "default_provider: aws\n":         "no endpoints that name no model",
	} {
		problems := refused(t, text, Env{Lookup: func(string) (string, bool) { return "x", true }})
		require.Len(t, problems, 1, "%s: %v", text, problems)
		assert.Contains(t, problems[0].Message, why, text)
	}
}

// A request has an order of its own where targets differ in what they can, and, where the
// price decides, if its body is read anyhow.
func TestArranges(t *testing.T) {
	c := parse(t, `
providers:
  a: {schema: openai, url: "http://localhost/v1"}
  b: {schema: openai, url: "http://localhost:81/v1"}
models:
  picks: {route: [[{provider: a, context: 100}], [{provider: b}]]}
  cost: {prefer: cost, route: [[{provider: a}], [{provider: b}]]}
  read: {prefer: cost, usage: exact, route: [[{provider: a}], [{provider: b}]]}
  alone: {prefer: cost, usage: exact, route: [[{provider: a}, {provider: b}]]}
  order: {usage: exact, route: [[{provider: a}], [{provider: b}]]}
`, Env{})
	for name, arranges := range map[string]bool{"picks": true, "cost": false, "read": true, "alone": false, "order": false} {
		assert.Equal(t, arranges, c.Models[name].Arranges(name, c.Providers), name)
	}
}

func TestBedrockAmongOthers(t *testing.T) {
	c := parse(t, `
providers:
  a: {schema: openai, url: "http://localhost/v1"}
  b: {schema: bedrock, region: us-east-1, images: {hosts: [Images.Example.com, "*.cdn.example.com"]}, fields: [top_k]}
  c: {schema: bedrock, region: eu-west-1, images: {hosts: [images.example.com, "*.cdn.example.com"]}, fields: [top_k]}
models:
  alone: {route: [[{provider: b, model: x}]]}
  same: {route: [[{provider: b, model: x}, {provider: c, model: x}]]}
  two: {route: [[{provider: b, model: x}], [{provider: b, model: y}]]}
  mixed: {route: [[{provider: a}], [{provider: b, model: mixed}]]}
  plain: {route: [[{provider: a}]]}
`, Env{})
	for name, picks := range map[string]bool{"alone": false, "same": false, "two": true, "mixed": true, "plain": false} {
		m := c.Models[name]
		assert.Equal(t, picks, Picks(m.Route, c.Providers), name)
		assert.Equal(t, picks, m.Understood(name, c.Providers), name)
		own, shared := SharedName(name, m.Route)
		assert.Empty(t, own, "%s: the name is written for each attempt", name)
		assert.Equal(t, name == "plain", shared, name)
		assert.Equal(t, name == "plain", SharedPath(m.Route, c.Providers), name)
	}
	assert.Equal(t, []string{"images.example.com", "*.cdn.example.com"}, c.Providers["b"].ImageHosts())
	assert.Equal(t, "mixed", c.Models["mixed"].Route[1][0].OwnName("mixed"), "it is the provider's id, whatever it is called")
	assert.Equal(t, "https://bedrock-runtime.eu-west-1.amazonaws.com", c.Providers["c"].URL)
}
