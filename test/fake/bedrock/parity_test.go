package bedrock_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	fake "github.com/postern-proxy/postern/test/fake/bedrock"
	"github.com/postern-proxy/postern/test/fake/openai"
)

// TestSaysAndCountsLikeTheOpenAIFake: one assertion is to fit both.
func TestSaysAndCountsLikeTheOpenAIFake(t *testing.T) {
	ours, theirs := fake.Start(t, fake.WithoutSignatures()), openai.Start(t)
	for _, said := range []string{"hello", "  spaced   out \n text ", "Grüße, \u4e16\u754c", strings.Repeat("long ", 300), "call a tool"} {
		for _, system := range []string{"", "be brief"} {
			quoted, err := json.Marshal(said)
			require.NoError(t, err)
			question := fmt.Sprintf(`{"messages":[{"role":"user","content":[{"text":%s}]}],`, quoted)
			mirror := fmt.Sprintf(`{"model":"m","messages":[{"role":"system","content":%q},{"role":"user","content":%s}],`, system, quoted)
			if system != "" {
				question += fmt.Sprintf(`"system":[{"text":%q}],`, system)
			}
			question += `"toolConfig":{"tools":[{"toolSpec":{"name":"a","inputSchema":{"json":{"type":"object"}}}},{"toolSpec":{"name":"b","inputSchema":{"json":{"type":"object"}}}}]}}`
			mirror += `"tools":[{"type":"function","function":{"name":"a"}},{"type":"function","function":{"name":"b"}}]}`
			_, got := post(t, ours, claude, "converse", question)
			want := postOpenAI(t, theirs, "/v1/chat/completions", mirror)

			assert.Equal(t, want.Get("choices.0.message.content").String(), gjson.Get(got, "output.message.content.0.text").String())
			assert.Equal(t, want.Get("choices.0.message.tool_calls.0.function.arguments").String(), gjson.Get(got, "output.message.content.0.toolUse.input").Raw)
			assert.Equal(t, want.Get("usage.prompt_tokens").Int(), gjson.Get(got, "usage.inputTokens").Int())
			assert.Equal(t, want.Get("usage.completion_tokens").Int(), gjson.Get(got, "usage.outputTokens").Int())
		}
	}
	_, got := post(t, ours, "amazon.titan-embed-text-v2:0", "invoke", `{"inputText":"some text","dimensions":256}`)
	want := postOpenAI(t, theirs, "/v1/embeddings", `{"model":"m","input":"some text","dimensions":256}`)
	assert.Equal(t, want.Get("data.0.embedding").Raw, gjson.Get(got, "embedding").Raw)
	assert.Equal(t, want.Get("usage.prompt_tokens").Int(), gjson.Get(got, "inputTextTokenCount").Int())
	ours.NoRefusals(t)
}

func postOpenAI(t *testing.T, server *openai.Server, path, body string) gjson.Result {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL()+path, strings.NewReader(body))
	require.NoError(t, err)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: patience}).Do(request)
	require.NoError(t, err)
	all, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return gjson.ParseBytes(all)
}
