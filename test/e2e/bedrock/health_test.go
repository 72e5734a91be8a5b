package bedrock_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	fake "github.com/postern-proxy/postern/test/fake/bedrock"
)

// TestWhatBedrocksErrorsSayOfIt, by the metrics: a limit is a limit, whatever its status
// is and wherever it is said, and a mistake is nobody's failure.
func TestWhatBedrocksErrorsSayOfIt(t *testing.T) {
	h := build(t, `
  limited: {route: [[{provider: aws, model: "`+claude+`"}]]}
  quota: {route: [[{provider: aws, model: "`+nova+`"}]]}
  failed: {route: [[{provider: aws, model: "`+titan+`"}]]}
  mistaken: {route: [[{provider: aws, model: "`+sight+`"}]]}
`)
	streamed := `"stream":true`
	for _, c := range []struct {
		entry, more string
		behavior    fake.Behavior
	}{
		{"limited", streamed, fake.FailInStream(fake.Throttling, 2)},
		{"quota", "", fake.Fail(fake.QuotaExceeded)},
		{"failed", "", fake.Fail(fake.ModelError)},
		{"mistaken", streamed, fake.FailInStream(fake.Validation, 2)},
	} {
		h.bedrock.Next(1, c.behavior)
		h.ask(t, hello(c.entry, c.more), "X-Request-Id", "says-"+c.entry)
	}
	var record string
	require.Eventually(t, func() bool {
		_, record = h.Request(t.Context(), t, http.MethodGet, "/v1/usage/says-mistaken", "")
		return gjson.Get(record, "id").Exists()
	}, 10*time.Second, 50*time.Millisecond)
	assert.Equal(t, "client", gjson.Get(record, "blame").String(), record)
	h.bedrock.Next(1, fake.Fail(fake.Internal))
	h.ask(t, hello("mistaken", ""))
	metrics := func() string {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+h.Metrics+"/metrics", nil)
		require.NoError(t, err)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return string(text)
	}
	for _, want := range []string{
		`postern_provider_recent_attempts{key="",model="` + claude + `",provider="aws",result="limited"} 1`,
		`postern_provider_recent_attempts{key="",model="` + nova + `",provider="aws",result="limited"} 1`,
		`postern_provider_recent_attempts{key="",model="` + titan + `",provider="aws",result="failed"} 1`,
		`postern_provider_recent_attempts{key="",model="` + sight + `",provider="aws",result="failed"} 1`, // the last one
		`postern_provider_limited{key="",model="` + sight + `",provider="aws"} 0`,
	} {
		require.Eventually(t, func() bool { return strings.Contains(metrics(), want) }, 10*time.Second, 50*time.Millisecond, want)
	}
}
