package hold_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/test/fake/bedrock"
	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

// TestAProviderOfAnotherForm is held until the first byte that it sends, in whatever form.
func TestAProviderOfAnotherForm(t *testing.T) {
	aws, b := bedrock.Start(t), fake.Start(t)
	h := &house{b: b, client: gate.Client()}
	h.Gate = gate.Start(t, gate.Settings{
		Config: fmt.Sprintf(`
listen: {address: "{{address}}"}
health: {failures: 1000, ratio: 1, window: 100ms}
providers:
  aws: {schema: bedrock, region: us-east-1, url: %q, probe: off}
  b: {schema: openai, url: "%s/v1", probe: off}
models:
  held:
    route: [[{provider: aws, model: us.anthropic.claude-haiku-4-5-20251001-v1:0}], [{provider: b}]]
    hold: first_event
    timeouts: {first_byte: 600ms, idle: 10s}
`, aws.URL(), b.URL()),
		Env: []string{
			"AWS_ACCESS_KEY_ID=" + bedrock.Test.ID, "AWS_SECRET_ACCESS_KEY=" + bedrock.Test.Secret,
			"AWS_SESSION_TOKEN=" + bedrock.Test.Token, "AWS_EC2_METADATA_DISABLED=true",
		},
	})
	for _, stream := range []bool{true, false} {
		for name, bad := range map[string]bedrock.Behavior{
			"stalls after the headers": bedrock.BreakOff(bedrock.Stall),
			"is cut after the headers": bedrock.BreakOff(bedrock.Close),
			"is reset":                 bedrock.BreakOff(bedrock.Reset),
		} {
			t.Run(fmt.Sprintf("%s, stream %t", name, stream), func(t *testing.T) {
				aws.Reset()
				b.Reset()
				require.Equal(t, "aws", h.ask(t.Context(), t, chat("held", stream)).from, "well as long as it is well")
				aws.Next(1, bad)
				got := h.ask(t.Context(), t, chat("held", stream))
				require.NoError(t, got.err)
				require.Equal(t, http.StatusOK, got.status, got.text)
				assert.Equal(t, "b", got.from)
				assert.Equal(t, stream, strings.HasSuffix(got.text, "data: [DONE]\n\n"), got.text)
				assert.Less(t, got.took, firstByte+2*time.Second)
			})
		}
	}
}
