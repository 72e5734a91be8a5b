// Package gate starts a whole Postern for tests: the binary as people run it, a
// real Envoy, free ports, a data folder of its own.
//
// The invariant: a gate that a test started is stopped when the test ends, and an
// Envoy that outlives its Postern fails the test. The binary is built once a test
// process, with the race detector where the tests have it.
//
// A Gate may be used from several goroutines, Stop and Kill included.
package gate

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/postern-proxy/postern/envoy/envoytest"
)

// Settings is what differs between gates. Config is needed.
type Settings struct {
	// Config is the configuration file's text. {{address}} in it stands for a
	// free address, which the gate listens on.
	Config string
	Env    []string // variables on top of PATH and HOME: "NAME=value"
	Args   []string // arguments behind "run --config … --data …"
	Data   string   // data folder; "" is a new one
	Folder string   // of the configuration file; "" is a new one
	TLS    bool     // the gate serves TLS: URL begins with https
	Second bool     // it has a second process that reads bodies, as people's gates have

	// Address is where a configuration that does not lie in the file has the gate
	// listen; "" is a free one.
	Address string
}

// Gate is a running Postern.
type Gate struct {
	URL     string // http://127.0.0.1:port
	Address string // 127.0.0.1:port
	Key     string // the development key
	File    string // the configuration file
	Data    string // the data folder
	Metrics string // the metrics' address, 127.0.0.1:port

	cmd    *exec.Cmd
	output *output
	done   chan struct{}
	err    error
}

// Start runs a gate and waits until it prints that it is open.
func Start(t testing.TB, s Settings) *Gate {
	t.Helper()
	g := Launch(t, s)
	if !g.WaitOutput("Ctrl-C stops it", 60*time.Second) {
		t.Fatalf("the gate did not open:\n%s\n%s", g.Output(), g.EnvoyLog())
	}
	key, err := os.ReadFile(filepath.Join(g.Data, "keys", "development.key"))
	if err != nil {
		t.Fatal(err)
	}
	g.Key = strings.TrimSpace(string(key))
	return g
}

// Launch runs a gate and does not wait.
func Launch(t testing.TB, s Settings) *Gate {
	t.Helper()
	g := &Gate{Data: s.Data, Address: FreeAddress(t), output: &output{changed: make(chan struct{})}, done: make(chan struct{})}
	if s.Address != "" {
		g.Address = s.Address
	}
	if g.Data == "" {
		g.Data = t.TempDir()
	}
	g.URL = "http://" + g.Address
	if s.TLS {
		g.URL = "https://" + g.Address
	}
	folder := s.Folder
	if folder == "" {
		folder = t.TempDir()
	}
	g.File = filepath.Join(folder, "postern.yaml")
	g.Write(t, s.Config)
	g.Metrics = FreeAddress(t)
	args := []string{"run", "--config", g.File, "--data", g.Data, "--metrics", g.Metrics}
	if !s.Second {
		args = append(args, "--own-replica=false")
	}
	args = append(args, s.Args...)
	g.cmd = exec.Command(Binary(t), args...)
	g.cmd.Env = append(Environment(t), s.Env...)
	g.cmd.Stdout, g.cmd.Stderr = g.output, g.output
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		g.err = g.cmd.Wait()
		close(g.done)
	}()
	t.Cleanup(func() { g.end(t) })
	return g
}

// Environment is what a gate sees of the test's own: the least it needs.
func Environment(t testing.TB) []string {
	t.Helper()
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "ENVOY=" + envoytest.Binary(t), "GORACE=halt_on_error=1 atexit_sleep_ms=0"}
}

// Write replaces the configuration file, as an editor does: at once.
func (g *Gate) Write(t testing.TB, config string) {
	t.Helper()
	text := strings.ReplaceAll(config, "{{address}}", g.Address)
	temporary := g.File + ".new"
	if err := os.WriteFile(temporary, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, g.File); err != nil {
		t.Fatal(err)
	}
}

// PID is Postern's process id.
func (g *Gate) PID() int { return g.cmd.Process.Pid }

// Output is what the gate has printed.
func (g *Gate) Output() string { return g.output.String() }

// EnvoyLog is what Envoy has printed, the failed requests included.
func (g *Gate) EnvoyLog() string {
	text, _ := os.ReadFile(filepath.Join(g.Data, "envoy.log"))
	return string(text)
}

// WaitOutput waits until the gate has printed text; false if it ended or the time
// is up before.
func (g *Gate) WaitOutput(text string, within time.Duration) bool {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	for {
		printed, changed := g.output.get()
		if strings.Contains(printed, text) {
			return true
		}
		select {
		case <-changed:
		case <-g.done:
			return strings.Contains(g.Output(), text)
		case <-deadline.C:
			return false
		}
	}
}

// Interrupt is a Ctrl-C.
func (g *Gate) Interrupt() { _ = g.cmd.Process.Signal(os.Interrupt) }

// Kill is kill -9.
func (g *Gate) Kill() { _ = g.cmd.Process.Kill() }

// Wait waits for the end and gives the exit code.
func (g *Gate) Wait(t testing.TB, within time.Duration) int {
	t.Helper()
	select {
	case <-g.done:
	case <-time.After(within):
		t.Fatalf("the gate did not end within %s:\n%s", within, g.Output())
	}
	return g.cmd.ProcessState.ExitCode()
}

func (g *Gate) end(t testing.TB) {
	t.Helper()
	select {
	case <-g.done:
	default:
		g.Interrupt()
		select {
		case <-g.done:
		case <-time.After(20 * time.Second):
			_ = g.cmd.Process.Signal(syscall.SIGQUIT)
			<-g.done
			t.Errorf("the gate did not stop:\n%s", g.Output())
		}
	}
	if strings.Contains(g.Output(), "DATA RACE") {
		t.Errorf("the race detector spoke:\n%s", g.Output())
	}
	if t.Failed() {
		t.Logf("postern printed:\n%s\nenvoy printed:\n%s", end(g.Output()), end(g.EnvoyLog()))
	}
}

// end is as much of a log as a person reads.
func end(text string) string {
	const most = 16 << 10
	if len(text) > most {
		return "…" + strings.ToValidUTF8(text[len(text)-most:], "")
	}
	return text
}

// Request sends one request with the development key and gives the answer with its
// whole body.
func (g *Gate) Request(ctx context.Context, t testing.TB, method, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	response, err := g.do(ctx, Client(), method, path, body, header)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s %s: the answer broke off: %v", method, path, err)
	}
	return response, string(text)
}

// Send is Request for a client of the test's own and for goroutines of a test: GET without
// a body, POST with one. The answer is given when its headers are there.
func (g *Gate) Send(ctx context.Context, client *http.Client, path, body string, header ...string) (*http.Response, error) {
	method := http.MethodPost
	if body == "" {
		method = http.MethodGet
	}
	return g.do(ctx, client, method, path, body, header)
}

func (g *Gate) do(ctx context.Context, client *http.Client, method, path, body string, header []string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, g.URL+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+g.Key)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	return client.Do(request)
}

// Chat asks a model one question.
func (g *Gate) Chat(ctx context.Context, t testing.TB, model string) (*http.Response, string) {
	t.Helper()
	return g.Request(ctx, t, http.MethodPost, "/v1/chat/completions",
		fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"Hello"}]}`, model))
}

// Client does not keep connections, so that no test sees another's.
func Client() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 60 * time.Second}
}

// FreeAddress is an address on the loopback that nobody listens on now.
func FreeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// output collects what a process prints.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.text.Write(p)
}

func (o *output) get() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.changed
}

func (o *output) String() string {
	text, _ := o.get()
	return text
}
