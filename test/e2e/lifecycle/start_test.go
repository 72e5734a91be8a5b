package lifecycle_test

import (
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
	"github.com/postern-proxy/postern/test/need"
)

// asShipped is the configuration that the repository has for newcomers, on a free
// address.
func asShipped(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), "postern.yaml"))
	require.NoError(t, err)
	const address = "address: 127.0.0.1:8080"
	require.Equal(t, 1, strings.Count(string(text), address))
	return strings.Replace(string(text), address, `address: "{{address}}"`, 1)
}

var curlLine = regexp.MustCompile(`(?m)^\s*(curl .*)$`)

// paste runs the printed line as a newcomer does; change may edit it before.
func paste(t *testing.T, g *gate.Gate, change func(string) string) string {
	t.Helper()
	need.Program(t, "curl")
	found := curlLine.FindStringSubmatch(g.Output())
	require.NotNil(t, found, "no curl line in:\n%s", g.Output())
	cmd := exec.Command("sh", "-c", change(found[1])+" --silent --show-error --max-time 20")
	cmd.Env = gate.Environment(t)
	printed, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", printed)
	return string(printed)
}

func asPrinted(line string) string { return line }

func TestTheFirstStart(t *testing.T) {
	data := filepath.Join(t.TempDir(), "new", "data")
	g := gate.Start(t, gate.Settings{Second: true, Config: asShipped(t), Data: data})

	assert.Contains(t, g.Output(), "Postern is open at "+g.URL+"\n")
	assert.Contains(t, g.Output(), "key    "+g.Key+"\n")
	assert.Contains(t, g.Output(), "(also in "+filepath.Join(data, "keys", "development.key")+")")
	assert.Contains(t, g.Output(), "model  demo\n")
	assert.Contains(t, g.Output(), "OPENAI_API_KEY is not set", "why there is no other model")
	assert.Contains(t, g.Output(), `base_url="`+g.URL+`/v1" and api_key="`+g.Key+`"`)

	answer := paste(t, g, asPrinted)
	assert.NotEmpty(t, gjson.Get(answer, "choices.0.message.content").String(), answer)
	streamed := paste(t, g, func(line string) string {
		return strings.Replace(line, `{"model"`, `{"stream": true, "model"`, 1)
	})
	assert.Greater(t, strings.Count(streamed, "data: "), 3)
	assert.Equal(t, "data: [DONE]", strings.TrimSpace(streamed[strings.LastIndex(streamed, "data: "):]))

	for _, model := range []string{"gpt-4o-mini", "o3"} {
		response, body := g.Chat(t.Context(), t, model)
		assert.Equal(t, http.StatusNotFound, response.StatusCode, model)
		assert.Equal(t, "model_not_found", gjson.Get(body, "error.code").String(), body)
	}
	_, models := g.Request(t.Context(), t, http.MethodGet, "/v1/models", "")
	assert.Equal(t, `["demo"]`, gjson.Get(models, "data.#.id").String())
	requirePrivate(t, data)
}

// requirePrivate holds everything in a data folder to its owner alone.
func requirePrivate(t *testing.T, data string) {
	t.Helper()
	seen := map[string]bool{}
	require.NoError(t, filepath.WalkDir(data, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(data, path)
		seen[name] = true
		want := fs.FileMode(0o600)
		if entry.IsDir() {
			want = 0o700
		}
		assert.Equal(t, want, info.Mode().Perm(), "%s", name)
		return nil
	}))
	for _, name := range []string{".", "keys", "keys/development.key", "keys/signing.pem", "run", "run/admin.sock", "envoy.log"} {
		assert.True(t, seen[name], "%s is not there", name)
	}
}

func TestASecondStartKeepsTheKey(t *testing.T) {
	data := t.TempDir()
	first := gate.Start(t, gate.Settings{Config: demoOnly, Data: data})
	first.Interrupt()
	require.Equal(t, 0, first.Wait(t, patience))

	second := gate.Start(t, gate.Settings{Config: demoOnly, Data: data})
	assert.Equal(t, first.Key, second.Key)
	response, body := second.Chat(t.Context(), t, "demo")
	assert.Equal(t, http.StatusOK, response.StatusCode, body)
}

func TestOpenAIFromTheEnvironment(t *testing.T) {
	const key = "sk-from-the-environment"
	provider := fake.Start(t, fake.WithKey(key))
	g := gate.Start(t, gate.Settings{
		Config: asShipped(t),
		Env:    []string{"OPENAI_API_KEY=" + key, "OPENAI_BASE_URL=" + provider.URL() + "/v1"},
	})
	assert.Contains(t, g.Output(), "model  gpt-4o-mini\n")
	assert.NotContains(t, g.Output(), "level=WARN")
	answer := paste(t, g, asPrinted)
	assert.Contains(t, gjson.Get(answer, "choices.0.message.content").String(), "Hello!", "the provider echoes")

	for _, model := range []string{"gpt-4o-mini", "o3", "ft:gpt-4o:acme::x1", "whatever 2"} {
		response, body := g.Chat(t.Context(), t, model)
		assert.Equal(t, http.StatusOK, response.StatusCode, body)
		seen := provider.Last()
		assert.Equal(t, model, seen.JSON("model").String())
		assert.Equal(t, []string{"Bearer " + key}, seen.Values("Authorization"))
		assert.Equal(t, provider.Address(), seen.Host)
	}
	before := provider.Counts().Requests
	response, body := g.Chat(t.Context(), t, "demo")
	assert.Equal(t, http.StatusOK, response.StatusCode, body)
	assert.Equal(t, before, provider.Counts().Requests, "demo answers itself")
}

// An address that means every interface is no address to paste.
func TestEveryInterface(t *testing.T) {
	address := gate.FreeAddress(t)
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	g := gate.Start(t, gate.Settings{Config: strings.Replace(demoOnly, "{{address}}", "0.0.0.0:"+port, 1)})
	assert.Contains(t, g.Output(), "Postern is open at http://"+address+"\n")
	assert.NotEmpty(t, gjson.Get(paste(t, g, asPrinted), "choices.0.message.content").String())
}

// A data folder may be deeper than a socket's path can be.
func TestADeepDataFolder(t *testing.T) {
	data := filepath.Join(t.TempDir(), strings.Repeat("deep/", 30), "data folder")
	g := gate.Start(t, gate.Settings{Config: demoOnly, Data: data})
	response, body := g.Chat(t.Context(), t, "demo")
	assert.Equal(t, http.StatusOK, response.StatusCode, body)
	assert.Equal(t, 0, run(t, "status", "--data", data).code)
	sockets := runFolder(t, g)
	require.DirExists(t, sockets)
	g.Interrupt()
	require.Equal(t, 0, g.Wait(t, patience))
	assert.NoDirExists(t, sockets)
}

// A model may be called what a shell and JSON would read otherwise.
func TestAModelWithQuotes(t *testing.T) {
	const model = `it's "the" $HOME one`
	g := gate.Start(t, gate.Settings{Config: `
listen: {address: "{{address}}"}
providers: {demo: {schema: openai, builtin: demo}}
models: {'it''s "the" $HOME one': {route: [[{provider: demo}]]}}
`})
	assert.Equal(t, model, gjson.Get(paste(t, g, asPrinted), "model").String())
}
