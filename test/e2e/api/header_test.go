package api_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

// mine are headers that a client sends and no provider may get.
var mine = []string{
	"X-Postern-Model: demo", "X-Postern-Tenant: evil", "X-Postern-User: evil", "X-Postern-Tier: gold", "X-Postern-Key: key_evil",
	"x-postern-anything: evil", "X-POSTERN-LANE: understand", "X-Postern-Provider: second",
	"X-Envoy-Upstream-Rq-Timeout-Ms: 1", "X-Envoy-Max-Retries: 9", "X-Envoy-Retry-On: 5xx", "X-Envoy-Original-Path: /evil",
	"X-Envoy-Decorator-Operation: evil", "X-Envoy-Force-Trace: 1", "X-Envoy-Upstream-Alt-Stat-Name: evil", "X-Envoy-Internal: true",
	"X-Envoy-Attempt-Count: 7", "X-Envoy-Expected-Rq-Timeout-Ms: 1", "X-Envoy-Original-Host: evil", "X-Envoy-Ip-Tags: evil",
	"X-Forwarded-For: 10.1.2.3", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example", "X-Forwarded-Port: 1",
	"X-Forwarded-Client-Cert: evil", "Forwarded: for=10.1.2.3", "Via: 1.1 evil",
	"Cookie: session=secret", "Api-Key: secret", "X-Api-Key: secret", "Proxy-Authorization: Basic c2VjcmV0",
	"OpenAI-Organization: org-evil", "OpenAI-Project: proj-evil", "Accept-Encoding: gzip, br",
}

// theirs are headers that a client sends and the provider is to get as they are.
var theirs = []string{
	"User-Agent: app/1.0 (test)", "Accept: text/event-stream", "OpenAI-Beta: assistants=v2",
	"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "X-Stainless-Lang: go", "X-Custom: a, b", "Idempotency-Key: 7",
	"Accept-Language: de",
}

// TestWhatTheProviderSees: its own credential and Host, what the application wanted
// it to know, and nothing else of the client, the gate or another provider.
func TestWhatTheProviderSees(t *testing.T) {
	h := shared(t)
	for name, r := range map[string]request{
		"native":      {body: chatBody("main", "")},
		"found":       {body: chatBody("main", ""), frame: chunked},
		"large":       {body: bigBody("main", 100_000)},
		"other paths": {target: "/v1/images/generations", body: `{"prompt":"x"}`},
		"a get":       {method: http.MethodGet, target: "/v1/files?limit=5", frame: bare},
	} {
		t.Run(name, func(t *testing.T) {
			h.main.Reset()
			r.headers = append(append([]string{"Connection: keep-alive, x-custom-hop", "X-Request-Id: my-own-id-1"}, mine...), theirs...)
			a := speak(t, h.Address, r.method, row{request: r}.on(h, native).request)
			require.Equal(t, http.StatusOK, a.status, a.body)
			seen := h.main.Last()
			knowsNothing(t, h, seen)
			assert.Equal(t, []string{"Bearer " + providerKey("main")}, seen.Header["Authorization"])
			assert.Equal(t, h.main.Address(), seen.Host)
			assert.Equal(t, "my-own-id-1", seen.Header.Get("X-Request-ID"))
			for _, line := range theirs {
				header, value, _ := strings.Cut(line, ": ")
				assert.Equal(t, []string{value}, seen.Values(header), header)
			}
			assert.Empty(t, seen.Header.Values("X-First"), "another provider's header")
			if strings.HasPrefix(r.body, `{"model"`) {
				assert.Empty(t, seen.Header.Values("Accept-Encoding"), "a packed answer would hide its tokens")
			}
		})
	}
}

// knowsNothing holds what a provider got against all that is not its business.
func knowsNothing(t *testing.T, h *house, seen fake.Request) {
	t.Helper()
	all := fmt.Sprint(seen.Header, seen.Target, seen.Host)
	for _, secret := range []string{h.Key, "evil", "secret", "acme", "default", "key_", "127.0.0.1:" + strings.Split(h.Address, ":")[1]} {
		assert.NotContains(t, all, secret)
	}
	for name := range seen.Header {
		name = strings.ToLower(name)
		for _, family := range []string{"x-postern-", "x-envoy-", "x-forwarded-", "cookie", "via", "forwarded", "openai-organization", "openai-project"} {
			assert.False(t, strings.HasPrefix(name, family), name)
		}
	}
}

// TestForgedHeadersChangeNothing: neither the model, nor whose request it is, nor its
// limit, nor where it goes.
func TestForgedHeadersChangeNothing(t *testing.T) {
	h := shared(t)
	send := func(body string, more ...string) answer {
		return speak(t, h.Address, http.MethodPost, row{request: request{body: body, headers: more}}.on(h, native).request)
	}
	a := send(chatBody("main", ""), "X-Postern-Model: demo")
	require.Equal(t, http.StatusOK, a.status)
	assert.Equal(t, []string{"main"}, a.header["X-Postern-Provider"])
	a = send(chatBody("no-such-model", ""), "X-Postern-Model: main")
	assert.Equal(t, http.StatusNotFound, a.status)
	a = send(`{"messages":[]}`, "X-Postern-Model: main")
	assert.Equal(t, http.StatusBadRequest, a.status)
	a = send("not JSON", "X-Postern-Model: main", "x-postern-model: demo")
	assert.Equal(t, http.StatusBadRequest, a.status)
	for _, forged := range []string{"X-Postern-Tier: five", "X-Postern-Tier: no-such-tier", "X-Postern-Key: key_of_another"} {
		a = send(chatBody("main", ""), forged)
		require.Equal(t, http.StatusOK, a.status)
		assert.Empty(t, a.header["X-Ratelimit-Limit-Requests"])
	}
	key := "Bearer " + h.key(t, "six", time.Now())
	for i := range 7 {
		limited := row{key: &key, request: request{body: chatBody("main", ""), headers: []string{
			fmt.Sprintf("X-Postern-Key: key_%d", i), "X-Postern-Tier: default", "X-Forwarded-For: 10.0.0.1",
		}}}
		a = speak(t, h.Address, http.MethodPost, limited.on(h, native).request)
		assert.Equal(t, map[bool]int{true: 200, false: 429}[i < 6], a.status)
	}
	before := h.main.Counts().Requests
	a = send(`{"model":"main","user":"fake:500","messages":[]}`, "X-Envoy-Retry-On: 5xx", "X-Envoy-Max-Retries: 5")
	assert.Equal(t, http.StatusInternalServerError, a.status)
	assert.Equal(t, before+1, h.main.Counts().Requests, "a client does not order attempts")
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func TestRequestIDs(t *testing.T) {
	h := shared(t)
	for name, r := range map[string]row{
		"answered": {request: request{body: chatBody("main", "")}},
		"refused":  {request: request{body: `{}`}},
		"limited":  {key: new(string), request: request{body: chatBody("main", "")}},
	} {
		t.Run(name, func(t *testing.T) {
			a := speak(t, h.Address, http.MethodPost, r.on(h, native).request)
			require.Len(t, a.header["X-Request-Id"], 1)
			made := a.header.Get("X-Request-ID")
			assert.Regexp(t, uuid, made)
			if name == "answered" {
				assert.Equal(t, made, h.main.Last().Header.Get("X-Request-ID"))
			}
			r.headers = []string{"X-Request-Id: order-4711/b"}
			a = speak(t, h.Address, http.MethodPost, r.on(h, native).request)
			assert.Equal(t, []string{"order-4711/b"}, a.header["X-Request-Id"])
		})
	}
}

// TestWhatTheClientSees of a provider's headers: what describes the answer, and
// nothing of the account that pays for it.
func TestWhatTheClientSees(t *testing.T) {
	h := shared(t)
	h.main.Always(fake.Behavior{Header: http.Header{
		"Set-Cookie": {"__cf_bm=secret"}, "X-Ratelimit-Remaining-Requests": {"1"}, "X-Ratelimit-Limit-Tokens": {"9"},
		"Openai-Organization": {"our-secret-org"}, "Openai-Project": {"our-secret-project"}, "X-Postern-Tenant": {"secret"},
		"X-Envoy-Upstream-Service-Time": {"7"}, "X-Envoy-Overloaded": {"true"}, "Server": {"provider"},
		"Openai-Processing-Ms": {"42"}, "X-Custom": {"kept"}, "Retry-After": {"7"},
	}})
	a := speak(t, h.Address, http.MethodPost, row{request: request{body: chatBody("main", "")}}.on(h, native).request)
	require.Equal(t, http.StatusOK, a.status)
	assert.NotContains(t, fmt.Sprint(a.header), "secret")
	for name := range a.header {
		assert.False(t, strings.HasPrefix(name, "X-Envoy-"), name)
		assert.False(t, strings.HasPrefix(name, "X-Ratelimit-"), name)
	}
	assert.Equal(t, "42", a.header.Get("Openai-Processing-Ms"))
	assert.Equal(t, "kept", a.header.Get("X-Custom"))
	assert.Equal(t, "7", a.header.Get("Retry-After"))
	assert.Equal(t, "postern", a.header.Get("Server"))
	assert.Equal(t, []string{"main"}, a.header["X-Postern-Provider"])
	assert.Equal(t, fmt.Sprintf("req_fake_%d", h.main.Last().Number), a.header.Get("X-Postern-Provider-Request-Id"))
	assert.Regexp(t, uuid, a.header.Get("X-Request-ID"))
	assert.NotEmpty(t, a.header.Get("X-Postern-Config"))
}
