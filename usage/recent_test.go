package usage

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/wire"
)

func ask(t *testing.T, s *Recent, method, path string, keys ...string) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for _, key := range keys {
		r.Header.Add(wire.HeaderKey, key)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	assert.Equal(t, "application/json", w.Header().Get("Content-Type"))
	assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	var body map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body), w.Body.String())
	return w.Code, body
}

func TestAKeySeesItsOwnRequest(t *testing.T) {
	s := NewRecent(RecentSettings{})
	r := finished(t, requestEntry(t, "id/1"))
	r.Attempts = []Attempt{{Provider: "openai", Model: "gpt-4o-mini", Status: 200, Details: "/run/secret.sock"}}
	s.Consume(r)
	status, body := ask(t, s, "GET", "/v1/usage/id%2F1", "k1")
	require.Equal(t, 200, status)
	assert.Equal(t, map[string]any{
		"object": "usage.request", "id": "id/1", "time": "2026-08-21T12:00:00Z", "endpoint": "chat",
		"model": "gpt-4o-mini", "provider": "openai", "provider_model": "gpt-4o-mini",
		"status": 200., "blame": "none", "aborted": false, "first_byte_seconds": 0.3, "duration_seconds": 1.2,
		"bytes_in": 4000., "bytes_out": 800., "cost_usd": "0.00018", "cost_estimated": false, "config": "abcdef012345",
		"tokens":   map[string]any{"input": 1000., "output": 100., "cached": 400., "written": nil, "reasoning": 0., "estimated": false},
		"attempts": []any{map[string]any{"provider": "openai", "model": "gpt-4o-mini", "status": 200., "duration_seconds": 0., "logged": true}},
	}, body)
}

func TestWhatIsNotKnownIsNull(t *testing.T) {
	s := NewRecent(RecentSettings{})
	s.Consume(finished(t, requestEntry(t, "a", at("provider/nobody"), usageIs(t, map[string]any{"input": 3}))))
	_, body := ask(t, s, "GET", "/v1/usage/a", "k1")
	assert.Nil(t, body["cost_usd"])
	assert.Contains(t, body, "cost_usd")
	assert.Equal(t, map[string]any{"input": 3., "output": 200., "cached": nil, "written": nil, "reasoning": nil, "estimated": true}, body["tokens"])
}

func TestNobodySeesAnothersRequest(t *testing.T) {
	s := NewRecent(RecentSettings{})
	mine, theirs := finished(t, requestEntry(t, "same")), finished(t, requestEntry(t, "same"))
	theirs.Key, theirs.Asked = "k2", "theirs"
	s.Consume(mine)
	s.Consume(theirs)
	nobodys := finished(t, requestEntry(t, "same"))
	nobodys.Key = ""
	s.Consume(nobodys)
	_, body := ask(t, s, "GET", "/v1/usage/same", "k1")
	assert.Equal(t, "gpt-4o-mini", body["model"], "their request with my id does not hide mine")
	_, body = ask(t, s, "GET", "/v1/usage/same", "k2")
	assert.Equal(t, "theirs", body["model"])
	for _, keys := range [][]string{{"k3"}, {"K1"}, {"k1 "}} {
		status, body := ask(t, s, "GET", "/v1/usage/same", keys...)
		assert.Equal(t, http.StatusNotFound, status)
		assert.Contains(t, body, "error")
		_, body = ask(t, s, "GET", "/v1/usage", keys...)
		assert.Zero(t, body["requests"])
		assert.Nil(t, body["since"])
	}
	for _, keys := range [][]string{nil, {""}, {"k1", "k2"}} {
		status, _ := ask(t, s, "GET", "/v1/usage/same", keys...)
		assert.Equal(t, http.StatusUnauthorized, status)
	}
}

func TestSumsOfAKey(t *testing.T) {
	s := NewRecent(RecentSettings{Keys: 2})
	s.Consume(finished(t, requestEntry(t, "a")))
	s.Consume(finished(t, requestEntry(t, "b", noUsage)))
	s.Consume(finished(t, requestEntry(t, "c", at("provider/nobody"))))
	s.Consume(finished(t, requestEntry(t, "d", refusedAtTheDoor(429, "local_rate_limited"))))
	s.Consume(&Request{ID: "e", Key: "k1", Endpoint: Other, Status: 200, Blame: Nobody}) // this very question
	status, body := ask(t, s, "GET", "/v1/usage", "k1")
	require.Equal(t, 200, status)
	assert.Equal(t, map[string]any{
		"object": "usage", "since": "2026-08-21T12:00:00Z", "requests": 4., "errors": 1.,
		"tokens":                 map[string]any{"input": 2000., "output": 200., "cached": 800., "written": 0., "reasoning": 0.},
		"estimated_tokens":       map[string]any{"input": 1000., "output": 200., "cached": 0., "written": 0., "reasoning": 0.},
		"unknown_token_requests": 0., "cost_usd": "0.00045", "estimated_cost_usd": "0.00027", "unknown_cost_requests": 1.,
	}, body)
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	s := NewRecent(RecentSettings{Requests: 10, Keys: 2})
	for i := range 1000 {
		r := finished(t, requestEntry(t, "id"+strconv.Itoa(i%15)))
		r.Key = "k" + strconv.Itoa(i%3)
		s.Consume(r)
		require.LessOrEqual(t, len(s.byName), 10)
		require.LessOrEqual(t, len(s.sums.byKey), 2)
	}
	_, ok := s.Request("k0", "id"+strconv.Itoa(999%15))
	assert.True(t, ok, "the last is there")
	_, ok = s.Sums("k1")
	assert.False(t, ok, "of three keys the one that was used least lately is gone")
	// An id that is used again and again has one place, and it is not lost when
	// an older request of that name leaves the ring.
	for range 25 {
		r := finished(t, requestEntry(t, "again"))
		s.Consume(r)
		found, ok := s.Request("k1", "again")
		require.True(t, ok)
		require.Same(t, r, found)
	}
	assert.Len(t, s.byName, 1)
}

func TestOtherQuestions(t *testing.T) {
	s := NewRecent(RecentSettings{})
	for _, test := range []struct {
		method, path string
		want         int
	}{
		{"POST", "/v1/usage", 405}, {"DELETE", "/v1/usage/a", 405}, {"GET", "/v1/usages", 404}, {"GET", "/v1/usage/", 404}, {"GET", "/", 404},
	} {
		status, body := ask(t, s, test.method, test.path, "k1")
		assert.Equal(t, test.want, status, test.path)
		assert.Contains(t, body, "error")
	}
}
