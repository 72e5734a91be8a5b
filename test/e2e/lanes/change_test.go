package lanes_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

func TestWhatALaneChanges(t *testing.T) {
	one, two := fake.Start(t), fake.Start(t)
	g := gate.Start(t, gate.Settings{Env: keys, Config: document(one, two, `
  kind: {route: [[{provider: one}]], system: "Be \"kind\"."}
  alias: {route: [[{provider: one, model: gpt-real}]]}
  "one/*": {route: [[{provider: one, model: "*"}]]}
  both: {route: [[{provider: one, model: gpt-real}]], system: Brief., validate: strict}
`)})
	for name, c := range map[string]struct{ body, want string }{
		"nothing": {chat("plain"), chat("plain")},
		"system text": {chat("kind"), strings.Replace(chat("kind"), `"messages":[`,
			`"messages":[{"role":"system","content":"Be \"kind\"."},`, 1)},
		"an alias":       {chat("alias"), strings.Replace(chat("alias"), `"alias"`, `"gpt-real"`, 1)},
		"a prefix":       {chat("one/gpt-4o"), strings.Replace(chat("one/gpt-4o"), `"one/gpt-4o"`, `"gpt-4o"`, 1)},
		"everything":     {chat("both"), strings.Replace(strings.Replace(chat("both"), `"both"`, `"gpt-real"`, 1), `"messages":[`, `"messages":[{"role":"system","content":"Brief."},`, 1)},
		"nothing, large": {large("plain", 100_000), large("plain", 100_000)},
		"an alias, large": {large("alias", 5_000_000),
			strings.Replace(large("alias", 5_000_000), `"alias"`, `"gpt-real"`, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			response, text := g.Request(t.Context(), t, http.MethodPost, "/v1/chat/completions", c.body)
			require.Equal(t, http.StatusOK, response.StatusCode, text)
			last := one.Last()
			require.True(t, string(last.Body) == c.want, "the provider got another body (%d bytes, wanted %d)", len(last.Body), len(c.want))
			assert.Equal(t, strconv.Itoa(len(c.want)), last.Header.Get("Content-Length"))
		})
	}
}

// The body of each attempt starts from the client's; what an attempt before it left
// in the headers must not cut or stretch it.
func TestEachAttemptHasItsOwnNameAndLength(t *testing.T) {
	one, two := fake.Start(t), fake.Start(t)
	g := gate.Start(t, gate.Settings{Env: keys, Config: document(one, two, `
  long-short: {route: [[{provider: one, model: a-very-much-longer-name-than-the-clients}], [{provider: two, model: b}]]}
  long-plain: {route: [[{provider: one, model: a-very-much-longer-name-than-the-clients}], [{provider: two}]]}
  short-plain: {route: [[{provider: one, model: c}], [{provider: two}]]}
  plain-long: {route: [[{provider: one}], [{provider: two, model: a-very-much-longer-name-than-the-clients}]]}
  "any/*": {route: [[{provider: one, model: "first/*"}], [{provider: two, model: "*"}]]}
`)})
	for model, names := range map[string][2]string{
		"long-short":  {"a-very-much-longer-name-than-the-clients", "b"},
		"long-plain":  {"a-very-much-longer-name-than-the-clients", "long-plain"},
		"short-plain": {"c", "short-plain"},
		"plain-long":  {"plain-long", "a-very-much-longer-name-than-the-clients"},
		"any/thing":   {"first/thing", "thing"},
	} {
		for _, size := range []int{1, 40_000} {
			t.Run(model+" "+strconv.Itoa(size), func(t *testing.T) {
				one.Reset()
				two.Reset()
				one.Next(1, fake.Status(http.StatusInternalServerError))
				response, text := g.Request(t.Context(), t, http.MethodPost, "/v1/chat/completions", large(model, size))
				require.Equal(t, http.StatusOK, response.StatusCode, text)
				require.Equal(t, "two", response.Header.Get("X-Postern-Provider"))
				for i, s := range []*fake.Server{one, two} {
					last := s.Last()
					want := large(names[i], size)
					require.True(t, string(last.Body) == want, "attempt %d got %.80q", i+1, last.Body)
					assert.Equal(t, strconv.Itoa(len(want)), last.Header.Get("Content-Length"))
					assert.Equal(t, "Bearer sk-"+[]string{"one", "two"}[i], last.Header.Get("Authorization"))
				}
			})
		}
	}
}

func TestAttemptsOfDifferentNamesSurviveBodiesOfUnknownLength(t *testing.T) {
	one, two := fake.Start(t), fake.Start(t)
	g := gate.Start(t, gate.Settings{Env: keys, Config: document(one, two, `
  mixed: {route: [[{provider: one, model: a-very-much-longer-name-than-the-clients}], [{provider: two}]]}
`)})
	one.Next(1, fake.Status(http.StatusInternalServerError))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/v1/chat/completions",
		struct{ *strings.Reader }{strings.NewReader(chat("mixed"))}) // no length: chunked
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+g.Key)
	request.Header.Set("Content-Type", "application/json")
	response, err := gate.Client().Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	last := two.Last()
	require.Equal(t, chat("mixed"), string(last.Body))
}
