package api_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/access"
)

const goodBody = `{"model":"{{model}}","messages":[{"role":"user","content":"one"}]}`

// methodRows are endpoints asked by the wrong method.
func methodRows() []row {
	var rows []row
	for _, path := range modelPaths {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodPatch} {
			rows = append(rows, row{
				name: method + " " + path, request: request{method: method, target: path, body: goodBody},
				status: http.StatusMethodNotAllowed, code: "method_not_allowed",
				check: func(t *testing.T, _ *house, a answer) {
					t.Helper()
					assert.Equal(t, []string{"POST"}, a.header["Allow"])
				},
			})
		}
	}
	return rows
}

// pathRows are paths that are not there, and ways to write one that is.
func pathRows() []row {
	lost := func(path string) row {
		return row{
			name: "path " + path, request: request{target: path, body: goodBody},
			status: http.StatusNotFound, code: "unknown_url",
		}
	}
	chat := func(path string) row {
		return row{
			name: "path " + path, request: request{target: path, body: goodBody},
			status: http.StatusOK, passed: "chat.completion", check: seenAs(chatPath),
		}
	}
	return []row{
		lost("/"), lost("/v1"), lost("/v2/chat/completions"), lost("/V1/chat/completions"),
		lost("/chat/completions"), lost("/admin"), lost("/%2e%2e/%2e%2e/etc/passwd"), lost("/v1/../../etc/passwd"),
		lost("/stats"), lost("/config_dump"), lost("/livez/"), lost("/livez/x"),
		chat("//v1/chat/completions"), chat("/v1//chat///completions"), chat("/v1/../v1/chat/completions"),
		chat("/v1/./chat/completions"), chat("/v1/x/%2e%2e/chat/completions"), chat("/v1/chat/completions?x=1"),
	}
}

// seenAs says which path the provider was asked for.
func seenAs(path string) func(*testing.T, *house, answer) {
	return func(t *testing.T, h *house, _ answer) {
		t.Helper()
		assert.Equal(t, path, h.main.Last().Path)
	}
}

// keyRows are keys that are none, or good for nothing here.
func keyRows(t *testing.T, h *house) []row {
	t.Helper()
	stranger, err := access.Open(t.TempDir())
	require.NoError(t, err)
	forged, err := stranger.Mint(access.Grant{Tenant: "acme"}, time.Now())
	require.NoError(t, err)
	parts := strings.Split(h.Key, ".")
	encode := base64.RawURLEncoding.EncodeToString
	claims := fmt.Sprintf(`{"iss":"postern","jti":"key_x","sub":"x","tenant":"acme","tier":"default","exp":%d}`, time.Now().Add(time.Hour).Unix())
	wrong := map[string]string{
		"no key":                  "",
		"key of another signer":   "Bearer " + forged.Token(),
		"key with alg none":       "Bearer pk_" + encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(claims)) + ".",
		"key with HMAC":           "Bearer pk_" + encode([]byte(`{"alg":"HS256"}`)) + "." + encode([]byte(claims)) + "." + parts[2],
		"key with a new payload":  "Bearer " + parts[0] + "." + encode([]byte(claims)) + "." + parts[2],
		"key without signature":   "Bearer " + parts[0] + "." + parts[1] + ".",
		"key of OpenAI":           "Bearer sk-proj-0123456789abcdefghijklmnop",
		"key without Bearer":      h.Key,
		"key by Basic":            "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+h.Key)),
		"key without prefix":      "Bearer " + strings.TrimPrefix(h.Key, access.Prefix),
		"key empty":               "Bearer ",
		"key of the prefix alone": "Bearer pk_",
		"key of junk":             "Bearer pk_" + strings.Repeat("A", 8<<10),
		"key of dots":             "Bearer pk_" + strings.Repeat(".", 8<<10),
		"key expired":             "Bearer " + h.key(t, "default", time.Now().Add(-3*time.Hour)),
		"key twice in a line":     "Bearer " + h.Key + ", Bearer " + h.Key,
	}
	var rows []row
	for _, name := range sortedNames(wrong) {
		value := wrong[name]
		rows = append(rows, row{
			name: name, key: &value, request: request{body: goodBody}, status: http.StatusUnauthorized, code: "invalid_api_key",
			check: nobodyWasAsked(func(t *testing.T, _ *house, a answer) {
				t.Helper()
				if len(value) > 40 {
					assert.NotContains(t, fmt.Sprint(a.header, a.body), value[len(value)-20:])
				}
			}),
		})
	}
	other := "Bearer " + h.key(t, "platinum", time.Now())
	expired := "Bearer " + h.key(t, "default", time.Now().Add(-3*time.Hour))
	return append(rows,
		row{
			name: "two Authorization headers", request: request{headers: []string{"Authorization: Bearer " + h.Key}, body: goodBody},
			status: http.StatusUnauthorized, code: "invalid_api_key", check: nobodyWasAsked(nil),
		},
		row{
			name: "key in the query", key: new(string), request: request{target: chatPath + "?access_token=" + h.Key, body: goodBody},
			status: http.StatusUnauthorized, code: "invalid_api_key", check: nobodyWasAsked(nil),
		},
		row{
			name: "key of a tier that is not there", key: &other, request: request{body: goodBody},
			status: http.StatusForbidden, code: "not_allowed", check: nobodyWasAsked(nil),
		},
		row{
			name: "key expired, for the models", key: &expired, request: request{method: http.MethodGet, target: "/v1/models"},
			status: http.StatusUnauthorized, code: "invalid_api_key",
		},
		row{
			name: "no key for a path that is not there", key: new(string), request: request{method: http.MethodGet, target: "/nothing"},
			status: http.StatusUnauthorized, code: "invalid_api_key",
		})
}

// wireRows are requests that are hardly HTTP, and some that are, rare as they may be.
func wireRows() []row {
	const head = "POST " + chatPath + " HTTP/1.1\r\nHost: {{host}}\r\nAuthorization: Bearer {{key}}\r\nContent-Type: application/json\r\n"
	long := func(n int) []string {
		var lines []string
		for i := 0; n > 0; i++ {
			size := min(n, 4000)
			lines = append(lines, fmt.Sprintf("X-Long-%d: %s", i, strings.Repeat("l", size)))
			n -= size
		}
		return lines
	}
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("X-Many-%d: m", i))
	}
	answered := func(name string, r request) row {
		return row{name: name, request: r, status: http.StatusOK, passed: "chat.completion"}
	}
	malformed := func(name, raw string) row {
		return row{name: name, request: request{raw: raw}, status: http.StatusBadRequest, codec: true}
	}
	return []row{
		answered("chunked without length", request{frame: chunked, body: goodBody}),
		answered("headers of 50 KB", request{headers: long(50_000), body: goodBody}),
		{
			name: "expect 100-continue", request: request{headers: []string{"Expect: 100-continue"}, body: goodBody},
			status: http.StatusOK, passed: "chat.completion",
			check: func(t *testing.T, _ *house, a answer) {
				t.Helper()
				assert.Equal(t, []int{http.StatusContinue}, a.informed)
			},
		},
		{
			name: "headers of 60 KiB", request: request{headers: long(60 << 10), body: goodBody},
			status: http.StatusRequestHeaderFieldsTooLarge, codec: true,
		},
		{
			name: "one header of 100 KB", request: request{headers: []string{"X-Long: " + strings.Repeat("l", 100_000)}, body: goodBody},
			status: http.StatusRequestHeaderFieldsTooLarge, codec: true,
		},
		{
			name: "200 headers", request: request{headers: many, body: goodBody},
			status: http.StatusRequestHeaderFieldsTooLarge, codec: true,
		},
		malformed("a malformed request line", "GET\r\n\r\n"),
		malformed("no protocol at all", "hello there\r\n\r\n"),
		malformed("content-length no number", head+"Content-Length: abc\r\n\r\n{}"),
		malformed("content-length negative", head+"Content-Length: -1\r\n\r\n{}"),
		malformed("two content-lengths", head+"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} "),
		malformed("length and chunks", head+"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
		malformed("chunk size no number", head+"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"),
		malformed("a header with NUL", head+"X-Nul: a\x00b\r\nContent-Length: 2\r\n\r\n{}"),
		malformed("a header without a name", head+": a\r\nContent-Length: 2\r\n\r\n{}"),
		malformed("no Host", "GET /livez HTTP/1.1\r\n\r\n"),
		{
			name: "unknown transfer-encoding", request: request{raw: head + "Transfer-Encoding: gzip\r\n\r\n{}"},
			status: http.StatusNotImplemented, codec: true,
		},
		{
			name: "HTTP/1.0", request: request{raw: strings.Replace(head, "1.1", "1.0", 1) + "Content-Length: 2\r\n\r\n{}"},
			status: http.StatusUpgradeRequired, codec: true,
		},
	}
}
