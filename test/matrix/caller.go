package matrix

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/test/gate"
)

// Path is what a Caller asks for in a matrix: a chat, with a query of its own.
const Path = "/v1/chat/completions?trace=a%2Fb"

// Caller is a client with one connection, and so with one of Envoy's workers, whose
// connections to providers are not shared with others.
type Caller struct {
	gate   *gate.Gate
	client *http.Client
}

// NewCaller makes a caller, whose connection ends with the test.
func NewCaller(t *testing.T, g *gate.Gate) *Caller {
	t.Helper()
	c := &Caller{gate: g, client: &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}}
	t.Cleanup(c.client.CloseIdleConnections)
	return c
}

// headers are a caller's own, as pairs of name and value.
var headers = []string{
	"Accept", "text/event-stream, */*", "X-Own", "kept",
	// What a client may try to have passed on in our name.
	"X-Postern-Tenant", "forged", "X-Envoy-Retry-On", "5xx", "X-Forwarded-For", "203.0.113.9",
	"Cookie", "session=mine", "Api-Key", "mine", "X-Amz-Security-Token", "mine", "X-Amz-Date", "mine",
	"X-Amzn-Bedrock-Trace", "mine", "X-Amzn-Bedrock-Guardrailidentifier", "mine",
}

// Post sends a body with an id of the caller's own, and gives the answer and its text.
func (c *Caller) Post(t *testing.T, path, id, body string) (*http.Response, string) {
	t.Helper()
	response, err := c.gate.Send(t.Context(), c.client, path, body, append([]string{"X-Request-Id", id}, headers...)...)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, string(text)
}
