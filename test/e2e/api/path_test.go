package api_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestNoPathLeadsRoundTheModels asks for a model that is not configured, by paths that
// are not an endpoint's own and that a provider may take for it. Were they passed on
// as "other paths", a client would choose any model of the default provider, and be
// under no model's timeouts or groups.
func TestNoPathLeadsRoundTheModels(t *testing.T) {
	h := shared(t)
	for _, path := range []string{
		"/v1/chat/completions/", "/v1/chat/completions//", "/v1/chat%2Fcompletions", "/v1/chat%2fcompletions", "/v1/%63hat/completions",
		"/v1/chat/completions%20", "/v1/chat/completions%2F", "/v1/chat/completions%3Fx", "/v1/chat/completions;x=1",
		"/v1/Chat/Completions", "/v1/CHAT/COMPLETIONS", "/v1/chat\\completions", "/v1/chat/completions#x", "/v1/chat/completions%00",
		"/v1/x/..%2fchat/completions", "/v1/%2e%2e%2fv1/chat/completions", "/v1/chat%5Ccompletions", "/v1%2Fchat%2Fcompletions",
		"/v1/completions/", "/v1/embeddings/", "/v1/responses/", "/v1/Embeddings",
	} {
		t.Run(path, func(t *testing.T) {
			h.main.Reset()
			r := row{request: request{target: path, body: `{"model":"not-configured","input":"x","messages":[]}`}}.on(h, native)
			a := speak(t, h.Address, http.MethodPost, r.request)
			assert.Contains(t, []int{http.StatusBadRequest, http.StatusNotFound}, a.status, a.body)
			assert.Zero(t, h.main.Counts().Requests, "the provider was asked for %s", h.main.Last().Target)
		})
	}
}
