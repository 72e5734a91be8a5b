package failover_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

// TestHeadersOfAnswers: who answered, to which name, at which attempt.
func TestHeadersOfAnswers(t *testing.T) {
	h := open(t, "", `
  plain: {route: [[{provider: a}]]}
  named: {route: [[{provider: a, model: gpt-x}]]}
  both: {route: [[{provider: a}], [{provider: b, model: "50%-b"}]]}
  "open-*": {route: [[{provider: a}], [{provider: b}]]}
  "cut/*": {route: [[{provider: a, model: "*"}]]}
  "put/*": {route: [[{provider: a, model: "a-*"}], [{provider: b, model: "b.*\\1"}], [{provider: c, model: c}]]}
`)
	servers := map[string]*fake.Server{"a": h.a, "b": h.b, "c": h.c}
	for _, c := range []struct{ model, failing, provider, name string }{
		{"plain", "", "a", "plain"},
		{"named", "", "a", "gpt-x"},
		{"both", "", "a", "both"},
		{"both", "a", "b", "50%-b"},
		{"open-1", "", "a", "open-1"},
		{"open-1", "a", "b", "open-1"},
		{"cut/m", "", "a", "m"},
		{"put/m", "", "a", "a-m"},
		{"put/m", "a", "b", `b.m\1`},
		{"put/m", "ab", "c", "c"},
	} {
		t.Run(c.model+" "+c.provider, func(t *testing.T) {
			for _, s := range servers {
				s.Reset()
			}
			for _, name := range c.failing {
				b := fake.Status(503)
				b.Header = http.Header{"X-Postern-Model": {"forged"}, "X-Postern-Attempts": {"9"}, "X-Should-Retry": {"true"}}
				servers[string(name)].Always(b)
			}
			got := h.ask(t, c.model)
			assert.Equal(t, http.StatusOK, got.status, got.text)
			assert.Equal(t, []string{c.provider}, got.header["X-Postern-Provider"])
			assert.Equal(t, []string{c.name}, got.header["X-Postern-Model"])
			assert.Equal(t, c.name, servers[c.provider].Last().JSON("model").String(), "as it was asked")
			assert.Equal(t, []string{fmt.Sprint(len(c.failing) + 1)}, got.header["X-Postern-Attempts"])
			assert.Len(t, got.header["X-Postern-Config"], 1)
			assert.Empty(t, got.header["X-Should-Retry"])
			assert.Empty(t, got.header["X-Postern-Wait"])
		})
	}
}

// TestShouldRetry: a client is told not to ask again where all were asked already,
// except a busy one.
func TestShouldRetry(t *testing.T) {
	h := open(t, `  x: {schema: openai, url: "http://127.0.0.1:1/v1"}`, inTurn+`
  gone: {route: [[{provider: x}], [{provider: x, model: other}]]}
`)
	h.a.Always(fake.Status(503))
	for status, want := range map[int][]string{
		400: {"false"}, 401: {"false"}, 429: {"true"}, 500: {"false"}, 503: {"false"},
	} {
		h.b.Always(fake.Status(status))
		got := h.ask(t, "pair")
		if status == http.StatusUnauthorized { // of the gate's own key
			status = http.StatusBadGateway
		}
		assert.Equal(t, status, got.status)
		assert.Equal(t, want, got.header["X-Should-Retry"], status)
	}
	h.b.Always(busy(503, "7"))
	assert.Equal(t, []string{"true"}, h.ask(t, "pair").header["X-Should-Retry"])
	got := h.ask(t, "gone")
	assert.Equal(t, http.StatusBadGateway, got.status)
	assert.Equal(t, []string{"false"}, got.header["X-Should-Retry"])
	assert.Equal(t, []string{"2"}, got.header["X-Postern-Attempts"])
	got = h.ask(t, "alone")
	assert.Equal(t, http.StatusServiceUnavailable, got.status)
	assert.Empty(t, got.header["X-Should-Retry"], "asked once: the client's own rules")
	h.b.Always(fake.Behavior{})
	assert.Empty(t, h.ask(t, "pair").header["X-Should-Retry"])
}

// TestRedirects are followed by nobody.
func TestRedirects(t *testing.T) {
	h := open(t, "", inTurn)
	h.a.Always(fake.Redirect(h.c.URL() + "/v1/chat/completions"))
	assert.Equal(t, "b", h.ask(t, "pair").provider)
	got := h.ask(t, "alone")
	assert.Equal(t, http.StatusTemporaryRedirect, got.status)
	assert.Empty(t, got.header["Location"])
	assert.Zero(t, h.c.Counts().Requests)
}

// TestWhoWasAskedIsKnown afterwards, of each attempt: also of one that met nobody, because
// its provider is left alone.
func TestWhoWasAskedIsKnown(t *testing.T) {
	t.Parallel()
	h := open(t, "", inTurn)
	told := func(id string) (whom []string) {
		require.Equal(t, http.StatusOK, h.ask(t, "pair", "X-Request-Id", id).status)
		require.Eventually(t, func() bool {
			response, text := h.Request(t.Context(), t, http.MethodGet, "/v1/usage/"+id, "")
			if response.StatusCode != http.StatusOK {
				return false
			}
			whom = nil
			for _, one := range gjson.Get(text, "attempts.#.provider").Array() {
				whom = append(whom, one.String())
			}
			return true
		}, patience, 50*time.Millisecond)
		return whom
	}
	assert.Equal(t, []string{"a"}, told("at-once"))
	h.a.Always(fake.Status(503))
	assert.Equal(t, []string{"a", "b"}, told("second"))
	require.Eventually(t, func() bool { h.ask(t, "pair"); return h.stat(t, ejections) == 1 }, patience, glance)
	h.a.Reset()
	assert.Equal(t, []string{"a", "b"}, told("left-alone"))
	assert.Zero(t, h.a.Counts().Requests)
}
