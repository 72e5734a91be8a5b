package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

const mebibyte = 1 << 20

// sizeRows are bodies over the limit of 20 MiB, which is what a gate has that is not
// told otherwise.
func sizeRows() []row {
	big := bigBody("{{model}}", 21*mebibyte)
	tooLarge := func(name string, r request) row {
		return row{name: name, request: r, status: http.StatusRequestEntityTooLarge, code: "request_too_large", check: nobodyWasAsked(nil)}
	}
	return []row{
		tooLarge("21 MiB", request{body: big}),
		tooLarge("21 MiB in chunks", request{body: big, frame: chunked}),
		tooLarge("a terabyte that does not come", request{headers: []string{"Content-Length: 1000000000000"}, body: `{"model":"`, frame: bare}),
		tooLarge("21 MiB to another path", request{target: "/v1/files", headers: []string{"Content-Type: application/octet-stream"}, body: big}),
	}
}

// bigBody is a chat request of n bytes.
func bigBody(model string, n int) string {
	head := `{"model":"` + model + `","messages":[{"role":"user","content":"`
	const tail = `"}]}`
	return head + strings.Repeat("x", n-len(head)-len(tail)) + tail
}

// TestATruncatedBody announces more than it sends and goes away: the gate forgets
// the request, and no provider hears of it.
func TestATruncatedBody(t *testing.T) {
	h := shared(t)
	const body = `{"model":"main","messages":[`
	for name, announced := range map[string]request{
		"small":   {headers: []string{"Content-Length: 1000"}, body: body, frame: bare},
		"large":   {headers: []string{"Content-Length: 100000"}, body: body, frame: bare},
		"chunked": {headers: []string{"Transfer-Encoding: chunked"}, body: "400\r\n" + body, frame: bare},
	} {
		t.Run(name, func(t *testing.T) {
			leave(t, h, row{request: announced}.on(h, native).request)
			h.idle(t)
			assert.Zero(t, h.main.Counts().Requests)
		})
	}
}
