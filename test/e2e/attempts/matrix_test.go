package attempts_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

// kinds are the forms that a provider has: what its entry says, and what its target
// does. {{url}} is where it listens, {{ROLE}} is FIRST or SECOND.
var kinds = map[string]struct{ provider, target string }{
	"plain": {`schema: openai, url: "{{url}}/v1", key: "${{{ROLE}}_PLAIN}", headers: {x-{{role}}-plain: "yes"}`, ""},
	"azure": {`schema: azure, url: "{{url}}", api_version: 2024-10-21, key: "${{{ROLE}}_AZURE}"`, `, model: {{role}}-deployment`},
	"base":  {`schema: openai, url: "{{url}}/{{role}}/base", key: "${{{ROLE}}_BASE}", headers: {x-both: "{{role}}"}`, ""},
	"keys":  {`schema: openai, url: "{{url}}/v1", keys: [{key: "${{{ROLE}}_KEYS_A}", weight: 3}, {key: "${{{ROLE}}_KEYS_B}"}]`, ""},
	"named": {`schema: openai, url: "{{url}}/v1", key: "${{{ROLE}}_NAMED}"`, `, model: a-much-longer-name-of-the-{{role}}`},
}

// credentials are the variables of those.
func credentials() []string {
	var all []string
	for _, role := range []string{"FIRST", "SECOND"} {
		for _, kind := range []string{"PLAIN", "AZURE", "BASE", "KEYS_A", "KEYS_B", "NAMED"} {
			all = append(all, role+"_"+kind+"=secret-of-"+strings.ToLower(role+"-"+kind))
		}
	}
	return all
}

// failures are the ways in which the first provider fails. The name is the request's
// field "user", by which the provider knows how to behave.
var failures = map[string]fake.Behavior{
	"refused": {}, // by an address on which nobody listens
	"503":     fake.Status(http.StatusServiceUnavailable),
	"429":     fake.RateLimited(0),
	"401":     fake.Status(http.StatusUnauthorized),
	"reset":   fake.NoAnswer(fake.Reset),
	"cut":     {Raw: []byte("HTTP/1.1 200 OK\r\nContent-Type: applic")},
	"stall":   fake.NoAnswer(fake.Stall),
}

// atOnce is how many pairs are tried at a time. Most of them wait for a timeout: more
// than the machine has processors, unlike parallel tests.
const atOnce = 24

// pair is one cell of the matrix. Its two providers are nobody else's, so that their
// clusters have no connection before the first request.
type pair struct{ first, second, failure string }

func (p pair) String() string { return p.first + "-" + p.second + "-" + p.failure }

func pairs() []pair {
	var all []pair
	for first := range kinds {
		for second := range kinds {
			for failure := range failures {
				all = append(all, pair{first, second, failure})
			}
		}
	}
	return all
}

// world is the gate of the whole matrix and its providers.
type world struct {
	gate          *gate.Gate
	first, second *fake.Server
	dead          string // URL
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{first: fake.Start(t), second: fake.Start(t), dead: "http://" + gate.FreeAddress(t)}
	for name, behavior := range failures {
		w.first.ForUser(name, behavior)
	}
	var providers, models strings.Builder
	for _, p := range pairs() {
		at := w.first.URL()
		if p.failure == "refused" {
			at = w.dead
		}
		target := func(role, kind, url string) string {
			fill := strings.NewReplacer("{{url}}", url, "{{role}}", role, "{{ROLE}}", strings.ToUpper(role))
			fmt.Fprintf(&providers, "  %s-%s: {%s}\n", role, p, fill.Replace(kinds[kind].provider))
			return fmt.Sprintf("[{provider: %s-%s%s}]", role, p, fill.Replace(kinds[kind].target))
		}
		one, two := target("first", p.first, at), target("second", p.second, w.second.URL())
		fmt.Fprintf(&models, "  both-%s: {route: [%s, %s], timeouts: {first_byte: 2s}}\n", p, one, two)
		fmt.Fprintf(&models, "  only-%s: {route: [%s], timeouts: {first_byte: 2s}}\n", p, two)
	}
	w.gate = gate.Start(t, gate.Settings{
		Config: "listen: {address: \"{{address}}\"}\nhealth: {probe: off, breakers: off}\nproviders:\n" + providers.String() + "models:\n" + models.String(),
		Env:    credentials(),
	})
	return w
}

// TestAnAttemptIsLikeAFreshRequest sends requests whose first provider fails, and holds
// what the second was sent against what it is sent when it is asked alone.
func TestAnAttemptIsLikeAFreshRequest(t *testing.T) {
	w := start(t)
	var all sync.WaitGroup
	waiting := make(chan struct{}, atOnce)
	for _, p := range pairs() {
		waiting <- struct{}{}
		all.Go(func() {
			defer func() { <-waiting }()
			t.Run(p.String(), func(t *testing.T) {
				c := newCaller(t, w.gate)
				cold := w.attempt(t, c, p, "cold", 1)
				warm := w.attempt(t, c, p, "warm", 60_000)
				if p.second != "keys" { // each key has connections of its own
					assert.Equal(t, cold.Remote, warm.Remote, "the second request came over a new connection")
				}
			})
		})
	}
	all.Wait()
}

// attempt sends one request by way of the first provider and one past it, and compares.
func (w *world) attempt(t *testing.T, c *caller, p pair, id string, size int) fake.Request {
	t.Helper()
	const path = "/v1/chat/completions?trace=a%2Fb"
	id = p.String() + "-" + id
	ask := func(way string) fake.Request {
		response, text := c.post(t, path, id+way, fmt.Sprintf(
			`{"model":%q, "user":%q, "n":12345678901234567890,"messages":[{"role":"user","content":"%s"}]}`,
			way+"-"+p.String(), p.failure, strings.Repeat("x", size)))
		require.Equal(t, http.StatusOK, response.StatusCode, text)
		assert.Equal(t, []string{"second-" + p.String()}, response.Header["X-Postern-Provider"])
		return one(t, w.second, id+way)
	}
	got := ask("both")
	tries := 1
	if p.first == "keys" {
		tries = 2
	}
	if p.failure == "refused" {
		tries = 0
	}
	assert.Len(t, with(w.first, id+"both"), tries, "attempts at the first provider")
	fresh := ask("only")
	assert.Equal(t, plainly(fresh), plainly(got))
	w.itsOwnOnly(t, p, got)
	return got
}

// with are the requests of an id that a provider was sent.
func with(s *fake.Server, id string) []fake.Request {
	return slices.DeleteFunc(s.Requests(), func(r fake.Request) bool { return r.Header.Get("X-Request-ID") != id })
}

func one(t *testing.T, s *fake.Server, id string) fake.Request {
	t.Helper()
	all := with(s, id)
	require.Len(t, all, 1)
	return all[0]
}

// plainly is all of a request, in a form in which two of one kind are equal: the header
// lines in order, and without what must differ: which way was asked for, and which of
// several keys was drawn.
func plainly(r fake.Request) string {
	var lines []string
	for _, line := range r.Lines {
		lines = append(lines, strings.ToLower(line.Name)+": "+line.Value)
	}
	slices.Sort(lines)
	text := fmt.Sprintf("%s %s %s\n%s\n\n%s", r.Method, r.Target, r.Proto, strings.Join(lines, "\n"), r.Body)
	return strings.NewReplacer("only", "both", "secret-of-second-keys_a", "a key", "secret-of-second-keys_b", "a key").Replace(text)
}

// itsOwnOnly holds a request against all that is nobody's business there.
func (w *world) itsOwnOnly(t *testing.T, p pair, r fake.Request) {
	t.Helper()
	credential := map[string]string{"azure": "Api-Key"}[p.second]
	if credential == "" {
		credential = "Authorization"
	}
	names := map[string]string{}
	for _, line := range r.Lines {
		name := strings.ToLower(line.Name)
		_, twice := names[name]
		assert.False(t, twice, "%s came twice", name)
		names[name] = line.Value
		for _, family := range []string{"x-postern-", "x-envoy-", "x-forwarded-", "x-amz-", "x-first-"} {
			assert.False(t, strings.HasPrefix(name, family), "%s: %s", line.Name, line.Value)
		}
		for _, word := range []string{"first", w.gate.Key, w.gate.Address, w.first.Address(), strings.TrimPrefix(w.dead, "http://"), "develop", "key_", "mine", "forged", "203.0.113.9"} {
			value := strings.ReplaceAll(line.Value, p.String(), "") // its id is the test's own
			assert.NotContains(t, value, word, line.Name)
		}
		if strings.Contains(line.Value, "secret-of-") {
			assert.Equal(t, strings.ToLower(credential), name)
			assert.Contains(t, line.Value, "secret-of-second-"+p.second)
		}
	}
	assert.NotEmpty(t, names[strings.ToLower(credential)], "its own credential")
	assert.Equal(t, w.second.Address(), r.Host)
	assert.Equal(t, fmt.Sprint(len(r.Body)), names["content-length"])
	assert.Equal(t, "application/json", names["content-type"])
	assert.Equal(t, "kept", names["x-own"])
	target := map[string]string{
		"azure": "/openai/deployments/second-deployment/chat/completions?api-version=2024-10-21",
		"base":  "/second/base/chat/completions?trace=a%2Fb",
	}[p.second]
	if target == "" {
		target = "/v1/chat/completions?trace=a%2Fb"
	}
	assert.Equal(t, target, r.Target)
	model := map[string]string{"azure": "second-deployment", "named": "a-much-longer-name-of-the-second"}[p.second]
	if model == "" {
		model = "both-" + p.String()
	}
	assert.Equal(t, model, r.JSON("model").String())
	assert.Equal(t, "12345678901234567890", r.JSON("n").Raw)
}
