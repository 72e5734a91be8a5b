package lanes_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

func TestMain(m *testing.M) { gate.Main(m.Run) }

// document is a configuration whose providers are two fakes; more stands under
// models.
func document(one, two *fake.Server, models string) string {
	return fmt.Sprintf(`
listen: {address: "{{address}}"}
health: {probe: off, breakers: off}
providers:
  one: {schema: openai, url: %q, key: "${ONE_KEY}"}
  two: {schema: openai, url: %q, key: "${TWO_KEY}", headers: {x-two: "yes"}}
models:
  plain: {route: [[{provider: one}]]}
%s
`, one.URL()+"/v1", two.URL()+"/v1", models)
}

var keys = []string{"ONE_KEY=sk-one", "TWO_KEY=sk-two"}

func chat(model string) string {
	return fmt.Sprintf(`{"model":%q, "temperature": 1.0, "messages":[{"role":"user","content":"Hello"}], "x":12345678901234567890}`, model)
}

// large is a chat of about size bytes.
func large(model string, size int) string {
	return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"%s"}]}`, model, strings.Repeat("x", size))
}

// statuses sends n copies of a body at once and counts the answers by status.
func statuses(t *testing.T, g *gate.Gate, n int, body string, each func(*http.Response, string)) map[int]int {
	t.Helper()
	var mu sync.Mutex
	counted := map[int]int{}
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			response, err := g.Send(t.Context(), gate.Client(), "/v1/chat/completions", body)
			if err != nil {
				t.Error(err)
				return
			}
			defer response.Body.Close()
			text, err := io.ReadAll(response.Body)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			counted[response.StatusCode]++
			if each != nil {
				each(response, string(text))
			}
		})
	}
	all.Wait()
	return counted
}

// unavailable demands the refusal of a gate that cannot read a body now.
func unavailable(t *testing.T, status int, body string) {
	t.Helper()
	require.Equal(t, http.StatusServiceUnavailable, status, body)
	require.Contains(t, body, `"code":"gateway_unavailable"`)
	require.Contains(t, body, `"type":"server_error"`)
	require.NotContains(t, body, "ext_proc")
	require.NotContains(t, body, ".sock")
}
