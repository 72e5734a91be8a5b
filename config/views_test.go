package config

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const viewed = `
listen: {address: 127.0.0.1:9000}
providers:
  one: {schema: openai, url: http://127.0.0.1:1/v1}
  two: {schema: openai, url: http://127.0.0.1:2/v1}
  three: {schema: openai, url: http://127.0.0.1:3/v1}
models:
  gpt-4o: {route: [[{provider: one}], [{provider: two}]]}
  "gpt-*": {route: [[{provider: two}]]}
  small: {route: [[{provider: one}]]}
  "*": {route: [[{provider: three}]]}
default_provider: three
`

func TestAViewIsAPartOfTheWhole(t *testing.T) {
	c := parse(t, viewed+`
views:
  edge: {models: [gpt-4*, small], listen: {address: ":8443"}, clients: [edge.example]}
  two: {models: ["gpt-*"], services: /run/two}
  all: {}
`, Env{})
	for cluster, want := range map[string]struct {
		models, providers          string
		address, services, byFiles string
	}{
		"edge":    {"gpt-4o small", "one two", "0.0.0.0:8443", "/run/postern", ""},
		"two":     {"gpt-* gpt-4o", "one two", "127.0.0.1:9000", "/run/two", ""},
		"all":     {"* gpt-* gpt-4o small", "one three two", "127.0.0.1:9000", "/run/postern", "three"},
		"nowhere": {"* gpt-* gpt-4o small", "one three two", "127.0.0.1:9000", "/run/postern", "three"},
	} {
		seen, services := c.View(cluster)
		assert.Equal(t, want.models, strings.Join(slices.Sorted(maps.Keys(seen.Models)), " "), cluster)
		assert.Equal(t, want.providers, strings.Join(slices.Sorted(maps.Keys(seen.Providers)), " "), cluster)
		assert.Equal(t, want.address, seen.Listen.Address, cluster)
		assert.Equal(t, want.services, services, cluster)
		assert.Equal(t, want.byFiles, seen.DefaultProvider, cluster)
		assert.Equal(t, c.Version, seen.Version, "one version for all")
		assert.Empty(t, seen.Views, "an Envoy hears nothing of the others")
	}
	assert.Len(t, c.Models, 4, "the whole stays whole")
	assert.Len(t, c.Providers, 3)
}

func TestTheDefaultViewIsForTheClustersWithoutTheirOwn(t *testing.T) {
	c := parse(t, viewed+`
views:
  default: {models: [small]}
  all: {}
`, Env{})
	seen, _ := c.View("nowhere")
	assert.Len(t, seen.Models, 1)
	seen, _ = c.View("all")
	assert.Len(t, seen.Models, 4)
}

func TestViewsThatCannotBe(t *testing.T) {
	for text, want := range map[string]string{
		"edge: {models: [gpt-5]}":                            `views.edge.models[0]: there is no model "gpt-5"`,
		"edge: {models: [claude*]}":                          `there is no model "claude*"`,
		"edge: {models: []}":                                 "views.edge.models: is empty",
		"edge: {clients: []}":                                "views.edge.clients: is empty",
		"edge: {clients: ['a b']}":                           "views.edge.clients[0]: must be a name",
		"edge: {listen: {address: here}}":                    "views.edge.listen.address: must be an address and a port",
		"edge: {listen: {tls: {}}}":                          "unknown key",
		"edge: {services: run}":                              "views.edge.services: must be an absolute path",
		"edge: {services: /run/}":                            "views.edge.services: must be an absolute path",
		"edge: {services: /" + strings.Repeat("a", 80) + "}": "has at most 80 bytes",
		"Edge: {}": "views.Edge: a name has up to 63",
		"edge:":    "views.edge: has no value",
	} {
		_, err := Parse("test.yaml", []byte(viewed+"views:\n  "+text+"\n"), Env{})
		assert.ErrorContains(t, err, want, text)
	}
}

func TestDoorsStayWhereTheyAre(t *testing.T) {
	before := parse(t, viewed+"views: {edge: {listen: {address: ':1'}}, gone: {}}", Env{})
	same := parse(t, viewed+"views: {edge: {listen: {address: ':1'}, models: [small]}, new: {services: /run/postern}}", Env{})
	kept, moved := same.WithDoorsOf(before, nil)
	assert.False(t, moved)
	assert.Equal(t, same.Views, kept.Views)

	after := parse(t, strings.Replace(viewed, "9000", "9001", 1)+"views: {edge: {listen: {address: ':2'}, services: /run/e, models: [small]}}", Env{})
	kept, moved = after.WithDoorsOf(before, nil)
	assert.True(t, moved)
	assert.Equal(t, "127.0.0.1:9000", kept.Listen.Address)
	require.Contains(t, kept.Views, "edge")
	assert.Equal(t, View{Models: []string{"small"}, Listen: ViewListen{Address: "0.0.0.0:1"}, Services: "/run/postern"}, *kept.Views["edge"])
	assert.Equal(t, "0.0.0.0:2", after.Views["edge"].Listen.Address, "the document's own is not written to")
}

// A view that comes or goes may be another door for the Envoys of its cluster, which had
// the default one, or have it from now on.
func TestDoorsStayWhereAViewComesOrGoes(t *testing.T) {
	none := parse(t, viewed, Env{})
	edge := parse(t, viewed+"views: {edge: {listen: {address: ':1'}, services: /run/e, models: [small], clients: [edge.example]}}", Env{})
	nobody := func(string) bool { return false }
	here := func(cluster string) bool { return cluster == "edge" }
	door := func(c *Config, cluster string) string {
		seen, services := c.View(cluster)
		return seen.Listen.Address + " " + services
	}
	for name, c := range map[string]struct {
		before, after *Config
		here          func(string) bool
		want          string
		moved         bool
	}{
		"it comes":                      {none, edge, here, "127.0.0.1:9000 /run/postern", true},
		"it comes, and nobody is there": {none, edge, nobody, "0.0.0.0:1 /run/e", false},
		"it goes":                       {edge, none, here, "0.0.0.0:1 /run/e", true},
		"it goes, and nobody is there":  {edge, none, nobody, "127.0.0.1:9000 /run/postern", false},
	} {
		kept, moved := c.after.WithDoorsOf(c.before, c.here)
		assert.Equal(t, c.moved, moved, name)
		assert.Equal(t, c.want, door(kept, "edge"), name)
		assert.Equal(t, "127.0.0.1:9000 /run/postern", door(kept, "other"), name)
		was, _ := c.after.View("edge")
		is, _ := kept.View("edge")
		assert.Equal(t, was.Models, is.Models, "%s: what it serves changes at once", name)
		again, moved := c.after.WithDoorsOf(kept, c.here)
		assert.Equal(t, c.moved, moved, name)
		assert.Equal(t, c.want, door(again, "edge"), "%s: it stays so", name)
	}

	// The default view is everybody's who has no other.
	general := parse(t, viewed+"views: {default: {listen: {address: ':2'}, models: [small]}}", Env{})
	kept, moved := general.WithDoorsOf(none, nobody)
	assert.True(t, moved)
	assert.Equal(t, "127.0.0.1:9000 /run/postern", door(kept, "other"))
	kept, moved = none.WithDoorsOf(general, nobody)
	assert.True(t, moved)
	assert.Equal(t, "0.0.0.0:2 /run/postern", door(kept, "other"))
	kept, _ = edge.WithDoorsOf(general, here)
	assert.Equal(t, "0.0.0.0:2 /run/postern", door(kept, "edge"))
	assert.Equal(t, []string{"edge.example"}, kept.Views["edge"].Clients)
}
