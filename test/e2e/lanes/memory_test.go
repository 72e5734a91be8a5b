package lanes_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

// A body that is announced and never comes holds nothing here, and its connection
// does not stop others.
func TestABodyThatIsAnnouncedAndDoesNotCome(t *testing.T) {
	one, two := fake.Start(t), fake.Start(t)
	g := gate.Start(t, gate.Settings{Env: keys, Config: document(one, two, kind) + "extproc: {memory: 128MiB}\n"})
	for range 50 {
		c := announce(t, g, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 20000000\r\n\r\n{\"model\":\"")
		t.Cleanup(func() { _ = c.Close() })
	}
	r, text := g.Request(t.Context(), t, http.MethodPost, "/v1/chat/completions", large("kind", 1<<20))
	require.Equal(t, http.StatusOK, r.StatusCode, text)
}
