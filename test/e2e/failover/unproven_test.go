package failover_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

const (
	one    = "data: {\"choices\":[{\"delta\":{\"content\":\"say \\\"data: [DONE]\\\"\"},\"finish_reason\":null}]}\n\n"
	last   = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
	begun  = "event: response.created\ndata: {\"type\":\"response.created\"}\n\nevent: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"\\\"type\\\":\\\"response.completed\\\"\"}\n\n"
	kind   = "text/event-stream"
	header = "HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
)

// unframed is an answer that is a stream and neither in chunks nor of a length.
func unframed(text string) fake.Behavior {
	return fake.Behavior{Header: http.Header{"Content-Type": {kind}}, Body: []byte(text), CloseDelimited: true}
}

// framed is one of a length.
func framed(text string) fake.Behavior {
	return fake.Behavior{Header: http.Header{"Content-Type": {kind}}, Body: []byte(text)}
}

// A stream whose end is the end of its connection looks whole wherever it is cut. Only
// what it says itself can prove that it is; without that the client is told.
func TestAStreamWithoutAnEndIsNeverCleanlyOver(t *testing.T) {
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Connection", "close")
		w.Header().Set("Transfer-Encoding", "identity")
		_, _ = w.Write([]byte("data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}]}\n\n"))
	}))
	t.Cleanup(secure.Close)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600))
	h := open(t, "  tls: {schema: openai, url: \""+secure.URL+"/v1\", ca: \"file:"+authority+"\"}", inTurn+"  secure: {route: [[{provider: tls}]]}\n")

	for name, c := range map[string]struct {
		said  fake.Behavior
		text  string
		whole bool
	}{
		"cut after an event":       {unframed(one), one, false},
		"cut in an event":          {unframed(one + `data: {"choi`), one + `data: {"choi`, false},
		"cut before the first":     {unframed("\n"), "\n", false},
		"with its end":             {unframed(one + last + "data: [DONE]\n\n"), one + last + "data: [DONE]\n\n", true},
		"an end of another style":  {unframed(one + "data:[DONE]\r\n\r\n"), one + "data:[DONE]\r\n\r\n", true},
		"an end of old":            {unframed("data: {}\r\rdata: [DONE]\r\r"), "data: {}\r\rdata: [DONE]\r\r", true},
		"a finish and no end":      {unframed(one + last), one + last, true},
		"an empty finish":          {unframed("data: {\"choices\":[{\"finish_reason\":\"\"}]}\n\n"), "data: {\"choices\":[{\"finish_reason\":\"\"}]}\n\n", false},
		"a picture":                {unframed("data: {\"type\":\"image_generation.completed\"}\n\n"), "data: {\"type\":\"image_generation.completed\"}\n\n", true},
		"a response that is cut":   {unframed(begun), begun, false},
		"a response":               {unframed(begun + "data: {\"type\": \"response.completed\"}\n\n"), begun + "data: {\"type\": \"response.completed\"}\n\n", true},
		"a response that is short": {unframed(begun + "data: {\"type\":\"response.incomplete\"}\n\n"), begun + "data: {\"type\":\"response.incomplete\"}\n\n", true},
		"HTTP/1.0, cut":            {fake.Behavior{Raw: []byte(header + one)}, one, false},
		"HTTP/1.0":                 {fake.Behavior{Raw: []byte(header + one + last)}, one + last, true},
		"chunks and no end":        {fake.Behavior{Header: http.Header{"Content-Type": {kind}, "Transfer-Encoding": {"chunked"}}, Body: []byte(one)}, one, true},
		"a length and no end":      {framed(one), one, true},
		"packed":                   {fake.Behavior{Header: http.Header{"Content-Type": {kind}, "Content-Encoding": {"br"}}, Body: []byte("\x0b\x02"), CloseDelimited: true}, "\x0b\x02", true},
		"no stream":                {fake.Behavior{Body: []byte(`{"choices":[]}`), CloseDelimited: true}, `{"choices":[]}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			h.a.Reset()
			h.a.Always(c.said)
			got := h.ask(t, "alone")
			require.Equal(t, http.StatusOK, got.status)
			assert.Empty(t, got.header.Values("X-Postern-Framing"))
			ends(t, got.text, c.text, c.whole)
		})
	}
	t.Run("it is the provider's fault", func(t *testing.T) {
		h.a.Reset()
		h.a.Always(unframed(one))
		_, text := h.Request(t.Context(), t, http.MethodPost, "/v1/chat/completions", `{"model":"alone","stream":true,"messages":[]}`, "X-Request-Id", "cut-1")
		require.Contains(t, text, "provider_unreachable")
		require.Eventually(t, func() bool {
			_, said := h.Request(t.Context(), t, http.MethodGet, "/v1/usage/cut-1", "")
			return gjson.Get(said, "blame").String() == "provider"
		}, patience, 10*glance)
	})
	t.Run("byte by byte", func(t *testing.T) {
		for text, whole := range map[string]bool{one: false, one + last: true} {
			h.a.Reset()
			b := unframed(text)
			b.ByteByByte = true
			h.a.Always(b)
			got := h.ask(t, "alone").text
			assert.Equal(t, whole, got == text, got)
		}
	})
	t.Run("over TLS", func(t *testing.T) {
		got := h.ask(t, "secure")
		require.Equal(t, http.StatusOK, got.status, got.text)
		before, after, _ := strings.Cut(got.text, "\n\n")
		assert.Contains(t, before, "one")
		told(t, after)
	})
}

// TestWhereAChunkIsTakenOut the reader of tokens takes the length away, and keeps lines
// until they end: a stream is judged as it came.
func TestWhereAChunkIsTakenOut(t *testing.T) {
	const tokens = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\n"
	for _, reader := range []string{"script", "module"} {
		h := open(t, "", "  exact: {usage: exact, route: [[{provider: a}]]}\n", "--reader", reader)
		for name, c := range map[string]struct {
			said  fake.Behavior
			text  string
			whole bool
		}{
			"cut after an event":     {unframed(one), one, false},
			"cut in an event":        {unframed(one + `data: {"choi`), one + `data: {"choi`, false},
			"cut after the tokens":   {unframed(one + tokens), one, false},
			"whole":                  {unframed(one + last + tokens + "data: [DONE]\n\n"), one + last + "data: [DONE]\n\n", true},
			"whole, and no end":      {unframed(one + last + tokens), one + last, true},
			"a length, and no end":   {framed(one + tokens), one, true},
			"a length in the middle": {framed(one + `data: {"choi`), one + `data: {"choi`, true},
		} {
			t.Run(reader+" "+name, func(t *testing.T) {
				h.a.Reset()
				h.a.Always(c.said)
				got := h.post(t.Context(), `{"model":"exact","stream":true,"messages":[]}`)
				require.NoError(t, got.err)
				ends(t, got.text, c.text, c.whole)
			})
		}
	}
}

// ends demands that a stream says just this, and is then whole, or told to be none.
func ends(t *testing.T, got, text string, whole bool) {
	t.Helper()
	rest, ok := strings.CutPrefix(got, text)
	require.True(t, ok, got)
	if whole {
		assert.Empty(t, rest)
		return
	}
	told(t, rest)
}

// told demands an error event, and that it is the last of all.
func told(t *testing.T, rest string) {
	t.Helper()
	event, found := strings.CutPrefix(rest, "\n\ndata: ")
	require.True(t, found, "it looks whole: %q", rest)
	assert.Equal(t, "provider_unreachable", gjson.Get(event, "error.code").String(), event)
	assert.True(t, strings.HasSuffix(event, "}\n\n"))
	assert.NotContains(t, event, "[DONE]")
}
