package attempts_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
	"github.com/postern-proxy/postern/test/matrix"
)

// kinds are the forms of providers that speak OpenAI's format.
var kinds = map[string]matrix.Kind{
	"plain": {Provider: `schema: openai, url: "{{url}}/v1", key: "${{{ROLE}}_PLAIN}", headers: {x-{{role}}-plain: "yes"}`},
	"azure": {
		Provider: `schema: azure, url: "{{url}}", api_version: 2024-10-21, key: "${{{ROLE}}_AZURE}"`, Target: `, model: {{role}}-deployment`,
		Credential: "api-key", Model: "second-deployment",
		Asked: "/openai/deployments/second-deployment/chat/completions?api-version=2024-10-21",
	},
	"base": {
		Provider: `schema: openai, url: "{{url}}/{{role}}/base", key: "${{{ROLE}}_BASE}", headers: {x-both: "{{role}}"}`,
		Asked:    "/second/base/chat/completions?trace=a%2Fb",
	},
	"keys": {Provider: `schema: openai, url: "{{url}}/v1", keys: [{key: "${{{ROLE}}_KEYS_A}", weight: 3}, {key: "${{{ROLE}}_KEYS_B}"}]`},
	"named": {
		Provider: `schema: openai, url: "{{url}}/v1", key: "${{{ROLE}}_NAMED}"`, Target: `, model: a-much-longer-name-of-the-{{role}}`,
		Model: "a-much-longer-name-of-the-second",
	},
}

// failures are the ways in which the first provider fails. The name is the request's
// field "user", by which the provider knows how to behave.
var failures = map[string]fake.Behavior{
	matrix.Refused: {},
	"503":          fake.Status(http.StatusServiceUnavailable),
	"429":          fake.RateLimited(0),
	"401":          fake.Status(http.StatusUnauthorized),
	"reset":        fake.NoAnswer(fake.Reset),
	"cut":          {Raw: []byte("HTTP/1.1 200 OK\r\nContent-Type: applic")},
	"stall":        fake.NoAnswer(fake.Stall),
}

// world is the gate of the whole matrix and its providers.
type world struct {
	matrix.Matrix
	gate          *gate.Gate
	first, second *fake.Server
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{first: fake.Start(t), second: fake.Start(t)}
	for name, behavior := range failures {
		w.first.ForUser(name, behavior)
	}
	w.Matrix = matrix.Matrix{
		Kinds: kinds, Failures: slices.Sorted(maps.Keys(failures)), FirstByte: "2s", Dead: "http://" + gate.FreeAddress(t),
		URL: func(role, _ string) string {
			return map[string]*fake.Server{"first": w.first, "second": w.second}[role].URL()
		},
	}
	w.gate = gate.Start(t, gate.Settings{
		Config: "listen: {address: \"{{address}}\"}\nhealth: {probe: off, breakers: off}\n" + w.Config(),
		Env:    matrix.Secrets("PLAIN", "AZURE", "BASE", "KEYS_A", "KEYS_B", "NAMED"),
	})
	return w
}

// TestAnAttemptIsLikeAFreshRequest sends requests whose first provider fails, and holds
// what the second was sent against what it is sent when it is asked alone.
func TestAnAttemptIsLikeAFreshRequest(t *testing.T) {
	w := start(t)
	matrix.Each(t, w.Pairs(), func(t *testing.T, p matrix.Pair) {
		c := matrix.NewCaller(t, w.gate)
		cold := w.attempt(t, c, p, "cold", 1)
		warm := w.attempt(t, c, p, "warm", 60_000)
		if p.Second != "keys" { // each key has connections of its own
			assert.Equal(t, cold.Remote, warm.Remote, "the second request came over a new connection")
		}
	})
}

// attempt sends one request by way of the first provider and one past it, and compares.
func (w *world) attempt(t *testing.T, c *matrix.Caller, p matrix.Pair, id string, size int) fake.Request {
	t.Helper()
	id = p.String() + "-" + id
	ask := func(way string) fake.Request {
		response, text := c.Post(t, matrix.Path, id+way, fmt.Sprintf(
			`{"model":%q, "user":%q, "n":12345678901234567890,"messages":[{"role":"user","content":"%s"}]}`,
			way+"-"+p.String(), p.Failure, strings.Repeat("x", size)))
		require.Equal(t, http.StatusOK, response.StatusCode, text)
		assert.Equal(t, []string{"second-" + p.String()}, response.Header["X-Postern-Provider"])
		all := matrix.With(w.second.Requests(), id+way)
		require.Len(t, all, 1)
		return all[0]
	}
	got := ask("both")
	tries := 1
	if p.First == "keys" {
		tries = 2
	}
	if p.Failure == matrix.Refused {
		tries = 0
	}
	assert.Len(t, matrix.With(w.first.Requests(), id+"both"), tries, "attempts at the first provider")
	fresh := ask("only")
	assert.Equal(t, plainly(fresh), plainly(got))
	w.itsOwnOnly(t, p, got)
	return got
}

// plainly is all of a request but what must differ: which way was asked for, and which of
// several keys was drawn.
func plainly(r fake.Request) string {
	return strings.NewReplacer("only", "both", "secret-of-second-keys_a", "a key", "secret-of-second-keys_b", "a key").
		Replace(matrix.Plainly(r, matrix.Lines(r)))
}

// itsOwnOnly holds a request against all that is nobody's business there.
func (w *world) itsOwnOnly(t *testing.T, p matrix.Pair, r fake.Request) {
	t.Helper()
	names := w.ItsOwnOnly(t, p, r, []string{"x-amz-"}, []string{w.gate.Key, w.gate.Address, w.first.Address()})
	w.AsItsKind(t, p, r, names)
	assert.Equal(t, w.second.Address(), r.Host)
	assert.Equal(t, "12345678901234567890", r.JSON("n").Raw)
}
