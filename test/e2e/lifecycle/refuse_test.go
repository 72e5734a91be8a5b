package lifecycle_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/test/gate"
)

// refusal is a start that cannot be, and what it says.
type refusal struct {
	name   string
	config string                    // "": demoOnly on a free address
	file   string                    // in place of a file with config
	data   func(t *testing.T) string // "": a new folder
	env    []string
	says   []string // one a line
}

func refusals(t *testing.T) []refusal {
	t.Helper()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = taken.Close() })
	aFile := write(t, "file", "")
	script := write(t, "envoy", "#!/bin/sh\nexit 0\n")
	require.NoError(t, os.Chmod(script, 0o700))
	in := func(folder string) func(*testing.T) string { return func(*testing.T) string { return folder } }
	return []refusal{
		{name: "taken port", config: on(taken.Addr().String()), says: []string{"the address " + taken.Addr().String() + " is taken"}},
		{name: "address of another machine", config: on("192.0.2.1:8080"), says: []string{"cannot listen on 192.0.2.1:8080"}},
		{name: "no such file", file: "/nowhere/postern.yaml", says: []string{"/nowhere/postern.yaml: the file does not exist"}},
		{name: "a folder as file", file: t.TempDir(), says: []string{"the file cannot be read"}},
		{name: "an empty file", config: "\n", says: []string{"the document is empty"}},
		{name: "no YAML", config: "listen: [", says: []string{"postern.yaml:1"}},
		{
			name: "many mistakes",
			config: "listen: {address: nowhere}\nproviders:\n  demo: {schema: openai, builtin: demo, kye: x}\n" +
				"models:\n  demo: {route: [[{provider: dmeo}]]}\n",
			says: []string{"postern.yaml:1", "kye", "dmeo"},
		},
		{name: "data folder below a file", data: in(filepath.Join(aFile, "data")), says: []string{aFile}},
		{name: "data folder is a file", data: in(aFile), says: []string{aFile}},
		{name: "data folder cannot be written", data: unwritable, says: []string{"the folder for keys could not be made"}},
		{name: "key that others may read", data: openKey, says: []string{"signing.pem"}},
		{name: "no such Envoy", env: []string{"ENVOY=/nonexistent"}, says: []string{"ENVOY=/nonexistent: there is no such file"}},
		{name: "no Envoy at all", env: []string{"ENVOY=", "PATH=" + t.TempDir()}, says: []string{"Envoy 1.40.0 was not found: run `make setup`, or set ENVOY="}},
		{name: "a script as Envoy", env: []string{"ENVOY=" + script}, says: []string{"ENVOY=" + script}},
		{name: "no such authorities", env: []string{"SSL_CERT_FILE=/nonexistent"}, says: []string{"SSL_CERT_FILE names a file that cannot be read"}},
	}
}

func on(address string) string { return strings.Replace(demoOnly, "{{address}}", address, 1) }

// unwritable is a folder that even root may not write in, where that can be had.
func unwritable(t *testing.T) string {
	t.Helper()
	if os.Geteuid() == 0 {
		return "/proc/postern" // whoever asks
	}
	folder := t.TempDir()
	require.NoError(t, os.Chmod(folder, 0o500))
	return filepath.Join(folder, "data")
}

func openKey(t *testing.T) string {
	t.Helper()
	data := t.TempDir()
	require.Equal(t, 0, run(t, "keys", "create", "--tenant", "acme", "--data", data).code)
	require.NoError(t, os.Chmod(filepath.Join(data, "keys", "signing.pem"), 0o644))
	return data
}

func TestAStartThatCannotBeSaysWhy(t *testing.T) {
	for _, row := range refusals(t) {
		t.Run(row.name, func(t *testing.T) {
			if row.config == "" {
				row.config = on(gate.FreeAddress(t))
			}
			if row.file == "" {
				row.file = write(t, "postern.yaml", row.config)
			}
			data := filepath.Join(t.TempDir(), "data")
			if row.data != nil {
				data = row.data(t)
			}
			mark := markOf(t)
			r := call{args: []string{"run", "--config", row.file, "--data", data}, env: append(row.env, mark)}.run(t)
			requireRefusal(t, r, row.says...)
			assert.Empty(t, marked(t, mark), "processes are left")
		})
	}
}

// requireRefusal holds a failed command to one clear sentence a mistake.
func requireRefusal(t *testing.T, r result, says ...string) {
	t.Helper()
	assert.Equal(t, 1, r.code)
	assert.Empty(t, r.out)
	assert.Less(t, r.took, 10*time.Second)
	lines := r.errs()
	require.Len(t, lines, len(says), "%s", r.err)
	for i, line := range lines {
		assert.Contains(t, line, says[i])
	}
	for _, stack := range []string{"goroutine ", "panic", ".go:", "%!"} {
		assert.NotContains(t, r.err, stack)
	}
}

func TestTwoOnOneDataFolder(t *testing.T) {
	g := gate.Start(t, gate.Settings{Config: demoOnly})
	r := run(t, "run", "--config", write(t, "postern.yaml", on(gate.FreeAddress(t))), "--data", g.Data)
	requireRefusal(t, r, "another Postern is running with the data folder "+g.Data)

	response, body := g.Chat(t.Context(), t, "demo")
	assert.Equal(t, 200, response.StatusCode, body)
	assert.Equal(t, 0, run(t, "status", "--data", g.Data).code, "the first one keeps its sockets")
}

func TestAFlagThatDoesNotExist(t *testing.T) {
	for _, args := range [][]string{{"run", "--nonsense"}, {"nonsense"}, {"run", "--drain", "soon"}, {"explain"}, {"validate"}} {
		t.Run(fmt.Sprint(args), func(t *testing.T) {
			requireRefusal(t, run(t, args...), "postern: ")
		})
	}
}
