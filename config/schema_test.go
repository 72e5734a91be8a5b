package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	generator "github.com/invopop/jsonschema"
	validator6 "github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "rewrite the golden files and schema.json")

// golden compares with a file, or rewrites it under -update.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, got, 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got), "stale: run go test ./config -update")
}

// orVariable lets a form also be a text with references in it.
func orVariable(form string) string { return `\$\{|` + form }

// formsOf says in JSON Schema what the types' UnmarshalText says in Go.
func formsOf(t reflect.Type) *generator.Schema {
	switch t {
	case reflect.TypeFor[Duration]():
		return &generator.Schema{Type: "string", Pattern: orVariable(`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`), Examples: []any{"2s", "500ms", "10m"}}
	case reflect.TypeFor[Size]():
		return &generator.Schema{OneOf: []*generator.Schema{
			{Type: "string", Pattern: orVariable(`^[0-9]{1,15}(KiB|MiB|GiB)?$`)},
			{Type: "integer", Minimum: "1024"},
		}, Examples: []any{"20MiB", "64KiB"}}
	case reflect.TypeFor[Rate]():
		return &generator.Schema{Type: "string", Pattern: orVariable(`^[0-9]{1,10}[kM]?/[smhd]$`), Examples: []any{"20/m", "1k/h"}}
	case reflect.TypeFor[Interval]():
		return &generator.Schema{Type: "string", Pattern: orVariable(`^(off|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`), Examples: []any{"15s", "off"}}
	case reflect.TypeFor[Amount]():
		return &generator.Schema{OneOf: []*generator.Schema{
			{Type: "string", Pattern: orVariable(`^([0-9]{1,7}(\.[0-9]{1,6})?|-)$`)},
			{Type: "number", Minimum: "0"},
		}, Examples: []any{0.15, "-"}}
	case reflect.TypeFor[Ratio]():
		return &generator.Schema{OneOf: []*generator.Schema{
			{Type: "string", Pattern: orVariable(`^[0-9.]+$`)},
			{Type: "number", ExclusiveMinimum: "0", Maximum: "1"},
		}, Examples: []any{0.5}}
	case reflect.TypeFor[Secret]():
		return &generator.Schema{Type: "string", Pattern: `^(\$\{[A-Za-z_][A-Za-z0-9_]*\}|file:.+|ssm:/?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*)$`, Examples: []any{"${OPENAI_API_KEY}", "file:/run/secrets/openai"}}
	}
	return nil
}

// generate makes the schema from the Go types.
func generate(t *testing.T) []byte {
	t.Helper()
	r := generator.Reflector{Anonymous: true, ExpandedStruct: true, Mapper: formsOf}
	s := r.Reflect(&Config{})
	s.Title = "Postern's configuration"
	one := uint64(1)
	for _, key := range []string{"providers", "tiers"} {
		section, ok := s.Properties.Get(key)
		require.True(t, ok)
		section.PropertyNames = &generator.Schema{Pattern: nameForm.String()}
	}
	for _, key := range []string{"providers", "models"} {
		section, ok := s.Properties.Get(key)
		require.True(t, ok)
		section.MinProperties = &one
	}
	text, err := json.MarshalIndent(s, "", "  ")
	require.NoError(t, err)
	return append(text, '\n')
}

func TestSchemaIsFresh(t *testing.T) {
	golden(t, "schema.json", generate(t))
}

func TestSchemaGivesACopy(t *testing.T) {
	Schema()[0] = 'x'
	assert.Equal(t, byte('{'), Schema()[0])
}

// compiled is the schema, ready to judge.
func compiled(t *testing.T) *validator6.Schema {
	t.Helper()
	document, err := validator6.UnmarshalJSON(bytes.NewReader(Schema()))
	require.NoError(t, err)
	c := validator6.NewCompiler()
	require.NoError(t, c.AddResource("schema.json", document))
	s, err := c.Compile("schema.json")
	require.NoError(t, err)
	return s
}

func generic(t *testing.T, text []byte) any {
	t.Helper()
	var document any
	require.NoError(t, yaml.Unmarshal(text, &document))
	return document
}

// What an editor says by the schema must not contradict what Parse says.
func TestSchemaAgreesWithParse(t *testing.T) {
	s := compiled(t)
	good, err := filepath.Glob("../examples/*.yaml")
	require.NoError(t, err)
	for _, file := range append(good, "../postern.yaml", "testdata/full.yaml") {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.NoError(t, s.Validate(generic(t, text)), file)
	}
	for name, text := range map[string]string{
		"unknown key":        "providers: {a: {schema: openai, builtin: demo, colour: red}}\nmodels: {m: {route: [[{provider: a}]]}}",
		"unknown word":       "providers: {a: {schema: soap, builtin: demo}}\nmodels: {m: {route: [[{provider: a}]]}}",
		"no models":          "providers: {a: {schema: openai, builtin: demo}}",
		"literal secret":     "providers: {a: {schema: openai, url: 'https://x/v1', key: sk-1}}\nmodels: {m: {route: [[{provider: a}]]}}",
		"bare number":        "providers: {a: {schema: openai, builtin: demo}}\nmodels: {m: {route: [[{provider: a}]], timeouts: {idle: 5}}}",
		"a name in capitals": "providers: {A: {schema: openai, builtin: demo}}\nmodels: {m: {route: [[{provider: A}]]}}",
	} {
		require.Error(t, s.Validate(generic(t, []byte(text))), name)
		_, err := Parse("x", []byte(text), Env{})
		assert.Error(t, err, name)
	}
}
