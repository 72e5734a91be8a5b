package bedrock

import (
	"net/url"
	"strings"
	"testing"

	"github.com/postern-proxy/postern/test/fake/stage"
)

// Request is what arrived, and what this server made of it.
type Request struct {
	stage.Request

	Model     string    // decoded, as it stands in the path
	Operation string    // "converse", "converse-stream", "invoke"; empty for other paths
	Signature Signature // as claimed; zero if there was none
	Refusal   string    // why an honest service refuses it, "Name: message"; empty if it does not
}

// Counts is what happened since the start, or since Reset.
type Counts = stage.Counts

// place reads model and operation from a path whose model may be escaped or not,
// slashes of an ARN included.
func place(target string) (model, operation string) {
	path, _, _ := strings.Cut(target, "?")
	rest, ok := strings.CutPrefix(path, "/model/")
	cut := strings.LastIndexByte(rest, '/')
	if !ok || cut < 0 {
		return "", ""
	}
	model, err := url.PathUnescape(rest[:cut])
	if err != nil {
		return "", ""
	}
	return model, rest[cut+1:]
}

// NoRefusals fails the test for every recorded request an honest service would have
// refused, whatever a behaviour made of it.
func (s *Server) NoRefusals(tb testing.TB) {
	tb.Helper()
	for _, r := range s.Requests() {
		if r.Refusal != "" {
			tb.Errorf("request %d (%s %s) is not one Bedrock takes: %s", r.Number, r.Method, r.Target, r.Refusal)
		}
	}
}

// Reset forgets all requests, counters, behaviours and the clock's error, and welcomes
// connections again. It does not end answers under way, nor Refuse; credentials stay.
func (s *Server) Reset() {
	s.script.Reset()
	s.Skew(0)
	s.Stage.Reset()
}
