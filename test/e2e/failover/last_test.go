package failover_test

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

// page is an answer that is no JSON, as proxies before a provider give it.
func page(status int, kind string, size int, header ...string) fake.Behavior {
	b := fake.Behavior{Status: status, Header: http.Header{"Content-Type": {kind}}}
	b.Body = bytes.Repeat([]byte("<p>nginx at 10.0.0.7</p>"), size/24)
	if len(b.Body) == 0 {
		b.Body = []byte{}
	}
	for i := 0; i+1 < len(header); i += 2 {
		b.Header.Set(header[i], header[i+1])
	}
	return b
}

// What a client is told where nobody answers: the most useful of what was said.
func TestTheMostUsefulError(t *testing.T) {
	h := open(t, "", inTurn)
	refused := fake.NoAnswer(fake.Close)
	for name, c := range map[string]struct {
		first, second fake.Behavior
		status        int
		code          string // empty: the second's own answer
		after, retry  string
	}{
		"busy, and none":                 {busy(429, "7"), refused, 429, "rate_limit_exceeded", "7", "true"},
		"busy for an unknown time":       {fake.Status(429), refused, 429, "rate_limit_exceeded", "", "true"},
		"busy until a date":              {busy(429, "Wed, 21 Oct 2037 07:28:00 GMT"), refused, 429, "rate_limit_exceeded", "Wed, 21 Oct 2037 07:28:00 GMT", "true"},
		"busy, and a failure":            {busy(429, "7"), fake.Status(500), 429, "rate_limit_exceeded", "7", "true"},
		"busy, and no HTTP":              {busy(429, "7"), fake.Garbage(), 429, "rate_limit_exceeded", "7", "true"},
		"busy, and our key is bad":       {busy(429, "7"), fake.Status(401), 429, "rate_limit_exceeded", "7", "true"},
		"busy, and a page":               {busy(429, "7"), page(502, "text/html", 100), 429, "rate_limit_exceeded", "7", "true"},
		"busy, and one that says when":   {busy(429, "7"), busy(503, "2"), 503, "", "2", "true"},
		"busy both":                      {busy(429, "7"), busy(429, "3"), 429, "", "3", "true"},
		"busy, and the client's mistake": {busy(429, "7"), fake.Status(400), 400, "", "", "false"},
		"a failure, and none":            {fake.Status(500), refused, 502, "provider_unreachable", "", "false"},
		"away for a while, and none":     {busy(503, "7"), refused, 502, "provider_unreachable", "", "false"},
		"none, and busy":                 {refused, busy(429, "3"), 429, "", "3", "true"},
	} {
		t.Run(name, func(t *testing.T) {
			h.a.Reset()
			h.b.Reset()
			require.Equal(t, 200, h.ask(t, "pair").status) // so that no failures in a row have one left alone
			h.a.Always(c.first)
			h.b.Always(c.second)
			got := h.ask(t, "pair")
			assert.Equal(t, c.status, got.status, got.text)
			assert.Equal(t, c.after, got.header.Get("Retry-After"))
			assert.Equal(t, []string{c.retry}, got.header["X-Should-Retry"])
			assert.Equal(t, "2", got.header.Get("X-Postern-Attempts"))
			assert.Equal(t, []string{"application/json"}, got.header["Content-Type"])
			if c.code != "" {
				assert.Equal(t, c.code, gjson.Get(got.text, "error.code").String(), got.text)
				assert.NotContains(t, got.text, "told to answer")
			} else {
				assert.Contains(t, got.text, "told to answer")
			}
		})
	}
}

// A provider's refusal of our key is nothing that a client could mend, and must not look
// as if its own were bad; and what is no JSON no client reads.
func TestRefusalsInTheFormOfOpenAI(t *testing.T) {
	h := open(t, "", inTurn)
	for name, c := range map[string]struct {
		said       fake.Behavior
		status     int
		kind, code string // empty: it passes
	}{
		"401":                 {fake.Status(401), 502, "server_error", "provider_unreachable"},
		"403":                 {fake.Status(403), 502, "server_error", "provider_unreachable"},
		"401 as a page":       {page(401, "text/html", 100), 502, "server_error", "provider_unreachable"},
		"401 of nothing":      {page(401, "text/html", 0), 502, "server_error", "provider_unreachable"},
		"a page, 404":         {page(404, "text/html; charset=utf-8", 100), 404, "invalid_request_error", "provider_error"},
		"a page, 302":         {page(302, "text/html", 100, "Location", "https://elsewhere.example.com/"), 302, "invalid_request_error", "provider_error"},
		"a page, 429":         {page(429, "text/html", 100, "Retry-After", "9"), 429, "rate_limit_error", "rate_limit_exceeded"},
		"a page, 500":         {page(500, "text/html", 100), 500, "server_error", "provider_error"},
		"a large page":        {page(503, "text/html", 300<<10), 503, "server_error", "provider_error"},
		"text, 502":           {page(502, "text/plain", 100), 502, "server_error", "provider_error"},
		"nothing, 503":        {page(503, "", 0), 503, "server_error", "provider_error"},
		"events, 400":         {page(400, "text/event-stream", 100), 400, "invalid_request_error", "provider_error"},
		"400":                 {fake.Status(400), 400, "", ""},
		"404":                 {fake.Status(404), 404, "", ""},
		"422":                 {fake.Status(422), 422, "", ""},
		"429":                 {fake.Status(429), 429, "", ""},
		"500":                 {fake.Status(500), 500, "", ""},
		"problem":             {page(400, "application/problem+json", 100), 400, "", ""},
		"a page that is none": {page(200, "text/html", 100), 200, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h.a.Reset()
			h.a.Always(c.said)
			got := h.ask(t, "alone")
			assert.Equal(t, c.status, got.status, got.text)
			assert.Equal(t, "a", got.header.Get("X-Postern-Provider"))
			assert.Equal(t, c.said.Header.Get("Retry-After"), got.header.Get("Retry-After"))
			assert.Empty(t, got.header.Values("Location"))
			if c.code == "" {
				assert.Equal(t, string(c.said.Body), got.text)
				return
			}
			assert.Equal(t, c.code, gjson.Get(got.text, "error.code").String(), got.text)
			assert.Equal(t, c.kind, gjson.Get(got.text, "error.type").String())
			assert.NotEmpty(t, gjson.Get(got.text, "error.message").String())
			assert.NotContains(t, got.text, "10.0.0.7")
			assert.NotContains(t, got.text, "told to answer")
			assert.Equal(t, []string{"application/json"}, got.header["Content-Type"])
			if c.status == http.StatusBadGateway && c.code == "provider_unreachable" {
				assert.Contains(t, got.text, "The key of this request is not at fault")
			}
		})
	}
}
