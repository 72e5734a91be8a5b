package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// bodyRows are bodies that do not say which model is asked, or ask for none there is.
func bodyRows() []row {
	const tail = `,"messages":[{"role":"user","content":"one"}]}`
	rows := []row{
		unread("not JSON", `hello`),
		unread("broken off", `{"model":"{{model}}","messages":[`),
		unread("duplicate model", `{"model":"{{model}}","model":"{{model}}"`+tail),
		unread("duplicate model by an escape", `{"model":"{{model}}","mod\u0065l":"other"`+tail),
		unread("duplicate key at the top", `{"user":"a","user":"b","model":"{{model}}"`+tail),
		unread("duplicate key inside", `{"model":"{{model}}","metadata":{"a":"1","a":"2"}`+tail),
		unread("no model", `{"messages":[]}`),
		unread("model null", `{"model":null`+tail),
		unread("model empty", `{"model":""`+tail),
		unread("model elsewhere", `{"metadata":{"model":"{{model}}"}`+tail),
		unread("a list", `[]`),
		unread("a list of requests", `[{"model":"{{model}}"`+tail+`]`),
		unread("a word", `true`),
		unread("a text", `"{{model}}"`),
		unread("empty", ``),
		unread("blank", " \r\n\t "),
		unread("an empty object", `{}`),
		unread("byte order mark", "\ufeff"+`{"model":"{{model}}"`+tail),
		unread("text after it", `{"model":"{{model}}"`+tail+` x`),
		unread("a second object after it", `{"model":"{{model}}"`+tail+`{"model":"{{model}}"}`),
		unread("nested 2000 deep", `{"model":"{{model}}","a":`+strings.Repeat("[", 2000)+strings.Repeat("]", 2000)+`}`),
		unread("invalid UTF-8 in the model", "{\"model\":\"\xff\xfe\""+tail),
		unread("invalid UTF-8 elsewhere", "{\"model\":\"{{model}}\",\"user\":\"\xff\xfe\""+tail),
		unread("comment", `{"model":"{{model}}"/* hi */`+tail),
		unread("NaN", `{"model":"{{model}}","temperature":NaN`+tail),

		misnamed("model a number", `123`),
		misnamed("model a fraction", `-1.5e3`),
		misnamed("model true", `true`),
		misnamed("model a list", `["{{model}}"]`),
		misnamed("model an empty list", `[]`),
		misnamed("model an object", `{}`),
		misnamed("model with CR", `"{{model}}\r"`),
		misnamed("model with LF", `"{{model}}\nx-admin: 1"`),
		misnamed("model with CR LF", `"{{model}}\r\n\r\nGET / HTTP/1.1"`),
		misnamed("model with NUL", `"{{model}}\u0000"`),
		misnamed("model with DEL", `"{{model}}\u007f"`),
		misnamed("model not ASCII", `"gpt-größer"`),
		misnamed("model with spaces around", `" {{model}} "`),
		misnamed("model of 300", `"`+strings.Repeat("m", 300)+`"`),
		misnamed("model of 70,000", `"`+strings.Repeat("m", 70_000)+`"`),

		unknown("model unknown", `"no-such-model"`),
		unknown("model in capitals", `"MAIN"`),
		unknown("model like a path", `"../../etc/passwd"`),
		unknown("model like a format", `"%REQ(authorization)% %DYNAMIC_METADATA(x)%"`),
		{
			name: "wrong content-type", request: request{headers: []string{"Content-Type: text/plain"}, body: `{"model":"{{model}}"` + tail},
			status: http.StatusBadRequest, code: "invalid_request", param: "model",
		},
		{
			name: "compressed", request: request{headers: []string{"Content-Encoding: gzip"}, body: "\x1f\x8b\x08"},
			status: http.StatusUnsupportedMediaType, code: "unsupported_content_encoding",
		},
	}
	for _, path := range modelPaths[1:] {
		r := unread("no model at "+path, `{`+inputs[path]+`}`)
		r.target = path
		u := unknown("model unknown at "+path, `"no-such-model"`)
		u.target = path
		rows = append(rows, r, u)
	}
	for i := range rows {
		rows[i].check = nobodyWasAsked(rows[i].check)
	}
	return append(rows,
		loose("single quotes", `{'model':'{{model}}','messages':[]}`),
		loose("a raw line feed in a text", "{\"model\":\"{{model}}\",\"user\":\"a\nb\""+tail))
}

// loose is a body that some readers of JSON take: it is refused, by the gate or by
// the provider, who got it as it was.
func loose(name, body string) row {
	return row{name: name, request: request{body: body}, status: http.StatusBadRequest, passed: "invalid_"}
}

// nobodyWasAsked adds that the provider saw nothing of it.
func nobodyWasAsked(more func(*testing.T, *house, answer)) func(*testing.T, *house, answer) {
	return func(t *testing.T, h *house, a answer) {
		t.Helper()
		assert.Zero(t, h.main.Counts().Requests, "a provider was asked")
		if more != nil {
			more(t, h, a)
		}
	}
}

// unread is a body in which no model can be found.
func unread(name, body string) row {
	return row{name: name, request: request{body: body}, status: http.StatusBadRequest, code: "invalid_request", param: "model"}
}

// misnamed is a body whose model is no name.
func misnamed(name, model string) row {
	return unread(name, `{"model":`+model+`,"messages":[{"role":"user","content":"one"}]}`)
}

// unknown is a body whose model nobody has.
func unknown(name, model string) row {
	r := misnamed(name, model)
	r.status, r.code = http.StatusNotFound, "model_not_found"
	return r
}
