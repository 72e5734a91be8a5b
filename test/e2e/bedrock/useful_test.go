package bedrock_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/tidwall/gjson"

	fake "github.com/postern-proxy/postern/test/fake/bedrock"
	"github.com/postern-proxy/postern/test/fake/openai"
)

// TestTheMostUsefulErrorOfBothForms: who was busy is told of, whatever form it spoke, where
// the last one said less.
func TestTheMostUsefulErrorOfBothForms(t *testing.T) {
	h := build(t, mixed+steady)
	for name, c := range map[string]struct {
		model   string
		openai  openai.Behavior
		bedrock fake.Behavior
		after   string
	}{
		"OpenAI busy, Bedrock failing":    {"there", openai.RateLimited(7 * time.Second), fake.Fail(fake.Internal), "7"},
		"OpenAI busy, Bedrock refuses us": {"there", openai.RateLimited(7 * time.Second), fake.Fail(fake.AccessDenied), "7"},
		"OpenAI busy, Bedrock dead":       {"there", openai.RateLimited(7 * time.Second), fake.NoAnswer(fake.Reset), "7"},
		"Bedrock busy, OpenAI dead":       {"back", openai.NoAnswer(openai.Reset), fake.Throttled(9 * time.Second), "9"},
		"Bedrock busy, OpenAI refuses us": {"back", openai.Status(401), fake.Throttled(9 * time.Second), "9"},
	} {
		t.Run(name, func(t *testing.T) {
			h.openai.Always(c.openai)
			h.bedrock.Always(c.bedrock)
			r, text := h.ask(t, hello(c.model, ""))
			assert.Equal(t, 429, r.StatusCode, text)
			assert.Equal(t, "rate_limit_exceeded", gjson.Get(text, "error.code").String(), text)
			assert.Equal(t, []string{c.after}, r.Header["Retry-After"])
			assert.Equal(t, []string{"true"}, r.Header["X-Should-Retry"])
			assert.Equal(t, "2", r.Header.Get("X-Postern-Attempts"))
		})
	}
}
