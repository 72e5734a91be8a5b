package demo_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// answerIn is what the model writes for a schema.
func answerIn(t *testing.T, schema string) string {
	t.Helper()
	answer := ask(t, chatPath, `{"model":"m","messages":[{"role":"user","content":"blue shoes"}],
		"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":`+schema+`}}}`)
	return answer.Get("choices.0.message.content").Str
}

// Another implementation of JSON schema judges what the model writes.
func TestAnswersSatisfyTheirSchema(t *testing.T) {
	for name, schema := range map[string]string{
		"strings":  `{"type":"object","required":["a","b"],"properties":{"a":{"type":"string"},"b":{"type":"string","maxLength":3}},"additionalProperties":false}`,
		"numbers":  `{"type":"object","required":["a","b","c","d","e"],"properties":{"a":{"type":"integer","minimum":18},"b":{"type":"number","maximum":0.5},"c":{"type":"integer","exclusiveMinimum":5},"d":{"type":"integer","exclusiveMaximum":1},"e":{"type":"integer","multipleOf":7,"minimum":20}}}`,
		"enums":    `{"type":"object","required":["a","b","c"],"properties":{"a":{"enum":["x","y"]},"b":{"const":{"k":1}},"c":{"type":"string","default":"d"}}}`,
		"arrays":   `{"type":"object","required":["a","b","c"],"properties":{"a":{"type":"array","items":{"type":"integer"},"minItems":3},"b":{"type":"array","maxItems":0},"c":{"items":{"type":"boolean"}}}}`,
		"formats":  `{"type":"object","required":["a","b","c","d"],"properties":{"a":{"type":"string","format":"date-time"},"b":{"type":"string","format":"uuid"},"c":{"type":"string","format":"email"},"d":{"type":"string","minLength":40}}}`,
		"nullable": `{"type":"object","required":["a","b","c"],"properties":{"a":{"type":["null","string"]},"b":{"anyOf":[{"type":"null"},{"type":"integer"}]},"c":{"type":"null"}}}`,
		"refs":     `{"$defs":{"a/b":{"type":"object","required":["n"],"properties":{"n":{"type":"integer"}}}},"type":"object","required":["x"],"properties":{"x":{"$ref":"#/$defs/a~1b"}}}`,
		"nested":   `{"type":"object","required":["a"],"properties":{"a":{"type":"object","required":["b"],"properties":{"b":{"type":"array","minItems":1,"items":{"type":"object","required":["c"],"properties":{"c":{"type":"string"}}}}}}}}`,
		"a tree":   `{"type":"object","required":["children"],"properties":{"children":{"type":"array","items":{"$ref":"#"}}}}`,
		"unknown":  `{"type":"object","required":["not described","a.b*"]}`,
		"a list":   `{"type":"array","items":{"type":"string"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			text := answerIn(t, schema)
			document, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
			require.NoError(t, err)
			compiler := jsonschema.NewCompiler()
			compiler.AssertFormat()
			require.NoError(t, compiler.AddResource("mem://schema.json", document))
			compiled, err := compiler.Compile("mem://schema.json")
			require.NoError(t, err)
			value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
			require.NoError(t, err, text)
			assert.NoError(t, compiled.Validate(value), text)
		})
	}
}

func TestPropertiesKeepTheirOrderAndTheUsersText(t *testing.T) {
	text := answerIn(t, `{"required":["a","z"],"properties":{"z":{"type":"string"},"m":{"type":"string"},"a":{"type":"boolean"}}}`)
	assert.Equal(t, `{"z":"blue shoes","a":true}`, text)
}

func TestHostileSchemasEnd(t *testing.T) {
	var wide strings.Builder
	wide.WriteString(`{"$defs":{"x":{"type":"object","required":["a0"`)
	for i := range 200 {
		wide.WriteString(`,"a` + strings.Repeat("b", i) + `"`)
	}
	wide.WriteString(`],"properties":{"a0":{"$ref":"#/$defs/x"}`)
	for i := range 200 {
		wide.WriteString(`,"a` + strings.Repeat("b", i) + `":{"$ref":"#/$defs/x"}`)
	}
	wide.WriteString(`}}},"$ref":"#/$defs/x"}`)
	for name, schema := range map[string]string{
		"itself":           `{"$ref":"#"}`,
		"a circle":         `{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}`,
		"anyOf itself":     `{"anyOf":[{"$ref":"#"}]}`,
		"wide and deep":    wide.String(),
		"a billion items":  `{"type":"array","minItems":1000000000,"items":{"type":"array","minItems":1000000000}}`,
		"a long string":    `{"type":"string","minLength":1e300}`,
		"endless numbers":  `{"type":"array","minItems":4,"items":{"type":"number","minimum":1e308,"multipleOf":1e-300}}`,
		"negative lengths": `{"type":"string","maxLength":-1}`,
		"nowhere":          `{"$ref":"https://example.com/schema"}`,
		"nonsense":         `{"type":7,"required":7,"properties":[],"anyOf":7,"enum":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			text := answerIn(t, schema)
			assert.True(t, json.Valid([]byte(text)))
			assert.Less(t, len(text), 1<<20)
		})
	}
	status, _ := post(t, chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"x":"`+strings.Repeat("y", 1<<19)+`"}}}]}`)
	assert.Equal(t, 400, status)
}

// Whatever the body, the model answers, in JSON or as a stream, and never with 500.
func FuzzModel(f *testing.F) {
	paths := []string{chatPath, completionsPath, embeddingsPath, responsesPath}
	f.Add(0, streamed)
	f.Add(0, `{"model":"m","n":2,"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],"tools":[{"type":"function","function":{"name":"f","parameters":{"required":["a"],"properties":{"a":{"anyOf":[{"type":"null"},{"$ref":"#"}]}}}}}]}`)
	f.Add(1, `{"model":"m","prompt":[[1,2]],"stream":true,"stream_options":{"include_usage":true}}`)
	f.Add(2, `{"model":"m","input":["a","b"],"dimensions":3,"encoding_format":"base64"}`)
	f.Add(3, `{"model":"m","input":[{"role":"user","content":"x"}],"stream":true,"text":{"format":{"type":"json_schema","schema":{"enum":[1]}}}}`)
	f.Fuzz(func(t *testing.T, path int, body string) {
		status, text := post(t, paths[uint(path)%uint(len(paths))], body)
		if status != 200 {
			require.Equal(t, 400, status)
		}
		if !strings.HasPrefix(text, "data: ") && !strings.HasPrefix(text, "event: ") {
			require.True(t, json.Valid([]byte(text)), text)
		}
	})
}
