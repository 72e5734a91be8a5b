package hold_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

// TestAProviderWithHTTP2 is cut by a reset of its stream, and not of its connection.
func TestAProviderWithHTTP2(t *testing.T) {
	folder := t.TempDir()
	h := &house{a: fake.StartTLS(t, "localhost"), b: fake.Start(t), client: gate.Client()}
	require.NoError(t, os.WriteFile(filepath.Join(folder, "ca.pem"), h.a.CA(), 0o600))
	h.Gate = gate.Start(t, gate.Settings{Folder: folder, Config: fmt.Sprintf(`
listen: {address: "{{address}}"}
health: {failures: 1000, ratio: 1, window: 100ms}
providers:
  a: {schema: openai, url: "%s/v1", probe: off, ca: "file:ca.pem"}
  b: {schema: openai, url: "%s/v1", probe: off}
models:
  held: {route: [[{provider: a}], [{provider: b}]], hold: first_event, timeouts: {first_byte: 600ms, idle: 10s}}
`, h.a.URL(), h.b.URL())})
	for name, bad := range map[string]fake.Behavior{
		"stalls":                       fake.BreakOff(fake.Stall),
		"is cut":                       fake.BreakOff(fake.Close),
		"is cut with its connection":   fake.BreakOff(fake.Reset),
		"is cut in its first event":    stoppedAt(fake.Behavior{}, fake.Close, 10),
		"stalls in its first event":    stoppedAt(fake.Behavior{}, fake.Stall, 10),
		"ends without an event":        events(comments),
		"ends with its headers":        events(""),
		"stalls after a comment":       stoppedAt(events(comments), fake.Stall, len(comments)),
		"stalls, each byte on its own": {ByteByByte: true, Break: fake.Break{How: fake.Stall, Bytes: 20}},
	} {
		t.Run(name, func(t *testing.T) {
			h.a.Reset()
			h.b.Reset()
			well := h.ask(t.Context(), t, chat("held", true))
			require.NoError(t, well.err)
			require.Equal(t, "a", well.from)
			require.Equal(t, "HTTP/2.0", h.a.Last().Proto)
			assert.True(t, strings.HasSuffix(well.text, "data: [DONE]\n\n"), well.text)
			h.a.Next(1, bad)
			got := h.ask(t.Context(), t, chat("held", true))
			require.NoError(t, got.err)
			assert.Equal(t, "b", got.from)
			assert.True(t, strings.HasSuffix(got.text, "data: [DONE]\n\n"), got.text)
		})
	}
}
