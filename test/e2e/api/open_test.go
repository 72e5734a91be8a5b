package api_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"
)

// TestHealthNeedsNoKey, and goes through Envoy like every request.
func TestHealthNeedsNoKey(t *testing.T) {
	h := shared(t)
	for _, path := range []string{"/livez", "/readyz"} {
		for name, key := range map[string]string{"no key": "", "a wrong key": "Bearer pk_wrong", "a good key": "Bearer " + h.Key} {
			t.Run(path+" "+name, func(t *testing.T) {
				r := row{key: &key, request: request{method: http.MethodGet, target: path, frame: bare}}
				a := speak(t, h.Address, http.MethodGet, r.on(h, native).request)
				require.Equal(t, http.StatusOK, a.status, a.body)
				assert.Equal(t, "application/json", a.header.Get("Content-Type"))
				assert.True(t, gjson.Valid(a.body))
				assert.Equal(t, "postern", a.header.Get("Server"))
				keepsSecrets(t, h, a)
			})
		}
	}
	assert.Zero(t, h.main.Counts().Requests)
}

// TestPagesOfConfiguredOrigins may call the gate, and see its errors; others may not.
func TestPagesOfConfiguredOrigins(t *testing.T) {
	h := shared(t)
	const allow = "Access-Control-Allow-Origin"
	preflight := func(origin string) answer {
		r := row{key: new(string), request: request{method: http.MethodOptions, target: chatPath, frame: bare, headers: []string{
			"Origin: " + origin, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization, content-type",
		}}}
		return speak(t, h.Address, http.MethodOptions, r.on(h, native).request)
	}
	a := preflight("https://app.example.com")
	assert.Contains(t, []int{http.StatusOK, http.StatusNoContent}, a.status)
	assert.Equal(t, []string{"https://app.example.com"}, a.header[allow])
	assert.Contains(t, a.header.Get("Access-Control-Allow-Methods"), "POST")
	assert.Contains(t, a.header.Get("Access-Control-Allow-Headers"), "authorization")

	for _, stranger := range []string{"https://evil.example", "https://app.example.com.evil.example", "http://app.example.com", "null"} {
		a = preflight(stranger)
		assert.Empty(t, a.header[allow], stranger)
	}
	for name, r := range map[string]row{
		"a good request": {request: request{body: chatBody("main", "")}, status: http.StatusOK},
		"a wrong key":    {key: new(string), request: request{body: chatBody("main", "")}, status: http.StatusUnauthorized},
		"a bad request":  {request: request{body: `{}`}, status: http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			r.headers = []string{"Origin: https://app.example.com"}
			a := speak(t, h.Address, http.MethodPost, r.on(h, native).request)
			assert.Equal(t, r.status, a.status)
			assert.Equal(t, []string{"https://app.example.com"}, a.header[allow], "a page could not read the answer")
			r.headers = []string{"Origin: https://evil.example"}
			a = speak(t, h.Address, http.MethodPost, r.on(h, native).request)
			assert.Empty(t, a.header[allow])
		})
	}
}
