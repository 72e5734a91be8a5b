package body_test

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/extproc/body"
)

func TestScanFindsTheTopLevelOnly(t *testing.T) {
	text := []byte(` {"a" : {"model":"inner"}, "mod\u0065l" :"gpt\u002d4" ,"list":[1,{"model":2},[]],"n":-1.5e+3, "e":{},"t":true} `)
	fields, err := body.Scan(text)
	require.NoError(t, err)
	var names []string
	for _, f := range fields {
		names = append(names, f.Name)
	}
	assert.Equal(t, []string{"a", "model", "list", "n", "e", "t"}, names)
	field, ok := fields.Find("model")
	require.True(t, ok)
	assert.Equal(t, `"gpt\u002d4"`, string(field.Raw(text)))
	value, ok := body.Text(field.Raw(text))
	require.True(t, ok)
	assert.Equal(t, "gpt-4", value)
	list, _ := fields.Find("list")
	assert.Equal(t, `[1,{"model":2},[]]`, string(list.Raw(text)))
	number, _ := fields.Find("n")
	assert.Equal(t, `-1.5e+3`, string(number.Raw(text)))
	_, ok = fields.Find("inner")
	assert.False(t, ok)
}

func nested(depth int) string {
	return `{"x":` + strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1) + `}`
}

func manyKeys(n int, last string) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := range n {
		b.WriteString(`"k` + strings.Repeat("x", i) + `":1,`)
	}
	return b.String() + `"` + last + `":2}`
}

func TestScanRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"nothing":                     {"", body.ErrSyntax},
		"white space":                 {" \n", body.ErrSyntax},
		"an array":                    {"[]", body.ErrNotObject},
		"a word":                      {"true", body.ErrNotObject},
		"a string":                    {`"model"`, body.ErrNotObject},
		"a broken array":              {"[", body.ErrSyntax},
		"text behind":                 {`{"a":1} x`, body.ErrSyntax},
		"two objects":                 {`{"a":1}{"a":1}`, body.ErrSyntax},
		"a missing value":             {`{"a":}`, body.ErrSyntax},
		"a missing colon":             {`{"a" 1}`, body.ErrSyntax},
		"a trailing comma":            {`{"a":1,}`, body.ErrSyntax},
		"a trailing comma in a list":  {`{"a":[1,]}`, body.ErrSyntax},
		"the wrong bracket":           {`{"a":[1}`, body.ErrSyntax},
		"a key without quotes":        {`{a:1}`, body.ErrSyntax},
		"cut in a string":             {`{"a":"b`, body.ErrSyntax},
		"cut in an escape":            {`{"a":"b\`, body.ErrSyntax},
		"cut in a unicode escape":     {`{"a":"\u00`, body.ErrSyntax},
		"cut in a word":               {`{"a":tru`, body.ErrSyntax},
		"a control character":         {"{\"a\":\"b\x01\"}", body.ErrSyntax},
		"a control character far in":  {"{\"a\":\"0123456789012345\x1f\"}", body.ErrSyntax},
		"an unknown escape":           {`{"a":"\x"}`, body.ErrSyntax},
		"a leading zero":              {`{"a":01}`, body.ErrSyntax},
		"a bare dot":                  {`{"a":1.}`, body.ErrSyntax},
		"a bare exponent":             {`{"a":1e}`, body.ErrSyntax},
		"plus":                        {`{"a":+1}`, body.ErrSyntax},
		"not a number":                {`{"a":NaN}`, body.ErrSyntax},
		"a number out of range":       {`{"a":1e999}`, body.ErrNumber},
		"an endless number":           {`{"a":` + strings.Repeat("9", 400) + `}`, body.ErrNumber},
		"a byte order mark":           {"\xef\xbb\xbf{}", body.ErrSyntax},
		"bad UTF-8":                   {"{\"a\":\"\xff\"}", body.ErrUTF8},
		"a lone surrogate":            {`{"a":"\ud800"}`, body.ErrUTF8},
		"a lone low surrogate":        {`{"a":"\udc00"}`, body.ErrUTF8},
		"two high surrogates":         {`{"a":"\ud800\ud800"}`, body.ErrUTF8},
		"a key twice":                 {`{"model":"a","model":"b"}`, body.ErrDuplicate},
		"a key twice, once escaped":   {`{"model":"a","mod\u0065l":"b"}`, body.ErrDuplicate},
		"a key twice inside":          {`{"a":[{"b":1,"b":2}]}`, body.ErrDuplicate},
		"the first of many, twice":    {manyKeys(100, "k"), body.ErrDuplicate},
		"one of many, twice, escaped": {manyKeys(100, `\u006bx`), body.ErrDuplicate},
		"too deep":                    {nested(body.MaxDepth + 1), body.ErrDepth},
		"much too deep":               {strings.Repeat(`{"a":`, 100_000), body.ErrDepth},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := body.Scan([]byte(c.text))
			require.ErrorIs(t, err, c.want)
		})
	}
}

func TestScanAccepts(t *testing.T) {
	for _, text := range []string{
		"{}", " {\t} ", `{"":""}`, `{"a":"\ud83d\ude00 😀"}`, `{"a":0,"b":-0.0e-1,"c":1E5}`,
		`{"a":{"k":1},"b":{"k":1}}`, nested(body.MaxDepth), manyKeys(100, "other"),
		`{"a":[{"role":1},{"role":1}]}`, "{\"a\":\"\u007f\u2028\"}", `{"a":123456789012345678901234567890}`,
	} {
		_, err := body.Scan([]byte(text))
		require.NoError(t, err, text)
		require.True(t, json.Valid([]byte(text)), text)
	}
}

func TestApplyKeepsEverythingElse(t *testing.T) {
	text := []byte(`{ "model" : "old", "n": 1.0, "x":12345678901234567890}`)
	fields, err := body.Scan(text)
	require.NoError(t, err)
	model, _ := fields.Find("model")
	got := body.Apply(text, body.Edit{Start: model.Start, End: model.End, With: body.Quote(`né"w`)})
	assert.Equal(t, `{ "model" : "né\"w", "n": 1.0, "x":12345678901234567890}`, string(got))
	assert.Equal(t, `{ "model" : "old", "n": 1.0, "x":12345678901234567890}`, string(text), "the body itself is not touched")
	same := body.Apply(text)
	assert.Same(t, &text[0], &same[0], "no edit, no copy")
}

// FuzzScan holds Scan against encoding/json: what is accepted is valid and has
// the same fields; what is refused and yet valid JSON has a reason of ours.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{
		`{"model":"a","messages":[{"role":"user","content":"hi"}]}`, `{"a":"\ud83d\ude00"}`, `{"a":1e5,"a":2}`,
		`[1,2]`, `{`, `{"a":{"b":[{}]}}`, "{\"a\":\"\x01\"}", nested(101), manyKeys(30, "k"),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		fields, err := body.Scan(text)
		if err != nil {
			return
		}
		if !json.Valid(text) {
			t.Fatalf("accepted what is not JSON: %q", text)
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		if len(want) != len(fields) {
			t.Fatalf("%d fields, encoding/json has %d", len(fields), len(want))
		}
		for _, field := range fields {
			if !bytes.Equal(want[field.Name], field.Raw(text)) {
				t.Fatalf("%q: %q is not %q", field.Name, field.Raw(text), want[field.Name])
			}
		}
	})
}

// conversation is a body of many messages, about size bytes long.
func conversation(size int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"model":"gpt-4o-mini","temperature":0.2,"messages":[{"role":"system","content":"Be brief."}`)
	for b.Len() < size {
		b.WriteString(`,{"role":"user","content":"Which of the two jackets is warmer, and does it come in \"moss\"?\nThank you."}`)
		b.WriteString(`,{"role":"assistant","content":"The second one: it has 180 g of down where the first has 120 g."}`)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

func BenchmarkScan(b *testing.B) {
	for _, size := range []int{300, 4 << 10, 200 << 10} {
		text := conversation(size)
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := body.Scan(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
