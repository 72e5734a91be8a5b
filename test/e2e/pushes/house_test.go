package pushes_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/access"
	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/test/authority"
	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

const (
	patience = 20 * time.Second
	glance   = 2 * time.Millisecond
	// soon is how long a push may take until it is seen, on the busiest machine.
	soon = patience
)

// soaking is make soak, which has the time for all.
var soaking = os.Getenv("SOAK") != ""

// pushes is how many there are of each kind; each takes half a second.
var pushes = map[bool]int{true: 100, false: 30}[soaking]

// house is a gate whose every part may change.
type house struct {
	*gate.Gate

	folder    string
	one, two  *fake.Server
	long      *fake.Server
	authority *authority.Authority
	trust     *tls.Config
	metered   string // a key whose bucket is not refilled while a test runs
	probe     *http.Client
	rotated   access.Key // signed by the last signing key
}

// document is what differs between pushes.
type document struct {
	first   string // what the first provider is called
	more    string // other providers
	weights [2]int
	total   string // timeout of the route
	limit   string // of a tier that is not the metered key's
	moved   bool   // a provider is at another address, with another key
}

func (d document) text(h *house) string {
	if d.first == "" {
		d.first = "first"
	}
	weights := d.weights
	if weights == [2]int{} {
		weights = [2]int{1, 1}
	}
	if d.total == "" {
		d.total = "1m"
	}
	if d.limit == "" {
		d.limit = "100k/m"
	}
	moving, its := h.one, "one.key"
	if d.moved {
		moving, its = h.two, "two.key"
	}
	return fmt.Sprintf(`
listen: {address: "{{address}}", tls: {certificate: "file:cert.pem", key: "file:key.pem"}}
providers:
  %s: {schema: openai, url: %q, key: "file:one.key"}
  second: {schema: openai, url: %q}
  long-%s: {schema: openai, url: %q}
  moving: {schema: openai, url: %q, key: "file:%s"}
%s
models:
  main: {route: [[{provider: %s, weight: %d}, {provider: second, weight: %d}]], timeouts: {total: %s}}
  kind: {route: [[{provider: %s}]], system: Be kind.}
  long: {route: [[{provider: long-%s}]], timeouts: {idle: 1h, total: 1h}} # it is silent until the end
  moving: {route: [[{provider: moving}]]}
tiers:
  metered: {requests: 500/d}
  other: {requests: %s}
`, d.first, h.one.URL()+"/v1", h.two.URL()+"/v1", d.first, h.long.URL()+"/v1",
		named(moving)+"/v1", its, d.more,
		d.first, weights[0], weights[1], d.total, d.first, d.first, d.limit)
}

// named is a server's URL by a name, which has to be found first.
func named(s *fake.Server) string { return strings.Replace(s.URL(), "127.0.0.1", "localhost", 1) }

func newHouse(t *testing.T, args ...string) *house {
	t.Helper()
	h := &house{
		folder: t.TempDir(), one: fake.Start(t), two: fake.Start(t), long: fake.Start(t), authority: authority.New(t),
	}
	h.trust = h.authority.Client(t)
	h.authority.Write(t, h.folder, "127.0.0.1")
	h.replace(t, "one.key", "sk-0")
	h.replace(t, "two.key", "tk-0")
	h.Gate = gate.Start(t, gate.Settings{Config: document{}.text(h), Folder: h.folder, TLS: true, Args: args})
	cmd := exec.Command(gate.Binary(t), "keys", "create", "--tenant", "metered", "--tier", "metered", "--data", h.Data)
	cmd.Env = gate.Environment(t)
	key, err := cmd.Output()
	require.NoError(t, err)
	h.metered = strings.TrimSpace(string(key))
	h.probe = h.client(t, nil)
	return h
}

func (h *house) replace(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(h.folder, name)
	require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
	require.NoError(t, os.Rename(path+".new", path))
}

// client keeps its connections, and counts those that it opens.
func (h *house) client(t *testing.T, opened *atomic.Int64) *http.Client {
	t.Helper()
	dialer := &tls.Dialer{Config: h.trust}
	// One at a time: it is back in the pool a moment after its answer was read.
	transport := &http.Transport{MaxConnsPerHost: 1, DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if opened != nil {
			opened.Add(1)
		}
		return dialer.DialContext(ctx, network, address)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// ask sends one request: GET without a body, POST with one.
func (h *house) ask(client *http.Client, key, path, body string) (*http.Response, string, error) {
	response, err := h.Send(context.Background(), client, path, body, "Authorization", "Bearer "+key)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response, string(text), err
}

func chat(model, more string) string {
	return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"one two three"}]%s}`, model, more)
}

const chatPath = "/v1/chat/completions"

// push writes a configuration and waits until answers come by it.
func (h *house) push(t *testing.T, d document) {
	t.Helper()
	h.Write(t, d.text(h))
	cfg, err := config.Load(h.File)
	require.NoError(t, err)
	deadline := time.Now().Add(soon)
	for {
		response, body, err := h.ask(h.probe, h.Key, "/v1/models", "")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode, body)
		if response.Header.Get("X-Postern-Config") == cfg.Version {
			return
		}
		require.True(t, time.Now().Before(deadline), "version %s is not in use after %s", cfg.Version, soon)
		time.Sleep(glance)
	}
}

// answers waits until a key gets a status.
func (h *house) answers(t *testing.T, key string, status int, why string) {
	t.Helper()
	require.Eventually(t, func() bool {
		response, _, err := h.ask(h.probe, key, "/v1/models", "")
		return err == nil && response.StatusCode == status
	}, soon, glance, why)
}

// remaining asks once with the metered key and says what is left in its bucket.
func (h *house) remaining(t *testing.T) int {
	t.Helper()
	response, body, err := h.ask(h.probe, h.metered, chatPath, chat("main", ""))
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, body)
	left, err := strconv.Atoi(response.Header.Get("X-Ratelimit-Remaining-Requests"))
	require.NoError(t, err)
	return left
}

// ownKeys holds that neither of two providers was sent the other's key.
func (h *house) ownKeys(t *testing.T) {
	t.Helper()
	for server, foreign := range map[*fake.Server]string{h.one: "Bearer tk-", h.two: "Bearer sk-"} {
		for _, r := range server.Requests() {
			if strings.HasPrefix(r.Header.Get("Authorization"), foreign) {
				require.Fail(t, "a provider was sent another's key")
			}
		}
	}
}

// traffic is requests that flow until it is stopped.
type traffic struct {
	opened, count atomic.Int64
	stopping      chan struct{}
	all           sync.WaitGroup
	clients       int64
	closed        func() int64 // connections that Envoy has closed
	closedBefore  int64
	log           func() string // of requests that failed

	mu     sync.Mutex
	failed []string
}

// flow begins with clients that ask one request after the other, each on a
// connection of its own.
func (h *house) flow(t *testing.T) *traffic {
	t.Helper()
	f := &traffic{stopping: make(chan struct{}), closed: func() int64 { return h.stats(t)["http.postern.downstream_cx_destroy_local"] }}
	f.closedBefore = f.closed()
	f.log = func() string {
		text, _ := os.ReadFile(filepath.Join(h.Data, "envoy.log"))
		lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool { return !strings.Contains(line, `"status":5`) })
		return strings.Join(lines[max(0, len(lines)-5):], "\n")
	}
	for _, model := range []string{"main", "kind", "moving"} {
		client := h.client(t, &f.opened)
		f.clients++
		f.all.Go(func() {
			for {
				select {
				case <-f.stopping:
					return
				default:
				}
				response, body, err := h.ask(client, h.Key, chatPath, chat(model, ""))
				if err == nil && response.StatusCode != http.StatusOK {
					err = errors.New(response.Status + ": " + body)
				}
				if err != nil {
					f.mu.Lock()
					f.failed = append(f.failed, err.Error())
					f.mu.Unlock()
				}
				f.count.Add(1)
				time.Sleep(2 * time.Millisecond) // two cores are all of the gate, the providers and this
			}
		})
	}
	return f
}

func (f *traffic) stop(t *testing.T) {
	t.Helper()
	close(f.stopping)
	f.all.Wait()
	assert.Empty(t, f.failed, "requests were lost: %s", f.log())
	// Clients may open another: on a busy machine one closes its own now and then.
	assert.Equal(t, f.closedBefore, f.closed(), "a connection was dropped; %d clients have opened %d", f.clients, f.opened.Load())
	assert.Greater(t, f.count.Load(), int64(pushes), "the traffic was too thin to say anything")
}

// words are what a long stream says, one after the other.
const words = "a stream of words that goes on until somebody lets it end"

// stream begins a streamed answer; what it gives lets it end, and reads it.
func (h *house) stream(t *testing.T) (finish func()) {
	t.Helper()
	open := make(chan struct{})
	h.long.Always(fake.Behavior{Content: words, Gate: open})
	client := h.client(t, nil)
	client.Timeout = 0
	response, err := h.Send(context.Background(), client, chatPath, chat("long", `,"stream":true`))
	require.NoError(t, err)
	t.Cleanup(func() { _ = response.Body.Close() })
	require.Equal(t, http.StatusOK, response.StatusCode)
	lines := bufio.NewScanner(response.Body)
	require.True(t, lines.Scan())
	return func() {
		close(open)
		var all strings.Builder
		for lines.Scan() {
			all.WriteString(lines.Text())
		}
		require.NoError(t, lines.Err(), "the stream was cut")
		for word := range strings.FieldsSeq(words) {
			assert.Contains(t, all.String(), word)
		}
		assert.Contains(t, all.String(), "[DONE]")
	}
}

// serial is that of the certificate that a new connection is shown.
func (h *house) serial(t *testing.T) string {
	t.Helper()
	c, err := tls.Dial("tcp", h.Address, h.trust)
	require.NoError(t, err)
	defer c.Close()
	return serialOf(c.ConnectionState().PeerCertificates[0])
}

func serialOf(c *x509.Certificate) string { return c.SerialNumber.String() }

// resident is the memory of Postern, and that of its Envoy, in bytes.
func (h *house) resident(t *testing.T) (postern, proxy int64) {
	t.Helper()
	h.collect(t)
	all := []string{strconv.Itoa(h.PID())}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", h.PID()))
	require.NoError(t, err)
	for _, task := range tasks {
		children, err := os.ReadFile(task)
		if err != nil {
			continue // a thread that ended
		}
		all = append(all, strings.Fields(string(children))...)
	}
	if len(all) < 2 {
		t.Skip("this system does not say which processes a process has")
	}
	for i, id := range all {
		text, err := os.ReadFile("/proc/" + id + "/statm")
		require.NoError(t, err)
		pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
		require.NoError(t, err)
		if i == 0 {
			postern = pages * int64(os.Getpagesize())
		} else {
			proxy += pages * int64(os.Getpagesize())
		}
	}
	return postern, proxy
}

// listeners holds Envoy to the listener that it began with.
func (h *house) listeners(t *testing.T) {
	t.Helper()
	stats := h.stats(t)
	for name, want := range map[string]int64{
		"listener_added": 1, "listener_modified": 0, "listener_removed": 0, "listener_in_place_updated": 0, "total_listeners_draining": 0,
	} {
		assert.Equal(t, want, stats["listener_manager."+name], name)
	}
}

// stats are Envoy's counters of listeners and of clients' connections.
func (h *house) stats(t *testing.T) map[string]int64 {
	t.Helper()
	stats, err := envoy.Admin{Socket: filepath.Join(h.sockets(t), "admin.sock")}.Stats(t.Context(), `listener_manager\..*|http\.postern\.downstream_cx_.*`)
	require.NoError(t, err)
	require.Contains(t, stats, "http.postern.downstream_cx_destroy_local")
	return stats
}

func (h *house) sockets(t *testing.T) string {
	t.Helper()
	folder, err := os.ReadFile(filepath.Join(h.Data, "run", "folder"))
	require.NoError(t, err)
	return string(folder)
}

// collect has Postern collect its garbage: what is then left is what it holds.
func (h *house) collect(t *testing.T) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(h.sockets(t), "status.sock"))
	}}}
	response, err := client.Get("http://postern/debug/pprof/heap?gc=1")
	require.NoError(t, err)
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
}
