package bedrock

import (
	"net/http"

	"github.com/postern-proxy/postern/test/fake/stage"
)

// Judge says why an honest service does not take a call, as Request.Refusal has it:
// "Name: message", empty if it does. It is what a server without signatures would say,
// without a server, so that a fuzz target can ask it.
func Judge(path string, body []byte) string {
	r := &Request{Request: stage.Request{Method: http.MethodPost, Target: path, Body: body}}
	r.Model, r.Operation = place(path)
	if _, fault := (&Server{}).ordinary(r, Behavior{}); fault != nil {
		return fault.Name + ": " + fault.Message
	}
	return ""
}
