package demo

import (
	"bytes"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// A schema comes from the client, and may refer to itself or ask for a billion
// items: what is written stays within these bounds, satisfied or not.
const (
	maxDepth  = 12
	maxValues = 500
	maxString = 4096    // characters a minLength may ask for
	maxSchema = 1 << 18 // bytes of a schema: it is read again for each value
)

func checkSchema(schema gjson.Result, param string) error {
	if len(schema.Raw) > maxSchema {
		return invalid(param, "A JSON schema in '%s' is too large: the demo model reads at most %d bytes.", param, maxSchema)
	}
	return nil
}

// fill writes a JSON value that satisfies the simple parts of a JSON schema:
// required properties, types, enum, const, bounds, the usual formats, local $ref,
// one of anyOf, oneOf and allOf. Strings are the user's text where nothing forbids.
func fill(schema gjson.Result, user string) string {
	f := filler{root: schema, user: shorten(user)}
	if f.user == "" {
		f.user = "demo"
	}
	f.value(schema, 0)
	return f.out.String()
}

type filler struct {
	out    bytes.Buffer
	root   gjson.Result
	user   string
	values int
}

func (f *filler) value(schema gjson.Result, depth int) {
	f.values++
	if depth > maxDepth || f.values > maxValues {
		f.out.WriteString("null")
		return
	}
	schema = f.resolve(schema)
	if value, ok := given(schema); ok {
		f.out.WriteString(value.Raw)
		return
	}
	switch kindOf(schema) {
	case "object":
		f.object(schema, depth)
	case "array":
		f.array(schema, depth)
	case "integer", "number":
		f.out.Write(encode(number(schema)))
	case "boolean":
		f.out.WriteString("true")
	case "null":
		f.out.WriteString("null")
	default:
		f.out.Write(encode(f.text(schema)))
	}
}

// given is a value the schema itself names.
func given(schema gjson.Result) (gjson.Result, bool) {
	for _, path := range []string{"const", "enum.0", "default"} {
		if value := schema.Get(path); value.Exists() {
			return value, true
		}
	}
	return gjson.Result{}, false
}

// resolve follows $ref, anyOf, oneOf and allOf to a schema with a type, as far as
// the depth bound goes: they may run in a circle.
func (f *filler) resolve(schema gjson.Result) gjson.Result {
	for range maxDepth {
		next := f.follow(schema)
		if !next.Exists() {
			break
		}
		schema = next
	}
	return schema
}

func (f *filler) follow(schema gjson.Result) gjson.Result {
	if ref := schema.Get("$ref"); ref.Exists() {
		f.values++ // looking up costs as much as writing
		return f.lookUp(ref.Str)
	}
	if schema.Get("type").Exists() || schema.Get("properties").Exists() {
		return gjson.Result{}
	}
	var choice gjson.Result
	for _, word := range []string{"anyOf", "oneOf", "allOf"} {
		schema.Get(word).ForEach(func(_, option gjson.Result) bool {
			choice = option
			return option.Get("type").Str == "null" // go on to one that says more
		})
	}
	return choice
}

// lookUp is the schema at a JSON pointer of the same document ("#/$defs/Place").
func (f *filler) lookUp(pointer string) gjson.Result {
	names, local := strings.CutPrefix(pointer, "#")
	if !local {
		return gjson.Result{}
	}
	at := f.root
	for name := range strings.SplitSeq(strings.TrimPrefix(names, "/"), "/") {
		if name != "" {
			at = member(at, strings.NewReplacer("~1", "/", "~0", "~").Replace(name))
		}
	}
	return at
}

// member is the member of an object by its exact name: names from clients are no
// gjson paths.
func member(of gjson.Result, name string) gjson.Result {
	var found gjson.Result
	of.ForEach(func(key, value gjson.Result) bool {
		if key.Str == name {
			found = value
		}
		return !found.Exists()
	})
	return found
}

func kindOf(schema gjson.Result) string {
	kind := schema.Get("type")
	if kind.IsArray() {
		for _, option := range kind.Array() {
			if option.Str != "null" {
				return option.Str
			}
		}
		return "null"
	}
	switch {
	case kind.Str == "" && schema.Get("properties").Exists():
		return "object"
	case kind.Str == "" && schema.Get("items").Exists():
		return "array"
	}
	return kind.Str
}

func (f *filler) object(schema gjson.Result, depth int) {
	required := map[string]bool{}
	var order []string
	schema.Get("required").ForEach(func(_, name gjson.Result) bool {
		if !required[name.Str] {
			order = append(order, name.Str)
		}
		required[name.Str] = true
		return len(order) < maxValues
	})
	properties := schema.Get("properties")
	first := true
	write := func(name string, property gjson.Result) {
		if !first {
			f.out.WriteByte(',')
		}
		first = false
		f.out.Write(encode(name))
		f.out.WriteByte(':')
		f.value(property, depth+1)
		delete(required, name)
	}
	f.out.WriteByte('{')
	properties.ForEach(func(name, property gjson.Result) bool { // in the schema's own order
		if required[name.Str] {
			write(name.Str, property)
		}
		return true
	})
	for _, name := range order {
		if required[name] {
			write(name, gjson.Result{})
		}
	}
	f.out.WriteByte('}')
}

func (f *filler) array(schema gjson.Result, depth int) {
	length := 1
	if least := schema.Get("minItems"); least.Num > 1 {
		length = int(math.Min(least.Num, maxValues))
	}
	if most := schema.Get("maxItems"); most.Exists() && most.Num < 1 {
		length = 0
	}
	if depth >= maxDepth-1 && schema.Get("minItems").Num < 1 {
		length = 0 // a schema that holds itself ends here
	}
	items := schema.Get("items")
	f.out.WriteByte('[')
	for i := range length {
		if f.values > maxValues {
			break
		}
		if i > 0 {
			f.out.WriteByte(',')
		}
		f.value(items, depth+1)
	}
	f.out.WriteByte(']')
}

// number is 1, or what is nearest to it within the bounds.
func number(schema gjson.Result) float64 {
	value, step := 1.0, schema.Get("multipleOf").Num
	if step > 0 {
		value = step
	} else {
		step = 1
	}
	if least := schema.Get("minimum"); least.Exists() && value < least.Num {
		value = math.Ceil(least.Num/step) * step
	}
	if least := schema.Get("exclusiveMinimum"); least.Exists() && value <= least.Num {
		value = (math.Floor(least.Num/step) + 1) * step
	}
	if most := schema.Get("maximum"); most.Exists() && value > most.Num {
		value = math.Floor(most.Num/step) * step
	}
	if most := schema.Get("exclusiveMaximum"); most.Exists() && value >= most.Num {
		value = (math.Ceil(most.Num/step) - 1) * step
	}
	return finite(value)
}

// finite keeps bounds like 1e308 from ending as something JSON cannot say.
func finite(value float64) float64 {
	if math.IsInf(value, 0) || math.IsNaN(value) {
		return 0
	}
	return value
}

var formats = map[string]string{
	"date": "2030-01-01", "time": "12:00:00Z", "date-time": "2030-01-01T12:00:00Z", "duration": "PT1H",
	"email": "demo@example.com", "hostname": "example.com", "ipv4": "192.0.2.1", "ipv6": "2001:db8::1",
	"uri": "https://example.com/", "url": "https://example.com/", "uuid": "00000000-0000-4000-8000-000000000000",
}

func (f *filler) text(schema gjson.Result) string {
	if example, ok := formats[schema.Get("format").Str]; ok {
		return example
	}
	text := f.user
	if least := int(math.Min(schema.Get("minLength").Num, maxString)); utf8.RuneCountInString(text) < least {
		text += strings.Repeat(".", least-utf8.RuneCountInString(text))
	}
	if most := schema.Get("maxLength"); most.Exists() {
		runes := []rune(text)
		text = string(runes[:min(len(runes), int(math.Max(0, math.Min(most.Num, maxString))))])
	}
	return text
}
