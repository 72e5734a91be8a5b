package lifecycle_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/test/authority"
	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

// The secrets of the gate below.
const (
	byVariable = "sk-test-very-secret-variable"
	byFile     = "sk-test-very-secret-file"
	pasted     = "sk-test-very-secret-pasted"
	anybody    = "sk-test-very-secret-clients" // what a client sends by mistake
)

// Whatever goes wrong, nobody finds a secret where it does not belong.
func TestSecretsStayWhereTheyBelong(t *testing.T) {
	provider, failing := fake.Start(t), fake.Start(t)
	certificate, privateKey, _ := pair(t, authority.New(t))
	folder := t.TempDir()
	for name, text := range map[string]string{"provider.key": byFile, "tls.crt": certificate, "tls.key": privateKey} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	text := fmt.Sprintf(`
listen: {address: "{{address}}", tls: {certificate: "file:tls.crt", key: "file:tls.key"}}
providers:
  good: {schema: openai, url: "%s/v1", key: "${GOOD_KEY}"}
  failing: {schema: openai, url: "%s/v1", key: "file:provider.key"}
  dead: {schema: openai, url: "http://%s/v1", key: "${GOOD_KEY}"}
models:
  good: {route: [[{provider: good}]]}
  read: {system: Be brief., route: [[{provider: good}]]}
  failing: {route: [[{provider: failing}]], timeouts: {first_byte: 300ms}}
  dead: {route: [[{provider: dead}], [{provider: failing, model: other}]]}
tiers: {default: {}}
`, provider.URL(), failing.URL(), gate.FreeAddress(t))
	g := gate.Start(t, gate.Settings{Config: text, Folder: folder, TLS: true, Env: []string{"GOOD_KEY=" + byVariable}})
	printed := strings.Count(g.Output(), g.Key)
	require.Equal(t, 3, printed, "the key is shown at the start: alone, in the line to paste, for a client")

	misbehave(t, g, failing)
	for _, model := range []string{"good", "read"} {
		a, err := ask(t.Context(), insecure(t), g, chatPath, chatBody(model, ""))
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, a.status, a.body)
	}
	requireOnlyAuthorization(t, provider, byVariable, g.Key)
	requireOnlyAuthorization(t, failing, byFile, g.Key)

	// Somebody pastes a key where a reference belongs, and takes it back.
	g.Write(t, strings.Replace(text, "${GOOD_KEY}", pasted, 1))
	require.True(t, g.WaitOutput("the last good version stays", soon))
	validated := run(t, "validate", g.File)
	explained := run(t, "explain", "good", "--config", g.File)
	status := run(t, "status", "--data", g.Data)
	statusJSON := run(t, "status", "--json", "--data", g.Data)
	require.Equal(t, []int{1, 1, 1, 1}, []int{validated.code, explained.code, status.code, statusJSON.code})
	g.Write(t, text)
	require.Eventually(t, func() bool { return run(t, "status", "--data", g.Data).code == 0 }, soon, glance)

	places := map[string]string{
		"the status":        fmt.Sprint(run(t, "status", "--data", g.Data), run(t, "status", "--json", "--data", g.Data)),
		"a bad status":      fmt.Sprint(status, statusJSON),
		"what commands say": fmt.Sprint(validated, explained),
	}
	for _, path := range []string{"/config_dump?include_eds", "/clusters", "/certs", "/stats", "/server_info", "/init_dump", "/listeners"} {
		places["Envoy's "+path] = adminSays(t, g, path)
	}
	require.Contains(t, places["Envoy's /config_dump?include_eds"], "dynamic_active_secrets", "the dump is whole")
	for _, name := range []string{"envoy.json", "folder"} {
		text, err := os.ReadFile(filepath.Join(runFolder(t, g), name))
		require.NoError(t, err)
		places[name] = string(text)
	}
	arguments := ""
	for _, pid := range []int{g.PID(), envoyOf(t, g)} {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		require.NoError(t, err)
		arguments += string(line)
	}
	places["the command lines"] = arguments

	g.Interrupt()
	require.Equal(t, 0, g.Wait(t, patience))
	places["the output"], places["Envoy's log"] = g.Output(), g.EnvoyLog()
	require.Contains(t, g.EnvoyLog(), "provider", "the failures are logged")
	for place, text := range places {
		require.NotEmpty(t, text, place)
		for _, secret := range []string{byVariable, byFile, pasted, anybody, strings.Split(privateKey, "\n")[2]} {
			assert.NotContains(t, text, secret, place)
		}
		if place != "the output" {
			assert.NotContains(t, text, g.Key, place)
			assert.NotContains(t, text, g.Key[strings.LastIndex(g.Key, ".")+1:], "%s: the signature", place)
		}
	}
	assert.Equal(t, printed, strings.Count(g.Output(), g.Key), "the key is shown at the start and never again")
}

// insecure is a client that asks for no certificate.
func insecure(t *testing.T) *http.Client {
	t.Helper()
	c := client(t)
	c.Transport.(*http.Transport).TLSClientConfig = trustAll()
	return c
}

// misbehave makes everything fail that a client and a provider can make fail.
func misbehave(t *testing.T, g *gate.Gate, failing *fake.Server) {
	t.Helper()
	c := insecure(t)
	for _, word := range []string{"401", "429", "500", "close", "reset", "garbage", "garbage-json", "huge-headers", "silence", "stall", "cut"} {
		for _, model := range []string{"failing", "dead"} {
			more := fmt.Sprintf(`,"user":"fake:%s"`, word)
			if word == "stall" || word == "cut" {
				more += `,"stream":true`
			}
			ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
			_, _ = ask(ctx, c, g, chatPath, chatBody(model, more)) // that it fails is the point
			cancel()
		}
	}
	failing.Greet(fake.HangUp)
	failing.Drop()
	_, _ = ask(t.Context(), c, g, chatPath, chatBody("failing", ""))

	forged := *g
	for _, key := range []string{anybody, "pk_" + anybody, g.Key + anybody, anybody + "." + anybody + "." + anybody} {
		forged.Key = key
		a, err := ask(t.Context(), c, &forged, chatPath, chatBody("good", ""))
		require.NoError(t, err)
		assert.Equal(t, http.StatusUnauthorized, a.status)
		assert.NotContains(t, a.body, anybody)
	}
	for _, path := range []string{chatPath, "/v1/nothing", "/v1/files"} {
		_, err := ask(t.Context(), c, g, path, `{"model":`)
		require.NoError(t, err)
	}
}

// requireOnlyAuthorization holds a provider to have been sent its own key in the one
// header, and the client's nowhere.
func requireOnlyAuthorization(t *testing.T, s *fake.Server, key, clients string) {
	t.Helper()
	require.NotEmpty(t, s.Requests())
	for _, r := range s.Requests() {
		assert.Equal(t, []string{"Bearer " + key}, r.Values("Authorization"))
		rest := r.Target + string(r.Body)
		for _, line := range r.Lines {
			if !strings.EqualFold(line.Name, "Authorization") {
				rest += line.Name + line.Value + "\n"
			}
		}
		assert.NotContains(t, rest, key)
		assert.NotContains(t, rest, clients)
		assert.NotContains(t, strings.ToLower(rest), "x-postern-")
	}
}

// adminSays is an answer of Envoy's admin interface.
func adminSays(t *testing.T, g *gate.Gate, path string) string {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", adminOf(t, g).Socket)
	}}
	response, err := (&http.Client{Transport: transport, Timeout: patience}).Get("http://envoy" + path)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode, path)
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(text)
}
