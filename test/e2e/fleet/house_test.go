package fleet_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/envoy/envoytest"
	"github.com/postern-proxy/postern/test/authority"
	"github.com/postern-proxy/postern/test/fake/aws"
	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
	"github.com/postern-proxy/postern/xds"
)

const (
	patience = 30 * time.Second
	glance   = 20 * time.Millisecond
)

// process is one that a test runs.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu   sync.Mutex
	text bytes.Buffer
}

func (p *process) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(text)
}

func (p *process) printed() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// start runs a program until the test ends.
func start(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.cmd.Env = env
	p.cmd.Stdout, p.cmd.Stderr = p, p
	require.NoError(t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.stop(t, syscall.SIGTERM)
		if t.Failed() {
			t.Logf("%s %s printed:\n%.8000s", filepath.Base(name), strings.Join(args, " "), p.printed())
		}
		if strings.Contains(p.printed(), "DATA RACE") {
			t.Errorf("the race detector spoke:\n%s", p.printed())
		}
	})
	return p
}

func (p *process) stop(t *testing.T, how syscall.Signal) {
	t.Helper()
	_ = p.cmd.Process.Signal(how)
	select {
	case <-p.done:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.done
		t.Errorf("%s did not stop:\n%s", p.cmd.Path, p.printed())
	}
}

// host is a machine of the fleet: an Envoy and its sidecar.
type host struct {
	cluster  string
	address  string
	services string
	certs    string
	files    authority.Files
	envoy    *process
	data     string // of its sidecar
}

// house is a control plane with its fleet.
type house struct {
	folder, data, address string
	files                 authority.Files
	authority             *authority.Authority
	provider              *fake.Server
	serve                 *process
	hosts                 map[string]*host
	key                   string
	env                   []string
	one                   string     // what the first provider is called
	safe                  string     // the URL of a provider of core's alone; empty: there is none
	store                 []string   // the flags of its Parameter Store; none: a file
	t                     *testing.T // whose end stops the processes
}

// poll is how often Parameter Store is asked.
const poll = time.Second

// newHouse has a file, or a Parameter Store if there is one, and hosts of the clusters.
func newHouse(t *testing.T, store *aws.Server, clusters ...string) *house {
	t.Helper()
	envoytest.Binary(t) // or skip
	a := authority.New(t)
	h := &house{
		folder: t.TempDir(), data: t.TempDir(), address: gate.FreeAddress(t), authority: a,
		files: a.Write(t, t.TempDir(), "127.0.0.1"), provider: fake.Start(t), hosts: map[string]*host{},
		env: gate.Environment(t), one: "one", t: t,
	}
	if store != nil {
		h.env = append(h.env, store.Environment()...)
		h.store = []string{"--source", "ssm", "--env", "fleet", "--poll", poll.String()}
	}
	for _, cluster := range clusters {
		one := &host{cluster: cluster, address: gate.FreeAddress(t), certs: t.TempDir()}
		services, err := os.MkdirTemp("", "fleet-") // the paths of sockets are short
		require.NoError(t, err)
		t.Cleanup(func() { _ = os.RemoveAll(services) })
		one.services = services
		one.files = a.Write(t, one.certs, cluster+".example")
		h.hosts[cluster] = one
	}
	h.write(t, "first")
	h.run()
	h.key = h.await(t, filepath.Join(h.data, "keys", "development.key"))
	for _, one := range h.hosts {
		h.furnish(t, one)
	}
	return h
}

// document is a configuration whose provider calls itself a name.
func (h *house) document(name string) string {
	views, safe, model := "", "", ""
	if edge := h.hosts["edge"]; edge != nil {
		views += fmt.Sprintf("  edge: {models: [small, kind], listen: {address: %q}, services: %q, clients: [edge.example]}\n", edge.address, edge.services)
	}
	if core := h.hosts["core"]; core != nil {
		views += fmt.Sprintf("  core: {listen: {address: %q}, services: %q}\n", core.address, core.services)
	}
	if h.safe != "" {
		safe, model = fmt.Sprintf("  safe: {schema: openai, url: %q}", h.safe), "  safe: {route: [[{provider: safe}]]}"
	}
	return fmt.Sprintf(`
listen: {address: "127.0.0.1:1"}
providers:
  %[1]s: {schema: openai, url: %[2]q, headers: {X-Push: %[3]q}}
  secret: {schema: openai, url: %[2]q}
%[4]s
models:
  small: {route: [[{provider: %[1]s}]]}
  large: {route: [[{provider: secret}]]}
  kind: {route: [[{provider: %[1]s}]], system: Be kind.}
%[5]s
views:
%[6]s`, h.one, h.provider.URL()+"/v1", name, safe, model, views)
}

func (h *house) file() string { return filepath.Join(h.folder, "postern.yaml") }

func (h *house) write(t *testing.T, name string) {
	t.Helper()
	file := h.file()
	require.NoError(t, os.WriteFile(file+".new", []byte(h.document(name)), 0o600))
	require.NoError(t, os.Rename(file+".new", file))
	if h.store != nil {
		h.command(t, "config", "push", file, "--env", "fleet")
	}
}

// command runs a command that must succeed.
func (h *house) command(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(gate.Binary(t), args...)
	cmd.Env, cmd.Dir = h.env, h.folder
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, "postern %s: %s", strings.Join(args, " "), text)
	return string(text)
}

// source are the flags that say where the configuration comes from.
func (h *house) source() []string {
	if h.store != nil {
		return h.store
	}
	return []string{"--config", h.file()}
}

// run starts the control plane.
func (h *house) run() {
	h.t.Helper()
	h.serve = start(h.t, h.env, gate.Binary(h.t), append([]string{"serve", "--data", h.data, "--metrics", "",
		"--fleet", h.address, "--fleet-cert", h.files.Certificate, "--fleet-key", h.files.Key, "--fleet-ca", h.files.Authorities}, h.source()...)...)
}

// furnish starts a host's sidecar, makes the bootstrap and starts its Envoy.
func (h *house) furnish(t *testing.T, one *host) {
	t.Helper()
	one.data = t.TempDir()
	start(t, h.env, gate.Binary(t), append([]string{"sidecar", "--cluster", one.cluster, "--data", one.data, "--metrics", "",
		"--usage-log", filepath.Join(one.data, "usage.log")}, h.source()...)...)
	h.await(t, filepath.Join(one.services, "trust.pem"))
	into := t.TempDir()
	made := start(t, h.env, gate.Binary(t), "bootstrap", "--node", "host-"+one.cluster, "--cluster", one.cluster, "--control-plane", h.address,
		"--cert", one.files.Certificate, "--key", one.files.Key, "--ca", one.files.Authorities,
		"--admin", filepath.Join(one.services, "admin.sock"), "--into", into)
	<-made.done
	require.Zero(t, made.cmd.ProcessState.ExitCode(), made.printed())
	one.envoy = start(t, h.env, envoytest.Binary(t), "-c", filepath.Join(into, "bootstrap.json"), "--disable-hot-restart", "--concurrency", "1", "-l", "warning")
	require.Eventually(t, func() bool {
		a, err := one.ask(t, h.key, http.MethodGet, "/v1/models", "")
		return err == nil && a.status == http.StatusOK
	}, patience, glance, "the Envoy of %s does not serve:\n%s", one.cluster, one.envoy.printed())
}

// await waits for a file and gives its text.
func (h *house) await(t *testing.T, file string) string {
	t.Helper()
	var text []byte
	require.Eventually(t, func() bool {
		var err error
		text, err = os.ReadFile(file)
		return err == nil && len(text) > 0
	}, patience, glance, "%s does not come", file)
	return strings.TrimSpace(string(text))
}

type reply struct {
	status int
	header http.Header
	body   string
}

func (o *host) ask(t *testing.T, key, method, path, body string) (reply, error) {
	t.Helper()
	request, err := http.NewRequest(method, "http://"+o.address+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+key)
	request.Header.Set("Content-Type", "application/json")
	response, err := gate.Client().Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return reply{status: response.StatusCode, header: response.Header, body: string(text)}, err
}

func (h *house) chat(t *testing.T, cluster, model string) reply {
	t.Helper()
	a, err := h.hosts[cluster].ask(t, h.key, http.MethodPost, "/v1/chat/completions",
		fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"Hello"}]}`, model))
	require.NoError(t, err)
	return a
}

// status is what the control plane says of its Envoys.
func (h *house) status(t *testing.T) (s xds.Status, ok bool) {
	t.Helper()
	cmd := exec.Command(gate.Binary(t), "status", "--json", "--data", h.data)
	cmd.Env = h.env
	text, _ := cmd.Output() // it fails where not all is well
	var said struct {
		Envoy xds.Status `json:"envoy"`
	}
	err := json.Unmarshal(text, &said)
	return said.Envoy, err == nil
}

// current says that both Envoys are connected and have the version that is offered.
func (h *house) current(t *testing.T) bool {
	t.Helper()
	s, ok := h.status(t)
	if !ok || len(s.Envoys) != len(h.hosts) {
		return false
	}
	for _, e := range s.Envoys {
		if e.State(s.Offered, time.Now()) != "current" {
			return false
		}
	}
	return true
}

// traffic is requests to a cluster that flow until it is stopped.
type traffic struct {
	stopping chan struct{}
	all      sync.WaitGroup

	mu     sync.Mutex
	count  int
	failed []string
}

func (h *house) flow(t *testing.T, clusters ...string) *traffic {
	t.Helper()
	f := &traffic{stopping: make(chan struct{})}
	for _, cluster := range clusters {
		for _, model := range []string{"small", "small", "kind"} {
			f.all.Go(func() { f.ask(t, h, cluster, model) })
		}
	}
	return f
}

func (f *traffic) ask(t *testing.T, h *house, cluster, model string) {
	for {
		select {
		case <-f.stopping:
			return
		case <-time.After(2 * time.Millisecond): // two cores are all of it
		}
		a, err := h.hosts[cluster].ask(t, h.key, http.MethodPost, "/v1/chat/completions",
			fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"Hello"}]}`, model))
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%s: %d: %s", model, a.status, a.body)
		}
		f.mu.Lock()
		f.count++
		if err != nil {
			f.failed = append(f.failed, err.Error())
		}
		f.mu.Unlock()
	}
}

func (f *traffic) stop(t *testing.T) {
	t.Helper()
	close(f.stopping)
	f.all.Wait()
	assert.Empty(t, f.failed, "requests were lost")
	assert.Greater(t, f.count, 10, "the traffic was too thin to say anything")
}
