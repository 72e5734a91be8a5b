package attempts_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

// TestEachAttemptHasItsOwnTLS: host, server name and authority are those of the attempt's
// provider, also after one of another name failed, and a provider whose certificate is
// another authority's is not spoken to. One provider is known by a name and one by its
// address, which no server name may be.
func TestEachAttemptHasItsOwnTLS(t *testing.T) {
	named, bare := fake.StartTLS(t), fake.StartTLS(t)
	folder := t.TempDir()
	for name, s := range map[string]*fake.Server{"named": named, "bare": bare} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name+".pem"), s.CA(), 0o600))
	}
	byName := strings.Replace(named.Address(), "127.0.0.1", "localhost", 1)
	g := gate.Start(t, gate.Settings{Folder: folder, Config: fmt.Sprintf(`
listen: {address: "{{address}}"}
health: {probe: off, breakers: off}
providers:
  named: {schema: openai, url: "https://%[1]s/v1", ca: "file:%[3]s/named.pem"}
  bare: {schema: openai, url: "https://%[2]s/api/v1", ca: "file:%[3]s/bare.pem"}
  stranger: {schema: openai, url: "https://%[2]s/v1", ca: "file:%[3]s/named.pem"}
models:
  there: {route: [[{provider: named}], [{provider: bare}]]}
  back: {route: [[{provider: bare}], [{provider: named}]]}
  stranger: {route: [[{provider: stranger}], [{provider: named}]]}
`, byName, bare.Address(), folder)})
	for round := range 2 { // cold connections, then warm ones
		named.Next(1, fake.Status(http.StatusServiceUnavailable))
		response, text := g.Chat(t.Context(), t, "there")
		require.Equal(t, http.StatusOK, response.StatusCode, text)
		seen := bare.Last()
		assert.Equal(t, []string{bare.Address(), "", "/api/v1/chat/completions"}, []string{seen.Host, seen.SNI, seen.Target}, round)
		bare.Next(1, fake.Status(http.StatusServiceUnavailable))
		response, text = g.Chat(t.Context(), t, "back")
		require.Equal(t, http.StatusOK, response.StatusCode, text)
		seen = named.Last()
		assert.Equal(t, []string{byName, "localhost", "/v1/chat/completions"}, []string{seen.Host, seen.SNI, seen.Target}, round)
	}
	before := bare.Counts().Requests
	response, text := g.Chat(t.Context(), t, "stranger")
	require.Equal(t, http.StatusOK, response.StatusCode, text)
	assert.Equal(t, []string{"named"}, response.Header["X-Postern-Provider"])
	assert.Equal(t, before, bare.Counts().Requests)
}
