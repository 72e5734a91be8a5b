package lanes_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

// The same odd bodies through every lane give the same answers: the judge is the
// form of the body and not the way it takes.
func TestOddBodiesOnEveryLane(t *testing.T) {
	one, two := fake.Start(t), fake.Start(t)
	g := gate.Start(t, gate.Settings{Env: keys, Config: document(one, two, `
  kind: {route: [[{provider: one}]], system: Be kind.}
  strict: {route: [[{provider: one}]], validate: strict}
  mixed: {route: [[{provider: one, model: other}], [{provider: two}]]}
`)})
	for name, c := range map[string]struct {
		body   func(model string) string
		status map[string]int // by model; "" for the others
		param  string
	}{
		"a million empty messages": {
			func(model string) string {
				return `{"model":"` + model + `","messages":[` + strings.Repeat("{},", 1_000_000) + `{}]}`
			},
			map[string]int{"": 200, "strict": 400}, "messages",
		},
		"nested a hundred thousand deep": {
			func(model string) string {
				return `{"model":"` + model + `","messages":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`
			},
			map[string]int{"": 400}, "model",
		},
		"one string of almost 20 MiB": {
			func(model string) string { return large(model, 20<<20-200) },
			map[string]int{"": 200, "strict": 400}, "",
		},
		"a thousand keys at the top": {
			func(model string) string {
				var b strings.Builder
				for i := range 1000 {
					b.WriteString(`"k` + strconv.Itoa(i) + `":0,`)
				}
				return `{` + b.String() + `"model":"` + model + `","messages":[{"role":"user","content":"x"}]}`
			},
			map[string]int{"": 200}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, model := range []string{"plain", "kind", "strict", "mixed"} {
				want, special := c.status[model]
				if !special {
					want = c.status[""]
				}
				r, text := g.Request(t.Context(), t, http.MethodPost, "/v1/chat/completions", c.body(model))
				require.Equal(t, want, r.StatusCode, "%s: %.200s", model, text)
				if want == http.StatusBadRequest && c.param != "" {
					require.Contains(t, text, `"param":"`+c.param)
				}
			}
		})
	}
}

func TestABodyOfOneByteAtATime(t *testing.T) {
	one, two := fake.Start(t), fake.Start(t)
	g := gate.Start(t, gate.Settings{Env: keys, Config: document(one, two, kind)})
	for _, model := range []string{"plain", "kind"} {
		for _, framing := range []string{"length", "chunks"} {
			t.Run(model+" by "+framing, func(t *testing.T) {
				c := announce(t, g, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
				defer c.Close()
				drip(t, c, chat(model), framing == "chunks")
				status := answerStatus(t, c)
				require.Equal(t, http.StatusOK, status)
			})
		}
	}
}

func TestFramesThatContradictThemselves(t *testing.T) {
	one, two := fake.Start(t), fake.Start(t)
	g := gate.Start(t, gate.Settings{Env: keys, Config: document(one, two, kind)})
	for name, row := range map[string]struct {
		headers string
		body    string
		status  int
	}{
		"a gzip body":              {"Content-Encoding: gzip\r\nContent-Length: 5\r\n", "hello", 415},
		"a gzip body in chunks":    {"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", 415},
		"identity":                 {"Content-Encoding: identity\r\nContent-Length: " + strconv.Itoa(len(chat("kind"))) + "\r\n", chat("kind"), 200},
		"a gigabyte that is ten":   {"Content-Length: 1073741824\r\n", "0123456789", 413},
		"a length that is a word":  {"Content-Length: ten\r\n", "", 400},
		"a chunk size that is one": {"Transfer-Encoding: chunked\r\n", "zz\r\n", 400},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(one.Requests())
			c := announce(t, g, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"+row.headers+"\r\n"+row.body)
			defer c.Close()
			status := answerStatus(t, c)
			require.Equal(t, row.status, status)
			if status != http.StatusOK {
				require.Len(t, one.Requests(), before)
			}
		})
	}
}

// drip writes a body byte by byte, behind the header that frames it.
func drip(t *testing.T, c net.Conn, body string, chunks bool) {
	t.Helper()
	if chunks {
		_, err := io.WriteString(c, "Transfer-Encoding: chunked\r\n\r\n")
		require.NoError(t, err)
		for i := range len(body) {
			_, err := io.WriteString(c, "1\r\n"+body[i:i+1]+"\r\n")
			require.NoError(t, err)
		}
		_, err = io.WriteString(c, "0\r\n\r\n")
		require.NoError(t, err)
		return
	}
	_, err := io.WriteString(c, "Content-Length: "+strconv.Itoa(len(body))+"\r\n\r\n")
	require.NoError(t, err)
	for i := range len(body) {
		_, err := io.WriteString(c, body[i:i+1])
		require.NoError(t, err)
	}
}

func answerStatus(t *testing.T, c net.Conn) int {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	return response.StatusCode
}
