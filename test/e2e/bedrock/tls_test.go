package bedrock_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/bedrock"
	"github.com/postern-proxy/postern/test/gate"
)

// TestOverTLS: as the service is reached, over HTTP/2 and HTTP/1.1, its name signed.
func TestOverTLS(t *testing.T) {
	for name, options := range map[string][]fake.Option{
		"HTTP/2.0": {fake.WithTLS(nil)},
		"HTTP/1.1": {fake.WithTLS(nil), fake.WithoutHTTP2()},
	} {
		t.Run(name, func(t *testing.T) {
			server := fake.Start(t, options...)
			folder := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(folder, "ca.pem"), server.CA(), 0o600))
			url := strings.Replace(server.URL(), "127.0.0.1", "localhost", 1)
			g := gate.Start(t, gate.Settings{
				Folder: folder, Env: credentials(fake.Test),
				Config: "listen: {address: \"{{address}}\"}\nproviders:\n  aws: {schema: bedrock, region: us-east-1, url: \"" + url + "\", ca: file:ca.pem}\nmodels:\n" + only("haiku", claude) + only("arn", arn),
			})
			h := &house{Gate: g, bedrock: server}
			server.ForText("large", fake.Behavior{Size: 6 << 20})
			for range 3 {
				for _, model := range []string{"haiku", "arn"} {
					r, text := h.ask(t, hello(model, ""))
					require.Equal(t, 200, r.StatusCode, text)
					e := h.stream(t, model, "hello there")
					require.NoError(t, e.err)
					assert.Equal(t, done, e.last)
				}
				r, text := h.ask(t, said("haiku", "large", ""))
				require.Equal(t, 200, r.StatusCode)
				assert.Greater(t, len(text), 6<<20)
			}
			assert.Equal(t, name, server.Last().Proto)
			assert.Equal(t, strings.TrimPrefix(url, "https://"), server.Last().Host)
			server.NoRefusals(t)
		})
	}
}
