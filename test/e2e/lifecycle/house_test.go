package lifecycle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/test/gate"
)

const (
	patience = 20 * time.Second
	glance   = 10 * time.Millisecond
	// soon is how long a change of the configuration may take until it is seen.
	soon = 3 * time.Second
)

const chatPath = "/v1/chat/completions"

func chatBody(model, more string) string {
	return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"one two three"}]%s}`, model, more)
}

// document is a configuration: providers and models, a line each.
func document(providers, models string) string {
	// Probes and orders of the gate's own would be among what the fakes count.
	return "listen: {address: \"{{address}}\"}\nhealth: {probe: off, breakers: off}\nproviders:\n" + indented(providers) + "models:\n" + indented(models)
}

func indented(text string) string {
	var out strings.Builder
	for line := range strings.Lines(strings.TrimSpace(text) + "\n") {
		out.WriteString("  " + strings.TrimSpace(line) + "\n")
	}
	return out.String()
}

// providerLine is the line of one without a key.
func providerLine(name, url string) string {
	return fmt.Sprintf("%s: {schema: openai, url: %q}\n", name, url+"/v1")
}

const demoOnly = `
listen: {address: "{{address}}"}
providers: {demo: {schema: openai, builtin: demo}}
models: {demo: {route: [[{provider: demo}]]}}
`

// versionOf is the version of a gate's configuration file as it is now.
func versionOf(t *testing.T, g *gate.Gate) string {
	t.Helper()
	cfg, err := config.Load(g.File)
	require.NoError(t, err)
	return cfg.Version
}

// edit writes a configuration and waits until answers come by it.
func edit(t *testing.T, g *gate.Gate, text string) {
	t.Helper()
	g.Write(t, text)
	awaitVersion(t, g, versionOf(t, g))
}

func awaitVersion(t *testing.T, g *gate.Gate, version string) {
	t.Helper()
	client := client(t)
	deadline := time.Now().Add(soon)
	for {
		a, err := ask(t.Context(), client, g, "/v1/models", "")
		require.NoError(t, err)
		if a.header.Get("X-Postern-Config") == version {
			return
		}
		require.True(t, time.Now().Before(deadline), "version %s is not in use after %s, but %s", version, soon, a.header.Get("X-Postern-Config"))
	}
}

// client keeps its connections until the test ends.
func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// answer is what a client got, whole.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends one request with the development key: GET without a body, POST with one.
func ask(ctx context.Context, client *http.Client, g *gate.Gate, path, body string) (answer, error) {
	response, err := g.Send(ctx, client, path, body)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{status: response.StatusCode, header: response.Header, body: string(text)}, err
}

// runFolder is where a gate has its sockets.
func runFolder(t *testing.T, g *gate.Gate) string {
	t.Helper()
	folder, err := os.ReadFile(filepath.Join(g.Data, "run", "folder"))
	require.NoError(t, err)
	return string(folder)
}

func adminOf(t *testing.T, g *gate.Gate) envoy.Admin {
	t.Helper()
	return envoy.Admin{Socket: filepath.Join(runFolder(t, g), "admin.sock")}
}

// refuses says that nobody listens on an address any more.
func refuses(address string) bool {
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return true
	}
	_ = c.Close()
	return false
}

// result is how a command ended.
type result struct {
	out, err string
	code     int
	took     time.Duration
}

// errs are the lines on standard error.
func (r result) errs() []string {
	text := strings.TrimRight(r.err, "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// run runs the postern command to its end.
func run(t *testing.T, args ...string) result {
	t.Helper()
	return call{args: args}.run(t)
}

// call is one run of the postern command.
type call struct {
	args   []string
	env    []string // on top of a gate's
	folder string   // to run in; "" is an empty one
}

func (c call) run(t *testing.T) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	if c.folder == "" {
		c.folder = t.TempDir()
	}
	cmd := exec.CommandContext(ctx, gate.Binary(t), c.args...)
	cmd.Env, cmd.Dir = append(gate.Environment(t), c.env...), c.folder
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &errs, time.Second
	begin := time.Now()
	err := cmd.Run()
	took := time.Since(begin)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	require.NoError(t, ctx.Err(), "postern %s does not end:\n%s%s", strings.Join(c.args, " "), &out, &errs)
	return result{out: out.String(), err: errs.String(), code: cmd.ProcessState.ExitCode(), took: took}
}

// write makes a file in a new folder.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// replace puts a new file in the place of an old one.
func replace(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
	require.NoError(t, os.Rename(path+".new", path))
}

// root is the repository's folder.
func root(t *testing.T) string {
	t.Helper()
	folder, err := filepath.Abs(filepath.Join("..", "..", ".."))
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(folder, "go.mod"))
	return folder
}
