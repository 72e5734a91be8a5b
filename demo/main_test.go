package demo_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"
	"go.uber.org/goleak"

	"github.com/postern-proxy/postern/demo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC)

// model is one whose ids and times are known, without delays.
func model() *demo.Model {
	return &demo.Model{
		Clock: func() time.Time { return noon },
		NewID: func(prefix string) string { return prefix + "1" },
	}
}

func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// sdk is OpenAI's own client, without retries, so that every error is seen.
func sdk(t *testing.T) openai.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return openai.NewClient(
		option.WithBaseURL(serve(t, model())+"/v1"), option.WithAPIKey("pk_none"),
		option.WithMaxRetries(0), option.WithHTTPClient(&http.Client{Transport: transport}),
	)
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// post asks the model without a network; the answer's status and body.
func post(t *testing.T, path, body string) (int, string) {
	t.Helper()
	recorder := httptest.NewRecorder()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	model().ServeHTTP(recorder, request)
	text, err := io.ReadAll(recorder.Body)
	require.NoError(t, err)
	return recorder.Code, string(text)
}

// ask is post for requests that must be answered.
func ask(t *testing.T, path, body string) gjson.Result {
	t.Helper()
	status, text := post(t, path, body)
	require.Equal(t, http.StatusOK, status, text)
	require.True(t, gjson.Valid(text), text)
	return gjson.Parse(text)
}

// listen is post for streams: the data of each event, "[DONE]" included.
func listen(t *testing.T, path, body string) []string {
	t.Helper()
	status, text := post(t, path, body)
	require.Equal(t, http.StatusOK, status, text)
	var out []string
	for event := range strings.SplitSeq(strings.TrimSuffix(text, "\n\n"), "\n\n") {
		_, data, found := strings.Cut(event, "data: ")
		require.True(t, found, event)
		require.NotContains(t, data, "\n")
		out = append(out, data)
	}
	return out
}

// joined is a string that is spread over the chunks of a stream.
func joined(chunks []string, path string) string {
	var out strings.Builder
	for _, chunk := range chunks {
		out.WriteString(gjson.Get(chunk, path).Str)
	}
	return out.String()
}
