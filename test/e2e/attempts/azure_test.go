package attempts_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

// TestAzure asks Azure in both of its forms, by names that are fixed and by names that
// are the client's.
func TestAzure(t *testing.T) {
	azure, other := fake.Start(t), fake.Start(t)
	g := gate.Start(t, gate.Settings{
		Env: []string{"AZURE_KEY=azure-key", "OTHER_KEY=other-key"},
		Config: fmt.Sprintf(`
listen: {address: "{{address}}"}
health: {probe: off, breakers: off}
providers:
  classic: {schema: azure, url: %q, api_version: 2024-10-21, key: "${AZURE_KEY}"}
  behind: {schema: azure, url: "%s/gate/way", api_version: v9, key: "${AZURE_KEY}"}
  v1: {schema: azure, url: "%s/openai/v1", key: "${AZURE_KEY}"}
  preview: {schema: azure, url: "%s/openai/v1", api_version: preview, key: "${AZURE_KEY}"}
  other: {schema: openai, url: "%s/v1", key: "${OTHER_KEY}"}
models:
  gpt-4o: {route: [[{provider: classic}]]}
  named: {route: [[{provider: classic, model: my_gpt-4.1}]]}
  "az/*": {route: [[{provider: classic, model: "x-*-y"}]]}
  "any-*": {route: [[{provider: behind}]]}
  new: {route: [[{provider: v1}]]}
  newer: {route: [[{provider: preview, model: dep}]]}
  "*": {route: [[{provider: other}], [{provider: classic}]]}
`, azure.URL(), azure.URL(), azure.URL(), azure.URL(), other.URL()),
	})
	const chat, version = "/chat/completions", "?api-version=2024-10-21"
	for _, c := range []struct{ model, path, target, asked string }{
		{"gpt-4o", chat, "/openai/deployments/gpt-4o/chat/completions" + version, "gpt-4o"},
		{"gpt-4o", chat + "?api-version=1&x=2", "/openai/deployments/gpt-4o/chat/completions" + version, "gpt-4o"},
		{"gpt-4o", "/completions", "/openai/deployments/gpt-4o/completions" + version, "gpt-4o"},
		{"gpt-4o", "/embeddings", "/openai/deployments/gpt-4o/embeddings" + version, "gpt-4o"},
		{"gpt-4o", "/responses", "/openai/responses" + version, "gpt-4o"},
		{"named", chat, "/openai/deployments/my_gpt-4.1/chat/completions" + version, "my_gpt-4.1"},
		{"az/4o", chat, "/openai/deployments/x-4o-y/chat/completions" + version, "x-4o-y"},
		{"any-4o", chat, "/gate/way/openai/deployments/any-4o/chat/completions?api-version=v9", "any-4o"},
		{"new", chat + "?x=1", "/openai/v1/chat/completions?x=1", "new"},
		{"newer", chat, "/openai/v1/chat/completions?api-version=preview", "dep"},
	} {
		t.Run(c.model+c.path, func(t *testing.T) {
			response, text := g.Request(t.Context(), t, http.MethodPost, "/v1"+c.path, fmt.Sprintf(`{"model":%q,"input":"x"}`, c.model))
			require.Equal(t, http.StatusOK, response.StatusCode, text)
			seen := azure.Last()
			assert.Equal(t, c.target, seen.Target)
			assert.Equal(t, c.asked, seen.JSON("model").String())
			assert.Equal(t, []string{"azure-key"}, seen.Values("api-key"))
			assert.Empty(t, seen.Values("authorization"))
		})
	}

	// A name that might lead elsewhere is no deployment's.
	other.Always(fake.Status(http.StatusServiceUnavailable))
	for _, model := range []string{"az/../../files", "az/a/b", "az/%2e%2e", "az/a?b", "az/a#b", `az/a\b`, "az/ü", "any-..;/x", "..", ".", "a b", "x/y"} {
		t.Run(model, func(t *testing.T) {
			before := azure.Counts().Requests
			response, text := g.Request(t.Context(), t, http.MethodPost, "/v1"+chat, fmt.Sprintf(`{"model":%q,"messages":[]}`, model))
			assert.Contains(t, []int{http.StatusNotFound, http.StatusBadRequest}, response.StatusCode)
			assert.Contains(t, text, `"type":"invalid_request_error"`)
			assert.Equal(t, before, azure.Counts().Requests, "Azure was asked for %s", azure.Last().Target)
		})
	}
}
