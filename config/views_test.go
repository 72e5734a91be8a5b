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
	same := parse(t, viewed+"views: {edge: {listen: {address: ':1'}, models: [small]}, new: {listen: {address: ':3'}}}", Env{})
	kept, moved := same.WithDoorsOf(before)
	assert.False(t, moved)
	assert.Equal(t, same.Views, kept.Views)

	after := parse(t, strings.Replace(viewed, "9000", "9001", 1)+"views: {edge: {listen: {address: ':2'}, services: /run/e, models: [small]}}", Env{})
	kept, moved = after.WithDoorsOf(before)
	assert.True(t, moved)
	assert.Equal(t, "127.0.0.1:9000", kept.Listen.Address)
	require.Contains(t, kept.Views, "edge")
	assert.Equal(t, View{Models: []string{"small"}, Listen: ViewListen{Address: "0.0.0.0:1"}, Services: "/run/postern"}, *kept.Views["edge"])
	assert.Equal(t, "0.0.0.0:2", after.Views["edge"].Listen.Address, "the document's own is not written to")
}
