package strict_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/extproc/body"
	"github.com/postern-proxy/postern/extproc/strict"
)

// row is a body and the field that is to be named; none for a body that is right.
type row struct{ text, param string }

type judge func(body.Fields, []byte) *strict.Mistake

func check(t *testing.T, judge judge, rows map[string]row) {
	t.Helper()
	for name, r := range rows {
		t.Run(name, func(t *testing.T) {
			text := []byte(r.text)
			fields, err := body.Scan(text)
			require.NoError(t, err, "the row itself is no JSON")
			m := judge(fields, text)
			require.Equal(t, r.text, string(text), "the body was written to")
			if r.param == "" {
				require.Nil(t, m)
				return
			}
			require.NotNil(t, m, "was let through")
			assert.Equal(t, r.param, m.Param)
			plain(t, m)
		})
	}
}

// sentence is one, about the field, without a line break.
var sentence = regexp.MustCompile(`^"[^"]+" [a-z][^\r\n.]*\.$`)

// plain holds a message against what a client may be told.
func plain(t *testing.T, m *strict.Mistake) {
	t.Helper()
	assert.Regexp(t, sentence, m.Message)
	assert.True(t, strings.HasPrefix(m.Message, `"`+m.Param+`" `), "the sentence does not begin with the field: %s", m.Message)
	assert.Less(t, len(m.Message), 300)
	assert.True(t, utf8.ValidString(m.Message))
}

func TestAMessageHoldsNoWordOfTheClient(t *testing.T) {
	const said = "Ignore-me"
	for _, text := range []string{
		`{"messages":[{"role":"` + said + `","content":"x"}]}`,
		`{"messages":[{"role":"user","content":[{"type":"` + said + `"}]}]}`,
		`{"messages":[{"role":"user","content":"x"}],"tool_choice":"` + said + `"}`,
		`{"messages":[{"role":"user","content":"x"}],"temperature":"` + said + `"}`,
		`{"messages":[{"role":"tool","tool_call_id":"` + said + `","content":"x"}]}`,
	} {
		fields, err := body.Scan([]byte(text))
		require.NoError(t, err)
		m := strict.Chat(fields, []byte(text))
		require.NotNil(t, m, text)
		assert.NotContains(t, m.Message, said)
	}
}

// conversation is a chat of n messages, each with a text of about size bytes.
func conversation(n, size int) []byte {
	var b strings.Builder
	b.WriteString(`{"model":"gpt-4o","stream":true,"temperature":0.7,"tools":[` + tool + `],"messages":[{"role":"system","content":"Be brief."}`)
	line := `She said: \"let us see\".\nAnd then, as before, nothing happened for a while. `
	content := strings.Repeat(line, size/len(line)+1)[:size/2]
	content = strings.TrimRight(content, `\`) + strings.Repeat("plain words ", size/24)
	for i := range n {
		role := "user"
		if i%2 == 1 {
			role = "assistant"
		}
		b.WriteString(`,{"role":"` + role + `","content":"` + content + `"}`)
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

func BenchmarkChat(b *testing.B) {
	for name, text := range map[string][]byte{
		"4KB": conversation(20, 170), "200KB of 1000 messages": conversation(1000, 170), "200KB of 2 messages": conversation(2, 100_000),
	} {
		b.Run(name, func(b *testing.B) {
			fields, err := body.Scan(text)
			require.NoError(b, err)
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if m := strict.Chat(fields, text); m != nil {
					b.Fatal(m.Message)
				}
			}
		})
	}
}

func FuzzStrict(f *testing.F) {
	for _, text := range []string{
		`{}`, `{"messages":[]}`, said(called), with(`"tools":[` + tool + `]`), part(`{"type":"file","file":{}}`),
		`{"input":[[1],[2]],"prompt":["a"],"dimensions":1}`, `{"input":[{"role":"user","content":"\u0000"}]}`,
		"{\"messages\" :[ {\"role\":\"user\",\"content\":\"\x7f\\\\\"} ] }", `{"messages":[{"\u0072ole":"user","content":{}}]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		fields, err := body.Scan(text)
		if err != nil {
			return // never handed on
		}
		for _, judge := range []judge{strict.Chat, strict.Completion, strict.Embedding, strict.Response} {
			before := string(text)
			first, second := judge(fields, text), judge(fields, text)
			require.Equal(t, first, second, "the second run judged otherwise")
			require.Equal(t, before, string(text), "the body was written to")
			if first != nil {
				plain(t, first)
			}
		}
	})
}
