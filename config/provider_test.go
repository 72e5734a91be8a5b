package config

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBasePathsMayDiffer(t *testing.T) {
	c := parse(t, `
providers:
  a: {schema: openai, url: http://localhost/v1/}
  b: {schema: openai, url: http://localhost/api/v1}
  c: {schema: openai, builtin: demo}
  d: {schema: azure, url: http://localhost/openai/v1, api_version: preview}
models:
  same: {route: [[{provider: a}], [{provider: c}]]}
  mixed: {route: [[{provider: a}, {provider: b}]]}
  version: {route: [[{provider: d}]]}
`, Env{})
	shared := func(model string) bool { return SharedPath(c.Models[model].Route, c.Providers) }
	assert.True(t, shared("same"))
	assert.False(t, shared("mixed"))
	assert.False(t, shared("version"), "a query is written once an attempt")
}

func TestURLsOfProvidersAsPeopleGiveThem(t *testing.T) {
	for given, want := range map[string]string{
		"https://api.openai.com/v1":                               "/v1",
		"http://vllm.internal:8000/v1":                            "/v1",
		"http://localhost:11434/v1/":                              "/v1",
		"https://openrouter.ai/api/v1":                            "/api/v1",
		"https://api.groq.com/openai/v1":                          "/openai/v1",
		"https://generativelanguage.googleapis.com/v1beta/openai": "/v1beta/openai",
		"https://api.mistral.ai/v1":                               "/v1",
		"https://api.deepseek.com":                                "",
	} {
		c := parse(t, document(fmt.Sprintf("url: %q", given), "", ""), Env{})
		p := c.Providers["p"]
		assert.Equal(t, want, p.BasePath(), given)
		u, err := url.Parse(given)
		require.NoError(t, err)
		assert.Equal(t, u.Host, p.Endpoint().Host)
	}
	for given, why := range map[string]string{
		"https://api.openai.com/v1?api-version=1": "query",
		"https://api.openai.com/v1#x":             "fragment",
		"https://user:secret@api.openai.com/v1":   "password",
		"https://user@api.openai.com/v1":          "password",
		"api.openai.com/v1":                       "whole http or https URL",
		"https:///v1":                             "whole http or https URL",
		"ftp://host/v1":                           "whole http or https URL",
	} {
		problems := refused(t, document(fmt.Sprintf("url: %q", given), "", ""), Env{})
		require.Len(t, problems, 1, given)
		assert.Contains(t, problems[0].Message, why)
		assert.NotContains(t, problems[0].Message, "secret")
	}
}

// azure is a document with one provider and one model, which it serves.
func azure(provider, model, target string) string {
	return fmt.Sprintf("providers: {az: {schema: azure, %s}}\nmodels: {%q: {route: [[{provider: az%s}]]}}\n", provider, model, target)
}

func TestAzure(t *testing.T) {
	const plain = `url: "https://r.openai.azure.com"`
	for name, c := range map[string]struct {
		text        string
		deployments bool
	}{
		"by deployment":         {azure(plain+", api_version: 2024-10-21", "gpt-4o", ""), true},
		"behind a gateway":      {azure(`url: "https://gate.example/llm", api_version: v1`, "gpt-4o", ""), true},
		"a name in a target":    {azure(plain+", api_version: 2024-10-21", "openai/gpt-4o", ", model: my_gpt.4o"), true},
		"a pattern":             {azure(plain+", api_version: 2024-10-21", "az/*", ", model: 'x-*'"), true},
		"the new form":          {azure(`url: "https://r.openai.azure.com/openai/v1/"`, "openai/gpt-4o", ""), false},
		"the new form, preview": {azure(`url: "https://r.openai.azure.com/openai/v1", api_version: preview`, "gpt-4o", ""), false},
	} {
		cfg := parse(t, c.text, Env{})
		assert.Equal(t, c.deployments, cfg.Providers["az"].Deployments(), name)
	}
	for name, c := range map[string][2]string{
		"no version":            {azure(plain, "gpt-4o", ""), "needs an api_version"},
		"no url":                {azure("api_version: 2024-10-21", "gpt-4o", ""), "needs a url"},
		"builtin":               {azure("builtin: demo", "gpt-4o", ""), "is for schema: openai"},
		"an odd version":        {azure(plain+`, api_version: "1&x=2"`, "gpt-4o", ""), "must be an api-version"},
		"half of a path":        {azure(`url: "https://r.openai.azure.com/openai", api_version: v1`, "gpt-4o", ""), "must be the resource's own"},
		"a deployment's path":   {azure(`url: "https://r.openai.azure.com/openai/deployments/x", api_version: v1`, "gpt-4o", ""), "must be the resource's own"},
		"a name of no such":     {azure(plain+", api_version: 2024-10-21", "openai/gpt-4o", ""), "give the target a model"},
		"a target's name":       {azure(plain+", api_version: 2024-10-21", "gpt-4o", ", model: a/b"), "the name of an Azure deployment"},
		"dots":                  {azure(plain+", api_version: 2024-10-21", "gpt-4o", ", model: '..'"), "the name of an Azure deployment"},
		"a version for another": {document("url: 'http://x/v1', api_version: v1", "", ""), "is for schema: azure"},
		"default_provider":      {azure(plain+", api_version: 2024-10-21", "gpt-4o", "") + "default_provider: az", "no endpoints that name no model"},
	} {
		problems := refused(t, c[0], Env{})
		require.Len(t, problems, 1, name)
		assert.Contains(t, problems[0].Message, c[1], name)
	}
}

func TestFallbackHasPlainPaths(t *testing.T) {
	c := parse(t, `
providers:
  az: {schema: azure, url: "https://r.openai.azure.com", api_version: 2024-10-21}
  plain: {schema: openai, builtin: demo}
models: {"*": {route: [[{provider: az}, {provider: plain}]]}}
`, Env{})
	name, _, ok := c.Fallback()
	assert.True(t, ok)
	assert.Equal(t, "plain", name)
}

func TestKeys(t *testing.T) {
	env := world(map[string]string{"A": "key-a", "C": "key-c", "TORN": "secret\nvalue"}, nil)
	c := parse(t, document(`url: "https://x/v1", keys: [{key: "${A}", weight: 3}, {key: "${B}"}, {key: "${C}"}]`, "", ""), env)
	p := c.Providers["p"]
	require.True(t, p.Usable())
	var got []string
	for _, credential := range p.Credentials() {
		got = append(got, fmt.Sprintf("%s %s %d", credential.Place, credential.Secret.Reveal(), credential.Weight))
	}
	assert.Equal(t, []string{"0 key-a 3", "2 key-c 1"}, got, "a key keeps its place when another has no value")
	require.Len(t, c.Warnings(), 1)
	assert.Equal(t, "providers.p.keys[1].key", c.Warnings()[0].Path)
	assert.Contains(t, c.Warnings()[0].Message, "the key is left out, because B is not set")

	c = parse(t, document(`url: "https://x/v1", keys: [{key: "${B}"}]`, "", ""), env)
	assert.False(t, c.Providers["p"].Usable())
	assert.Contains(t, fmt.Sprint(c.Warnings()), "none of its keys has a value")

	many := strings.Repeat(`{key: "${A}"},`, maxKeys+1)
	for keys, why := range map[string]string{
		`key: "${A}", keys: [{key: "${C}"}]`:   "has both key and keys",
		`keys: []`:                             "has from 1 to 16 keys",
		`keys: [` + many + `]`:                 "has from 1 to 16 keys",
		`keys: [{key: "${A}"}, {key: "${A}"}]`: "stands in this list already",
		`keys: [{key: "${A}", weight: 0}]`:     "must be from 1 to 1000",
		`keys: [{key: "${A}", weight: 1001}]`:  "must be from 1 to 1000",
		`keys: [{weight: 1}]`:                  "is missing",
		`keys: [{key: sk-secret-value}]`:       "must be a reference",
		`keys: [{key: "${TORN}"}]`:             "a key is one line",
		`keys: [{key: "${A}", wait: 1}]`:       "unknown key",
		`keys: {a: "${A}"}`:                    "must be a list",
		`keys: [{key: "${A}"}], builtin: demo`: "a builtin provider takes none",
	} {
		address := `url: "https://x/v1", `
		if strings.Contains(keys, "builtin") {
			address = ""
		}
		problems := refused(t, document(address+keys, "", ""), env)
		assert.Contains(t, problems.Error(), why, keys)
		assert.NotContains(t, problems.Error(), "secret-value")
	}
}

func TestKeysAreCountedAsTargets(t *testing.T) {
	var b strings.Builder
	b.WriteString("providers:\n")
	for i := range 5 {
		fmt.Fprintf(&b, "  p%d:\n    schema: openai\n    url: https://x/v1\n    keys:\n", i)
		for j := range maxKeys {
			fmt.Fprintf(&b, "      - {key: '${KEY_%d}'}\n", j)
		}
	}
	b.WriteString("models: {m: {route: [[{provider: p0}, {provider: p1}, {provider: p2}, {provider: p3}")
	set := Env{Lookup: func(string) (string, bool) { return "x", true }}
	parse(t, b.String()+"]]}}", set)
	problems := refused(t, b.String()+", {provider: p4}]]}}", set)
	require.Len(t, problems, 1)
	assert.Contains(t, problems[0].Message, "more than 64 targets")
}

func TestNewKeysAreNoticed(t *testing.T) {
	text := document(`url: "https://x/v1", keys: [{key: "${A}"}]`, "", "")
	one := parse(t, text, world(map[string]string{"A": "one"}, nil))
	two := parse(t, text, world(map[string]string{"A": "two"}, nil))
	assert.Equal(t, one.Version, two.Version)
	assert.NotEqual(t, outcome(one, nil), outcome(two, nil))
}
