package bedrock

import (
	"bytes"
	"fmt"
	"net/http"

	"github.com/tidwall/gjson"
)

// answer is what a request gets before a performance sends it: either a body or the
// frames of a stream.
type answer struct {
	status   int
	header   http.Header
	body     []byte
	frames   [][]byte
	metadata int // which of the frames is the metadata; 0: none
}

func whole(status int, body []byte) answer {
	return answer{status: status, header: http.Header{"Content-Type": {"application/json"}}, body: body}
}

func (a answer) stream() bool { return a.frames != nil }

func (a answer) pieces(together bool) [][]byte {
	switch {
	case !a.stream():
		return [][]byte{a.body}
	case together:
		return [][]byte{bytes.Join(a.frames, nil)}
	}
	return a.frames
}

// answer judges the request, writes the judgement into it, and lays what the
// behaviour says over the ordinary answer.
func (s *Server) answer(r *Request, b Behavior) answer {
	a := s.judged(r, b)
	if b.Status != 0 {
		a.status = b.Status
	}
	a.header.Set("X-Amzn-Requestid", fmt.Sprintf("00000000-0000-4000-8000-%012d", r.Number))
	return a
}

func (s *Server) judged(r *Request, b Behavior) answer {
	a := whole(http.StatusOK, []byte("{}"))
	if !b.IgnoreBody {
		fault := s.gate.check(r)
		if fault != nil {
			return refusal(r, fault)
		}
		if a, fault = s.ordinary(r, b); fault != nil {
			a = refusal(r, fault)
		}
	}
	switch {
	case b.Body != nil:
		status := a.status
		a = whole(status, b.Body)
	case b.Exception.Name != "" && (!b.InStream || !a.stream()):
		a = b.Exception.answer()
	}
	return a
}

func refusal(r *Request, fault *Exception) answer {
	r.Refusal = fault.Name + ": " + fault.Message
	return fault.answer()
}

// ordinary is the answer to a request, or why there is none.
func (s *Server) ordinary(r *Request, b Behavior) (answer, *Exception) {
	if r.Method != http.MethodPost {
		return answer{}, UnknownOperation.With("Unable to determine service/operation name to be authorized")
	}
	switch r.Operation {
	case "converse", "converse-stream", "invoke":
	default:
		return answer{}, UnknownOperation.With("Unable to determine service/operation name to be authorized")
	}
	m, fault := s.model(r.Model)
	if fault != nil {
		return answer{}, fault
	}
	if !gjson.ValidBytes(r.Body) || !gjson.ParseBytes(r.Body).IsObject() {
		return answer{}, Serialization.With("The body is not a JSON object.")
	}
	if r.Operation == "invoke" {
		return embed(r, m)
	}
	if fault := conversation(r, m); fault != nil {
		return answer{}, fault
	}
	said := compose(r, b, m)
	if r.Operation == "converse-stream" {
		return said.frames(b), nil
	}
	return said.whole(), nil
}
