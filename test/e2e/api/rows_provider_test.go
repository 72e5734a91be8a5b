package api_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

// providerRows are good requests that meet a provider on a bad day.
func providerRows() []row {
	asks := func(name, model, wish string, status int, code string) row {
		return row{
			name: "provider " + name, model: model, status: status, code: code,
			request: request{body: `{"model":"{{model}}","user":"fake:` + wish + `","messages":[{"role":"user","content":"one"}]}`},
		}
	}
	const unreachable, garbage, slow = "provider_unreachable", "provider_invalid_response", "provider_timeout"
	rows := []row{
		asks("refuses the connection", "dead", "", http.StatusBadGateway, unreachable),
		asks("accepts and hangs up", "hangup", "", http.StatusBadGateway, unreachable),
		asks("accepts and resets", "slam", "", http.StatusBadGateway, unreachable),
		asks("speaks no HTTP at once", "babble", "", http.StatusBadGateway, garbage),
		asks("speaks no HTTP", "main", "garbage", http.StatusBadGateway, garbage),
		asks("closes without an answer", "main", "close", http.StatusBadGateway, unreachable),
		asks("resets without an answer", "main", "reset", http.StatusBadGateway, unreachable),
		asks("has large headers", "main", "huge-headers", http.StatusOK, ""),
		asks("is silent", "quick", "silence", http.StatusGatewayTimeout, slow),
		asks("sends half of its JSON", "main", "garbage-json", http.StatusOK, ""),
		asks("answers byte by byte", "main", "bytes", http.StatusOK, ""),
		asks("ends by closing", "main", "close-delimited", http.StatusOK, ""),
		asks("answers at length", "main", "big", http.StatusOK, ""),
	}
	huge := asks("has huge headers", "main", "", http.StatusBadGateway, garbage)
	huge.before = func(h *house) { h.main.Always(fake.HugeHeaders(200 << 10)) }
	rows = append(rows, huge)
	for _, status := range []int{307, 400, 401, 403, 404, 408, 409, 418, 429, 500, 501, 503, 529} {
		r := asks(fmt.Sprintf("answers %d", status), "main", fmt.Sprint(status), status, "")
		r.passed = fmt.Sprintf("The fake provider was told to answer %d.", status)
		if status == http.StatusUnauthorized || status == http.StatusForbidden {
			// It speaks of the gate's key, and to the client it would speak of its own.
			r.status, r.code, r.passed = http.StatusBadGateway, unreachable, ""
		}
		r.check = func(t *testing.T, h *house, a answer) {
			t.Helper()
			assert.Equal(t, "application/json", a.header.Get("Content-Type"))
			assert.Equal(t, 1, h.main.Counts().Requests, "an answer of a lone provider is not asked for again")
		}
		rows = append(rows, r)
	}
	return rows
}
