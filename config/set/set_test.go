package set_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/config/set"
)

const document = `# the whole
listen: {address: "127.0.0.1:8080"}   # the door
providers:
  # in house
  demo: &demo {schema: openai, builtin: demo}
  other: *demo
  third:
    <<: *demo
models:
  <<: {extra: {route: [[{provider: third}]]}}
  "*": {route: [[{provider: demo}]]}
  openai/gpt_4o:
    # carefully {{ }}
    route:
      - [{provider: demo, weight: 90}, {provider: other, weight: 10}]
    system: |
      One: line

      {{two}} {{{{three   # {{
default_provider: demo
tiers: {}
`

func env() config.Env { return config.Env{Lookup: os.LookupEnv} }

func key(key string) string { return "/dev/" + key }

func TestSplitAndAssembledAgainIsTheSame(t *testing.T) {
	whole, err := config.Parse("x", []byte(document), env())
	require.NoError(t, err)
	parts, err := set.Split([]byte(document))
	require.NoError(t, err)
	var keys []string
	for _, p := range parts {
		keys = append(keys, p.Key())
		back, err := set.FromKey(p.Key())
		require.NoError(t, err)
		assert.Equal(t, set.Part{Section: p.Section, Entry: p.Entry}, back)
	}
	assert.Equal(t, []string{"default__provider", "listen", "models/_2a", "models/extra", "models/openai_2fgpt__4o", "providers/demo", "providers/other", "providers/third"}, keys)
	again, err := set.Assemble("/dev", key, parts, env())
	require.NoError(t, err)
	assert.Equal(t, whole.Version, again.Version)
	shown, err := config.Parse("shown", []byte(set.Document(parts)), env())
	require.NoError(t, err, set.Document(parts))
	assert.Equal(t, whole.Version, shown.Version)
	assert.Contains(t, set.Document(parts), "# carefully", "a part keeps its comments")
	assert.NotContains(t, set.Document(parts), "{{", "Parameter Store does not take it")
}

func TestNamesThatAreNotOurs(t *testing.T) {
	for _, key := range []string{"", "a/", "/a", "a/b/c", "a_", "a_2", "a_61", "a b", "models/_zz", "ä"} {
		_, err := set.FromKey(key)
		assert.Error(t, err, key)
	}
}

func TestOverlay(t *testing.T) {
	base, err := set.Split([]byte("a: 1\nmodels: {x: {system: base}, y: {system: base}}\n"))
	require.NoError(t, err)
	over, err := set.Split([]byte("models: {x: {system: over}, y: , z: {system: over}}\nb: {c: 1}\n"))
	require.NoError(t, err)
	laid := set.Lay(base, over)
	assert.Equal(t, "a: 1\nb:\n  {c: 1}\nmodels:\n  x:\n    {system: over}\n  z:\n    {system: over}\n",
		strings.ReplaceAll(set.Document(laid), "a:  1", "a: 1"))
}

func TestIndex(t *testing.T) {
	var places []set.Place
	for i := range 100 {
		places = append(places, set.Place{Key: "models/m" + strings.Repeat("x", i), Hash: "0123456789abcdef", Set: set.ID(i, "abcdef")})
	}
	texts := set.Index(places, 1000)
	assert.Greater(t, len(texts), 8)
	for _, text := range texts {
		assert.LessOrEqual(t, len(text), 1000)
	}
	back, err := set.ParseIndex(texts)
	require.NoError(t, err)
	assert.Equal(t, places, back)
	_, err = set.ParseIndex([]string{"one two\n"})
	require.Error(t, err)
	assert.Equal(t, 42, set.Number("000042-abcdef"))
	assert.Equal(t, 0, set.Number("nonsense"))
}

func TestWhatANewerPosternWroteIsRefused(t *testing.T) {
	var p set.Pointer
	require.ErrorContains(t, set.Decode("/p/active", `{"postern":2,"set":{"new":"form"}}`, &p), "/p/active: was written by a newer Postern")
	for _, value := range []string{"", "x", "{}", `{"postern":1,"set":5}`, `[]`, "null"} {
		require.ErrorContains(t, set.Decode("/p/active", value, &p), "/p/active: is not what Postern writes there", value)
	}
	require.NoError(t, set.Decode("/p/active", `{"postern":1,"set":"a","later":1}`, &p))
	assert.Equal(t, "a", p.Set)
}

func TestDiff(t *testing.T) {
	before := []set.Part{{"models", "a", "one\ntwo\nthree\n"}, {"models", "b", "x\n"}, {"listen", "", "same\n"}}
	after := []set.Part{{"models", "a", "one\n2\nthree\n"}, {"models", "c", "y\n"}, {"listen", "", "same\n"}}
	changes := set.Diff(before, after)
	assert.Equal(t, `models.a: changed
    one
  - two
  + 2
    three
models.b: removed
  - x
models.c: added
  + y
`, set.Lines(changes))
	assert.Equal(t, "models.a changed, models.b removed, models.c added", set.Summary(changes, 100))
	assert.Equal(t, "models.a changed and 2 more", set.Summary(changes, 40))
	assert.Equal(t, "nothing", set.Summary(nil, 10))
}

func TestTree(t *testing.T) {
	tree := set.Tree{Prefix: "/postern", Environment: "prod"}
	require.NoError(t, tree.Check())
	assert.Equal(t, "/postern/prod/secrets/openai", tree.Secret("openai"))
	assert.Equal(t, "/team/openai", tree.Secret("/team/openai"))
	for _, bad := range []set.Tree{{"/postern", ""}, {"postern", "x"}, {"/", "x"}, {"/a//b", "x"}, {"/a", "x/y"}, {"/a", "../x"}, {"", "x"}} {
		assert.Error(t, bad.Check(), bad)
	}
}

// A set written by hand may hold a real key; nobody sees it.
func TestMasked(t *testing.T) {
	parts := []set.Part{
		{Section: "providers", Entry: "a", Text: "key: sk-real\nurl: https://x.example\n"},
		{Section: "providers", Entry: "b", Text: "# stays\nkey: ssm:b\n"},
		{Section: "providers", Entry: "c", Text: "keys: [{key: sk-real}, {key: \"${C}\"}]\n"},
		{Section: "listen", Text: "tls: {certificate: file:a, key: sk-real"},
	}
	shown := set.Document(set.Masked(parts))
	assert.NotContains(t, shown, "sk-real")
	assert.Contains(t, shown, "# stays")
	assert.Contains(t, shown, "${C}")
	assert.Contains(t, shown, "https://x.example")
	assert.Contains(t, shown, "not shown: this is not YAML")
}
