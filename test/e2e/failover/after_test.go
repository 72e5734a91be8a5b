package failover_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

func busy(status int, after ...string) fake.Behavior {
	b := fake.Status(status)
	b.Header = http.Header{"Retry-After": after}
	return b
}

// TestRetryAfter is waited for where the next attempt goes to the same provider, and
// where that is soon.
func TestRetryAfter(t *testing.T) {
	h := open(t, "", inTurn)
	for name, c := range map[string]struct {
		busy   fake.Behavior
		status int
	}{
		"a second":           {busy(429, "1"), 200},
		"503":                {busy(503, "1"), 200},
		"529":                {busy(529, "2"), 200},
		"zeros before":       {busy(429, "0001"), 200},
		"too long":           {busy(429, "6"), 429},
		"an hour":            {busy(429, "3600"), 429},
		"none":               {fake.Status(429), 429},
		"none at 503":        {fake.Status(503), 503},
		"zero":               {busy(429, "0"), 429},
		"negative":           {busy(429, "-1"), 429},
		"broken":             {busy(429, "1.5"), 429},
		"a date":             {busy(429, "Wed, 21 Oct 2037 07:28:00 GMT"), 429},
		"words":              {busy(429, "soon"), 429},
		"more than 64 bits":  {busy(429, "99999999999999999999999"), 429},
		"empty":              {busy(429, ""), 429},
		"another status":     {busy(400, "1"), 400},
		"a server's failure": {busy(500, "1"), 500},
	} {
		t.Run(name, func(t *testing.T) {
			h.a.Reset()
			h.a.Next(1, c.busy)
			start := time.Now()
			got := h.ask(t, "alone")
			took := time.Since(start)
			require.Equal(t, c.status, got.status, got.text)
			assert.Empty(t, got.header.Values("X-Postern-Wait"))
			if c.status == http.StatusOK {
				assert.Equal(t, 2, h.a.Counts().Requests)
				assert.Equal(t, "2", got.header.Get("X-Postern-Attempts"))
				assert.GreaterOrEqual(t, took, time.Second)
				assert.Less(t, took, 4*time.Second)
				return
			}
			assert.Equal(t, 1, h.a.Counts().Requests)
			assert.Less(t, took, 900*time.Millisecond)
			assert.Equal(t, c.busy.Header.Values("Retry-After"), got.header.Values("Retry-After"), "the client's to wait")
		})
	}
	t.Run("once", func(t *testing.T) {
		h.a.Reset()
		h.a.Always(busy(429, "1"))
		assert.Equal(t, 429, h.ask(t, "alone").status)
		assert.Equal(t, 2, h.a.Counts().Requests)
	})
	t.Run("not where another is next", func(t *testing.T) {
		h.a.Reset()
		h.a.Always(busy(429, "2"))
		start := time.Now()
		assert.Equal(t, "b", h.ask(t, "pair").provider)
		assert.Less(t, time.Since(start), 900*time.Millisecond)
	})
}
