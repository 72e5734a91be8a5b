package openai

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/test/fake/stage"
)

// Request is what arrived.
type Request = stage.Request

// HeaderLine is one header as it came: order, case and repetition kept.
type HeaderLine = stage.HeaderLine

// Counts is what happened since the start, or since Reset.
type Counts = stage.Counts

// beginning is a request of whose body only the first n bytes are kept; 0: all.
func beginning(r Request, n int) Request {
	if n > 0 && len(r.Body) > n {
		r.Body = slices.Clone(r.Body[:n])
	}
	return r
}

// Said is what an answer says, or would if nothing broke it off.
type Said struct {
	Status int
	Usage  gjson.Result // its usage object, the last one of a stream; it does not exist if there is none
}

// said reads an answer as a provider knows it.
func (a answer) said() Said {
	s := Said{Status: a.status, Usage: gjson.GetBytes(a.body, "usage")}
	for _, event := range a.events {
		_, data, _ := strings.Cut(string(event), "data: ")
		for _, path := range []string{"usage", "response.usage"} {
			if usage := gjson.Get(data, path); usage.IsObject() {
				s.Usage = usage
			}
		}
	}
	return s
}

// Reset forgets all requests, counters and behaviours, and welcomes connections
// again. It does not end answers under way, nor Refuse.
func (s *Server) Reset() {
	s.script.Reset()
	s.Stage.Reset()
}
