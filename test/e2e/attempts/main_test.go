package attempts_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/test/gate"
)

func TestMain(m *testing.M) { gate.Main(m.Run) }

// caller is a client with one connection, and so with one of Envoy's workers, whose
// connections to providers are not shared with others.
type caller struct {
	gate   *gate.Gate
	client *http.Client
}

func newCaller(t *testing.T, g *gate.Gate) *caller {
	t.Helper()
	c := &caller{gate: g, client: &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}}
	t.Cleanup(c.client.CloseIdleConnections)
	return c
}

// post sends a body with an id of the caller's own, and gives the answer and its text.
func (c *caller) post(t *testing.T, path, id, body string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.gate.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	for name, value := range map[string]string{
		"Authorization": "Bearer " + c.gate.Key, "Content-Type": "application/json", "X-Request-Id": id,
		// What a client may try to have passed on in our name.
		"X-Postern-Tenant": "forged", "X-Envoy-Retry-On": "5xx", "X-Forwarded-For": "203.0.113.9",
		"Cookie": "session=mine", "Api-Key": "mine", "X-Amz-Security-Token": "mine", "X-Own": "kept",
	} {
		request.Header.Set(name, value)
	}
	response, err := c.client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, string(text)
}
