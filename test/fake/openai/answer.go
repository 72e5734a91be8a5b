package openai

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/test/fake/stage"
)

// answer is what a request gets before a performance sends it: either a body or
// the events of a stream.
type answer struct {
	status int
	header http.Header
	body   []byte
	events [][]byte // each with its blank line
}

type object = stage.Object

// answer finds the ordinary answer and lays the behaviour's status and body over it.
func (s *Server) answer(r Request, b Behavior) answer {
	a := s.ordinary(r, b)
	if b.Body != nil {
		a = whole(a.status, b.Body)
	}
	if b.Status != 0 {
		a.status = b.Status
	}
	a.header.Set("X-Request-ID", fmt.Sprintf("req_fake_%d", r.Number))
	return a
}

func (s *Server) ordinary(r Request, b Behavior) answer {
	if s.key != "" && r.Header.Get("Authorization") != "Bearer "+s.key {
		return refusal(http.StatusUnauthorized, "invalid_api_key", "Incorrect API key provided.")
	}
	if r.Method != http.MethodPost {
		return echo(r)
	}
	var compose func(Request, Behavior) answer
	switch r.Path {
	case "/v1/chat/completions":
		compose = chat
	case "/v1/completions":
		compose = completion
	case "/v1/embeddings":
		compose = embeddings
	case "/v1/responses":
		compose = responses
	case "/v1/audio/transcriptions":
		return transcription(r)
	default:
		return echo(r)
	}
	switch {
	case !gjson.ValidBytes(r.Body):
		return refusal(http.StatusBadRequest, "invalid_json", "We could not parse the JSON body of your request.")
	case r.JSON("model").Type != gjson.String:
		return refusal(http.StatusBadRequest, "missing_model", "You must provide a model parameter.")
	}
	return compose(r, b)
}

func whole(status int, body []byte) answer {
	return answer{status: status, header: http.Header{"Content-Type": {"application/json"}}, body: body}
}

func ok(body object) answer { return whole(http.StatusOK, stage.Encode(body)) }

func refusal(status int, code, message string) answer {
	return whole(status, stage.Encode(object{"error": object{
		"message": message, "type": "invalid_request_error", "param": nil, "code": code,
	}}))
}

func stream(events ...[]byte) answer {
	header := http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}, "Cache-Control": {"no-cache"}}
	return answer{status: http.StatusOK, header: header, events: events}
}

func event(data object) []byte { return fmt.Appendf(nil, "data: %s\n\n", stage.Encode(data)) }

var endOfStream = []byte("data: [DONE]\n\n")

// echo says what was asked. It is also a valid, empty list, so that SDKs accept it
// where they expect one.
func echo(r Request) answer {
	return ok(object{
		"object": "list", "data": []any{}, "has_more": false,
		"method": r.Method, "path": r.Path, "query": r.Query,
		"content_type": r.Header.Get("Content-Type"), "body_length": r.BodyBytes,
	})
}

// words is what the model says to a prompt.
func words(b Behavior, prompt string) string { return stage.Words(b.Content, b.Size, prompt) }

// pieces cuts what is said for a stream.
func pieces(b Behavior, said string) []string { return stage.Pieces(said, b.Pieces) }

// cut ends what is said where the request wants it to end, and says why it ends; limits
// are the fields that may say how many tokens there may be.
func cut(r Request, said string, limits ...string) (text, reason string) {
	text = said
	for _, stop := range r.JSON("stop").Array() {
		if i := strings.Index(text, stop.String()); i >= 0 && stop.String() != "" {
			text = text[:i]
		}
	}
	for _, name := range limits {
		if limit := r.JSON(name); limit.Exists() && limit.Int() > 0 && len(strings.Fields(text)) > int(limit.Int()) {
			return stage.FirstWords(text, int(limit.Int())), "length"
		}
	}
	return text, "stop"
}

// seen says what images the user showed as data: " (saw png of 70 bytes)". Of what it is
// told to say nothing is added.
func seen(b Behavior, content gjson.Result) string {
	var said strings.Builder
	for _, part := range content.Array() {
		address := part.Get("image_url.url").String()
		if address == "" {
			address = part.Get("image_url").String()
		}
		head, data, found := strings.Cut(address, ";base64,")
		format, picture := strings.CutPrefix(head, "data:image/")
		if b.Content == "" && found && picture {
			bytes, _ := base64.StdEncoding.DecodeString(data) // what is none has no bytes
			fmt.Fprintf(&said, " (saw %s of %d bytes)", format, len(bytes))
		}
	}
	return said.String()
}

func usage(prompt, said string) object {
	in, out := stage.Tokens(prompt), stage.Tokens(said)
	return object{
		"prompt_tokens": in, "completion_tokens": out, "total_tokens": in + out,
		"prompt_tokens_details":     object{"cached_tokens": 0, "audio_tokens": 0},
		"completion_tokens_details": object{"reasoning_tokens": 0, "audio_tokens": 0},
	}
}
