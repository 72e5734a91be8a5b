package main

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/usage"
)

func versionOf(t *testing.T, text string) *version {
	t.Helper()
	cfg, err := config.Parse("test.yaml", []byte(text), config.Env{Lookup: func(string) (string, bool) { return "x", true }})
	require.NoError(t, err)
	table, err := prices(cfg)
	require.NoError(t, err)
	return newVersion(cfg, table)
}

const twoProviders = `
listen: {address: "127.0.0.1:1"}
providers:
  openai: {schema: openai, url: "https://api.openai.com/v1", key: "${KEY}"}
  aws: {schema: bedrock, region: us-east-1}
  mine: {schema: openai, url: "https://mine.example/v1"}
models:
`

// A request is judged by the version that routed it, though another is in force when it
// ends.
func TestARequestHasTheNamesOfItsOwnVersion(t *testing.T) {
	var all versions
	first := versionOf(t, twoProviders+`
  chat: {route: [[{provider: mine, model: old}]]}
prices: {mine/old: {input: 1, output: 1}}`)
	all.add(first)
	all.add(versionOf(t, twoProviders+`
  chat: {route: [[{provider: mine, model: new}]]}`))
	assert.Equal(t, "old", all.sharedName(first.cfg.Version, "chat", "chat"))
	assert.Equal(t, "new", all.sharedName("", "chat", "chat"))
	assert.Same(t, first.prices, all.pricesOf(first.cfg.Version))
	assert.True(t, all.understood("unknown", "chat"))
	assert.False(t, all.understood("unknown", "nobody"))
	for n := range 2 * mostVersions {
		all.add(versionOf(t, twoProviders+fmt.Sprintf("  chat-%d: {route: [[{provider: mine}]]}", n)))
	}
	assert.Len(t, *all.all.Load(), mostVersions)
	assert.NotSame(t, first, all.of(first.cfg.Version))
}

func TestProvidersByTheConventionsNames(t *testing.T) {
	var all versions
	all.add(versionOf(t, `
listen: {address: "127.0.0.1:1"}
providers:
  a: {schema: openai, url: "https://api.openai.com/v1"}
  b: {schema: bedrock, region: us-east-1}
  c: {schema: azure, url: "https://x.openai.azure.com/openai/v1"}
  d: {schema: openai, url: "https://api.groq.com/openai/v1"}
  e: {schema: openai, url: "https://mine.example/v1"}
models: {m: {route: [[{provider: a}]]}}`))
	for provider, want := range map[string]string{
		"a": "openai", "b": "aws.bedrock", "c": "azure.ai.openai", "d": "groq", "e": "e", "gone": "gone",
	} {
		assert.Equal(t, want, all.system(provider))
	}
}

func TestWhichModelsAreNamed(t *testing.T) {
	var all versions
	all.add(versionOf(t, twoProviders+`
  mine-*: {route: [[{provider: mine, model: llama}]]}
  claude: {route: [[{provider: aws, model: us.anthropic.claude-haiku-4-5-20251001-v1:0}, {provider: aws, model: unpriced-v1:0}]]}`))
	for name, test := range map[string]struct {
		provider, model string
		status          int
		want            bool
	}{
		"an entry":                         {"mine", "claude", 500, true},
		"a target without a price":         {"aws", "unpriced-v1:0", 500, true},
		"a target of a pattern":            {"mine", "llama", 0, true},
		"an inference profile":             {"aws", "us.anthropic.claude-haiku-4-5-20251001-v1:0", 200, true},
		"a profile that only has a price":  {"aws", "eu.anthropic.claude-haiku-4-5-20251001-v1:0", 200, true},
		"a dated name":                     {"openai", "gpt-4o-mini-2024-07-18", 200, true},
		"a date that was not answered":     {"openai", "gpt-4o-mini-2099-07-18", 404, false},
		"no answer at all":                 {"openai", "gpt-4o-mini-2024-07-18", 0, false},
		"a price of another vendor":        {"mine", "gpt-4o-mini", 200, false},
		"something a client made up":       {"mine", "mine-made-up", 200, false},
		"an entry's name, and no provider": {"", "claude", 503, true},
	} {
		assert.Equal(t, test.want, all.known(&usage.Request{Provider: test.provider, Model: test.model, Status: test.status}), name)
	}
}
