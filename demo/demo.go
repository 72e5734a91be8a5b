// Package demo is a model that lives in the gate: it speaks the OpenAI form, offline
// and for free, so that a newcomer has an answer before having an account, and a
// smoke check has something to talk to. It writes a friendly sentence about what it
// was asked, streams word by word, calls the first tool it is given, answers in JSON
// where that is asked for, and turns texts into vectors.
//
// The invariant: the same request gets the same answer; only ids and times differ,
// and both come from fields of Model. A plain answer and the stream of the same
// request hold the same text and the same usage.
//
// A Model holds no state between requests and is safe for concurrent use as long as
// its fields do not change.
package demo

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/fault"
)

// DefaultDelay is the time between two words of a stream of New: fast enough to
// read along.
const DefaultDelay = 20 * time.Millisecond

// maxBody is the largest request body, in bytes: the highest limit the gate itself
// can be given.
const maxBody = 64 << 20

// maxNesting is far below what encoding/json writes: parts of a request are repeated
// inside an answer, a few levels further down.
const maxNesting = 1000

// Model answers POST /v1/chat/completions, /v1/completions, /v1/embeddings and
// /v1/responses. The zero value is usable and streams without a delay.
type Model struct {
	Delay time.Duration              // between two words of a stream
	Clock func() time.Time           // nil: time.Now
	NewID func(prefix string) string // nil: the prefix and random letters
}

var _ http.Handler = (*Model)(nil)

// New is a Model that streams at DefaultDelay.
func New() *Model { return &Model{Delay: DefaultDelay} }

// endpoint answers a request whose body is a JSON object. It returns an error only
// before anything was written.
type endpoint func(m *Model, w http.ResponseWriter, r *http.Request, body gjson.Result) error

var endpoints = map[string]endpoint{
	"/v1/chat/completions": (*Model).chat,
	"/v1/completions":      (*Model).completions,
	"/v1/embeddings":       (*Model).embeddings,
	"/v1/responses":        (*Model).responses,
}

// ServeHTTP answers one request. Errors are in OpenAI's form.
func (m *Model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := m.serve(w, r); err != nil {
		writeError(w, err)
	}
}

func (m *Model) serve(w http.ResponseWriter, r *http.Request) error {
	answer, found := endpoints[r.URL.Path]
	if !found {
		return &fault.Error{Op: "demo", Kind: fault.UnknownPath}
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return &fault.Error{Op: "demo", Kind: fault.MethodNotAllowed}
	}
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	return answer(m, w, r, body)
}

// readBody is the body as a JSON object.
func readBody(w http.ResponseWriter, r *http.Request) (gjson.Result, error) {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return gjson.Result{}, &fault.Error{Op: "demo", Kind: fault.UnsupportedEncoding}
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return gjson.Result{}, fault.Wrap("demo", fault.BodyTooLarge, err)
	}
	if err != nil {
		return gjson.Result{}, fault.Wrap("demo", fault.InvalidRequest, err)
	}
	// encoding/json bounds the depth, gjson's own check recurses without an end.
	if !utf8.Valid(text) || !json.Valid(text) {
		return gjson.Result{}, invalid("", "The request body is not valid JSON.")
	}
	if depth(text) > maxNesting {
		return gjson.Result{}, invalid("", "The request body is nested too deeply.")
	}
	body := gjson.ParseBytes(text)
	if !body.IsObject() {
		return gjson.Result{}, invalid("", "The request body must be a JSON object.")
	}
	return body, nil
}

// depth is how deep valid JSON is nested.
func depth(text []byte) int {
	level, deepest, inString := 0, 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			inString = !inString
		case c == '\\':
			i++ // only strings hold one, and what it escapes does not count
		case inString:
		case c == '{' || c == '[':
			level++
			deepest = max(deepest, level)
		case c == '}' || c == ']':
			level--
		}
	}
	return deepest
}

func (m *Model) now() int64 {
	if m.Clock != nil {
		return m.Clock().Unix()
	}
	return time.Now().Unix()
}

func (m *Model) id(prefix string) string {
	if m.NewID != nil {
		return m.NewID(prefix)
	}
	return prefix + strings.ToLower(rand.Text())
}
