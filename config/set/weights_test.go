package set_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config/set"
)

const routes = `# é comment
models:
  m:
    route:   # keep this
      - [{provider: openai, weight: 90}, {provider: bedrock, model: é, weight: 10}]   # and this

      - - provider: demo   # home
          model: x
        - provider: "bedrock"
          weight: 3  # three
      - [{provider: demo}, {"provider": azure}]
  twice: {route: [[{provider: a, model: x}, {provider: a, model: y}]]}
  alias: {route: [[&t {provider: a}], [*t]]}
`

func TestReweighTouchesNothingElse(t *testing.T) {
	at := []string{"models", "m", "route"}
	for _, test := range []struct {
		group   int
		weights set.Weights
		want    string // the lines from the route on
	}{
		{0, set.Weights{"openai": 5, "bedrock": 1000}, `      - [{provider: openai, weight: 5}, {provider: bedrock, model: é, weight: 1000}]   # and this`},
		{2, set.Weights{"demo": 1, "bedrock": 2}, `      - - provider: demo   # home
          weight: 1
          model: x
        - provider: "bedrock"
          weight: 2  # three`},
		{3, set.Weights{"demo": 1, "azure": 0}, `      - [{provider: demo, weight: 1}, {"provider": azure, weight: 0}]`},
	} {
		text, err := set.Reweigh([]byte(routes), at, test.group, test.weights)
		require.NoError(t, err)
		assert.Contains(t, string(text), test.want)
		assert.Contains(t, string(text), "# keep this")
		back, err := set.Reweigh(text, at, test.group, test.weights)
		require.NoError(t, err)
		assert.Equal(t, string(text), string(back), "twice is once")
	}
	text, err := set.Reweigh([]byte(routes), []string{"models", "twice", "route"}, 0, set.Weights{"a/x": 1, "a/y": 2})
	require.NoError(t, err)
	assert.Contains(t, string(text), "{provider: a, weight: 1, model: x}, {provider: a, weight: 2, model: y}")
	text, err = set.Reweigh([]byte("route:\r\n- - provider: a\r\n  - provider: b\r\n"), []string{"route"}, 0, set.Weights{"a": 1, "b": 0})
	require.NoError(t, err)
	assert.Contains(t, string(text), "a\n    weight: 1\r\n")
}

func TestReweighRefuses(t *testing.T) {
	for why, try := range map[string]struct {
		model   string
		group   int
		weights set.Weights
	}{
		`has no provider "gemini": it has azure, bedrock, demo, openai`: {"m", 0, set.Weights{"gemini": 1, "openai": 2}},
		"the group has bedrock too":                                     {"m", 0, set.Weights{"openai": 1}},
		"all weights are 0":                                             {"m", 1, set.Weights{"openai": 0, "bedrock": 0}},
		"no one group has all of demo, openai":                          {"m", 0, set.Weights{"openai": 1, "demo": 1}},
		"the groups 2 and 3 have them":                                  {"m", 0, set.Weights{"demo": 1}},
		"there is no group 4":                                           {"m", 4, set.Weights{"demo": 1}},
		"there is no models.none":                                       {"none", 0, set.Weights{"demo": 1}},
		"no weights":                                                    {"m", 0, nil},
		"name its targets as a/MODEL":                                   {"twice", 0, set.Weights{"a": 1}},
		"no plain mapping":                                              {"alias", 0, set.Weights{"a": 1}},
	} {
		_, err := set.Reweigh([]byte(routes), []string{"models", try.model, "route"}, try.group, try.weights)
		assert.ErrorContains(t, err, why)
	}
}

func TestParseWeights(t *testing.T) {
	weights, err := set.ParseWeights([]string{"a=1", "b/c=0"})
	require.NoError(t, err)
	assert.Equal(t, set.Weights{"a": 1, "b/c": 0}, weights)
	for _, bad := range []string{"a", "=1", "a=x", "a=-1", "a=1.5", "a=99999999"} {
		_, err := set.ParseWeights([]string{bad})
		require.Error(t, err, bad)
	}
	_, err = set.ParseWeights([]string{"a=1", "a=2"})
	assert.Error(t, err)
}

func FuzzReorder(f *testing.F) {
	f.Add([]byte(routes))
	f.Add([]byte("models: {m: {route: [[{provider: a, model: \"]\"}], [ #\n{provider: b}], [c]]}}"))
	f.Add([]byte("models: {m: {route:\n  - - a\n  - - b\n  - |\n    x\n}}"))
	f.Add([]byte("models:\n  m:\n    route:\n      - [{system: |\n  x\n }]\n      - [a]\n      - [b]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		changed, err := set.Reorder(text, []string{"models", "m", "route"}, []int{3, 1, 2})
		if err != nil {
			return
		}
		if _, err = set.Reorder(changed, []string{"models", "m", "route"}, []int{2, 3, 1}); err != nil {
			t.Errorf("it cannot be taken back: %v", err)
		}
	})
}

func FuzzReweigh(f *testing.F) {
	f.Add([]byte(routes))
	f.Add([]byte("models: {m: {route: [[{provider: a}]]}}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		changed, err := set.Reweigh(text, []string{"models", "m", "route"}, 0, set.Weights{"openai": 7, "bedrock": 8})
		if err == nil && len(changed) == 0 {
			t.Error("a change that left nothing")
		}
	})
}

func TestReorder(t *testing.T) {
	at := []string{"models", "m", "route"}
	text, err := set.Reorder([]byte(routes), at, []int{3, 1, 2})
	require.NoError(t, err)
	assert.Contains(t, string(text), `    route:   # keep this
      - [{provider: demo}, {"provider": azure}]
      - [{provider: openai, weight: 90}, {provider: bedrock, model: é, weight: 10}]   # and this

      - - provider: demo   # home
          model: x
        - provider: "bedrock"
          weight: 3  # three
  twice:`)
	back, err := set.Reorder(text, at, []int{2, 3, 1})
	require.NoError(t, err)
	assert.Equal(t, routes, string(back))
	part, err := set.Reorder([]byte("route:\n  - [{provider: a}]\n  - [{provider: b}]"), []string{"route"}, []int{2, 1})
	require.NoError(t, err)
	assert.Equal(t, "route:\n  - [{provider: b}]\n  - [{provider: a}]", string(part))
	for before, after := range map[string]string{
		`{route: [[{provider: a}], [{provider: b}]]}`: `{route: [[{provider: b}], [{provider: a}]]}`,
		"route: [\n  [{provider: \"a]\", model: 'it''s]'}],   # first # ]\n  [\n    {provider: d'b, model: é},\n  ],\n]\nsystem: x\n": "route: [\n  [\n    {provider: d'b, model: é},\n  ],   # first # ]\n  [{provider: \"a]\", model: 'it''s]'}],\n]\nsystem: x\n",
	} {
		text, err := set.Reorder([]byte(before), []string{"route"}, []int{2, 1})
		require.NoError(t, err)
		assert.Equal(t, after, string(text))
	}
	for why, try := range map[string]struct {
		model string
		order []int
	}{
		"the route has 3 groups":        {"m", []int{1, 2}},
		"has 3 groups: name each once":  {"m", []int{1, 1, 2}},
		"has 3 groups":                  {"m", []int{1, 2, 4}},
		"there is no models.none":       {"none", []int{1}},
		"in a way that cannot be moved": {"alias", []int{2, 1}},
	} {
		_, err := set.Reorder([]byte(routes), at[:0:0], try.order)
		require.Error(t, err)
		_, err = set.Reorder([]byte(routes), []string{"models", try.model, "route"}, try.order)
		require.ErrorContains(t, err, why)
	}
}
