package config

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMatch(t *testing.T) {
	c := &Config{Models: map[string]*Model{"gpt-4o": {}, "gpt-*": {}, "gpt-4*": {}, "o1": {}}}
	for name, want := range map[string]string{
		"gpt-4o": "gpt-4o", "gpt-4o-mini": "gpt-4*", "gpt-3": "gpt-*", "gpt-": "gpt-*", "o1": "o1", "gpt-*": "gpt-*", "gpt-4*": "gpt-4*", "gpt-4o*": "gpt-4*",
	} {
		pattern, m, ok := c.Match(name)
		assert.True(t, ok, name)
		assert.Equal(t, want, pattern, name)
		assert.Same(t, c.Models[want], m, name)
	}
	for _, name := range []string{"", "o1-mini", "gp", "GPT-4o"} {
		_, m, ok := c.Match(name)
		assert.False(t, ok, name)
		assert.Nil(t, m)
	}
	c.Models["*"] = &Model{}
	for _, name := range []string{"", "o1-mini", "*"} {
		pattern, _, ok := c.Match(name)
		assert.True(t, ok)
		assert.Equal(t, "*", pattern)
	}
}

func TestUsableRoute(t *testing.T) {
	weight := func(n int) *int { return &n }
	providers := map[string]*Provider{"a": {}, "b": {Key: NewSecret("${B}", "")}, "c": {Key: NewSecret("${C}", "c")}}
	m := &Model{Route: [][]Target{
		{{Provider: "a"}, {Provider: "b", Weight: weight(5)}, {Provider: "c", Weight: weight(0)}},
		{{Provider: "b"}},
		{{Provider: "b", Weight: weight(1)}, {Provider: "c", Weight: weight(0)}},
		{{Provider: "gone"}},
		{{Provider: "c", Weight: weight(3)}},
	}}
	assert.Equal(t, [][]Target{
		{{Provider: "a"}},
		{{Provider: "c", Weight: weight(3)}},
	}, m.UsableRoute(providers))
	assert.Len(t, m.Route, 5, "the route itself is left alone")
}

// TestATargetWithoutAShareDecidesNothing: not who reads the body, nor who writes the name.
func TestATargetWithoutAShareDecidesNothing(t *testing.T) {
	for text, want := range map[string]struct{ understood, shared bool }{
		"{provider: q, weight: 0, model: other}":          {false, true},
		"{provider: q, weight: 1, model: other}":          {false, false},
		"{provider: q, weight: 0, without: [tools]}":      {false, true},
		"{provider: q, weight: 1, without: [tools]}":      {true, true},
		"{provider: aws, weight: 0, model: anthropic.c1}": {false, true},
		"{provider: aws, weight: 1, model: anthropic.c1}": {true, false},
	} {
		c := parse(t, "providers: {p: {schema: openai, builtin: demo}, q: {schema: openai, builtin: demo}, aws: {schema: bedrock, region: us-east-1}}\n"+
			"models: {m: {route: [[{provider: p, weight: 5}, "+text+"]]}}", Env{})
		m := c.Models["m"]
		assert.Equal(t, want.understood, m.Understood("m", c.Providers), text)
		_, shared := SharedName("m", m.UsableRoute(c.Providers))
		assert.Equal(t, want.shared, shared, text)
	}
}

func TestFallback(t *testing.T) {
	c := &Config{Providers: map[string]*Provider{"a": {Key: NewSecret("${A}", "")}, "b": {}}, Models: map[string]*Model{}}
	_, _, ok := c.Fallback()
	assert.False(t, ok)
	c.Models["*"] = &Model{Route: [][]Target{{{Provider: "a"}}, {{Provider: "b"}}}}
	name, p, ok := c.Fallback()
	require.True(t, ok)
	assert.Equal(t, "b", name)
	assert.Same(t, c.Providers["b"], p)
	c.DefaultProvider = "a"
	name, _, ok = c.Fallback()
	assert.False(t, ok, "what was asked for by name is not replaced by another")
	assert.Equal(t, "a", name)
}

func TestPath(t *testing.T) {
	assert.Equal(t, `models.gpt-4o.route[0][1].provider`, Path("models", "gpt-4o", "route", 0, 1, "provider"))
	assert.Equal(t, `models."gpt-4.1"`, Path("models", "gpt-4.1"))
	assert.Equal(t, `models.*`, Path("models", "*"))
	assert.Equal(t, `models."a\nb"`, Path("models", "a\nb"))
}
