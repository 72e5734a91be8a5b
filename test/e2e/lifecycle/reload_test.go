package lifecycle_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/envoy/envoytest"
	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

// edits is how often the route changes, and visible how long one change may take.
const (
	edits   = 100
	visible = 2 * time.Second
)

// named is a provider whose answers say who gave them.
func named(t *testing.T, name string) *fake.Server {
	t.Helper()
	s := fake.Start(t)
	s.Always(fake.Behavior{Header: http.Header{"X-Answered-By": {name}}})
	return s
}

// A hundred edits in a row, each with another provider behind the same model and the
// one before gone, while a stream runs and requests come on kept and on new
// connections.
func TestAHundredEdits(t *testing.T) {
	providers := map[string]*fake.Server{"even": named(t, "even"), "odd": named(t, "odd")}
	gateOpen := make(chan struct{})
	long := fake.Start(t)
	content := strings.Repeat("word ", edits) + "end"
	long.Always(fake.Behavior{Content: content, Gate: gateOpen})

	text := func(i int) (text, provider string) {
		provider = []string{"even", "odd"}[i%2]
		return document(
			providerLine("long", long.URL())+providerLine(provider, providers[provider].URL()),
			fmt.Sprintf("main: {route: [[{provider: %s}]], timeouts: {total: %ds}}\nlong: {route: [[{provider: long}]]}\n", provider, 100+i),
		), provider
	}
	first, provider := text(0)
	g := gate.Start(t, gate.Settings{Config: first})
	v := &versions{address: g.Address}
	v.add(t, first, provider)

	stream := openStream(t, g, "long")
	stream.next(t) // the role
	traffic := startTraffic(t, g, v)
	looker := client(t)
	var took []time.Duration
	for i := 1; i <= edits; i++ {
		next, provider := text(i)
		want := v.add(t, next, provider)
		begin := time.Now()
		g.Write(t, next)
		for {
			a, err := ask(t.Context(), looker, g, chatPath, chatBody("main", ""))
			require.NoError(t, err)
			if a.header.Get("X-Postern-Config") == want {
				break
			}
			require.Less(t, time.Since(begin), patience, "edit %d is not in use", i)
		}
		took = append(took, time.Since(begin))
		gateOpen <- struct{}{} // the stream lives through each version
		require.Equal(t, "word ", words(stream.next(t)), "edit %d", i)
	}
	traffic.stop(t)
	close(gateOpen)
	rest, done := stream.rest(t)
	assert.True(t, done, "the stream broke off: %v", stream.err)
	assert.Equal(t, "end", rest)

	slices.Sort(took)
	t.Logf("from the edit to the first answer by it: median %s, longest %s; %d requests meanwhile",
		took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond), traffic.count.Load())
	assert.LessOrEqual(t, took[len(took)-1], visible)
	requireOneListener(t, g)
}

// requireOneListener holds Envoy to the listener it began with: to change it would
// cut streams.
func requireOneListener(t *testing.T, g *gate.Gate) {
	t.Helper()
	stats, err := adminOf(t, g).Stats(t.Context(), `listener_manager\..*`)
	require.NoError(t, err)
	for name, want := range map[string]int64{
		"listener_added": 1, "listener_modified": 0, "listener_removed": 0, "listener_in_place_updated": 0,
		"total_listeners_draining": 0, "total_filter_chains_draining": 0,
	} {
		got, ok := stats["listener_manager."+name]
		assert.True(t, ok, "Envoy does not count %s", name)
		assert.Equal(t, want, got, name)
	}
}

// versions are the configurations there were, and who answers by each.
type versions struct {
	address   string
	providers sync.Map // by version
}

// add notes a configuration and gives its version.
func (v *versions) add(t *testing.T, text, provider string) string {
	t.Helper()
	cfg, err := config.Parse("postern.yaml", []byte(strings.ReplaceAll(text, "{{address}}", v.address)), config.Env{})
	require.NoError(t, err)
	v.providers.Store(cfg.Version, provider)
	return cfg.Version
}

// traffic are requests that go on until stop.
type traffic struct {
	quit     chan struct{}
	running  sync.WaitGroup
	count    atomic.Int64
	mu       sync.Mutex
	failures []string
}

// startTraffic asks for the model "main" again and again, on one connection that is
// never given up and on new ones.
func startTraffic(t *testing.T, g *gate.Gate, v *versions) *traffic {
	t.Helper()
	tr := &traffic{quit: make(chan struct{})}
	kept, err := net.Dial("tcp", g.Address)
	require.NoError(t, err)
	for name, c := range map[string]*http.Client{"kept": {Transport: newLine(t, kept)}, "new": gate.Client()} {
		tr.running.Go(func() { tr.run(t.Context(), name, c, g, v) })
	}
	t.Cleanup(tr.end)
	return tr
}

func (tr *traffic) run(ctx context.Context, name string, c *http.Client, g *gate.Gate, v *versions) {
	for {
		select {
		case <-tr.quit:
			return
		default:
		}
		a, err := ask(ctx, c, g, chatPath, chatBody("main", ""))
		tr.count.Add(1)
		version := a.header.Get("X-Postern-Config")
		want, known := v.providers.Load(version)
		switch {
		case err != nil:
			tr.failf("%s: %v", name, err)
			return
		case a.status != http.StatusOK:
			tr.failf("%s: %d by version %s: %s", name, a.status, version, a.body)
		case !known:
			tr.failf("%s: an answer by version %q, which there never was", name, version)
		case a.header.Get("X-Answered-By") != want:
			tr.failf("%s: version %s says %s, but %s answered", name, version, want, a.header.Get("X-Answered-By"))
		}
	}
}

func (tr *traffic) failf(format string, args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.failures = append(tr.failures, fmt.Sprintf(format, args...))
}

func (tr *traffic) end() {
	select {
	case <-tr.quit:
	default:
		close(tr.quit)
	}
	tr.running.Wait()
}

func (tr *traffic) stop(t *testing.T) {
	t.Helper()
	tr.end()
	assert.Empty(t, tr.failures)
	assert.Greater(t, tr.count.Load(), int64(edits), "there was traffic")
}

func TestABrokenEdit(t *testing.T) {
	g := gate.Start(t, gate.Settings{Config: demoOnly})
	good := versionOf(t, g)
	status := func() result { return run(t, "status", "--data", g.Data) }
	before := status()
	require.Equal(t, 0, before.code, before.err)
	assert.Contains(t, before.out, good)

	g.Write(t, strings.Replace(demoOnly, "provider: demo", "provider: nobody", 1)+"nonsense: 1\n")
	require.True(t, g.WaitOutput("the last good version stays", soon))
	assert.Contains(t, g.Output(), "nobody")
	assert.Contains(t, g.Output(), "nonsense")
	response, body := g.Chat(t.Context(), t, "demo")
	assert.Equal(t, http.StatusOK, response.StatusCode, body)
	assert.Equal(t, good, response.Header.Get("X-Postern-Config"))
	refused := status()
	assert.Equal(t, 1, refused.code)
	assert.Contains(t, refused.out, good)
	assert.Contains(t, refused.out, "nobody")
	assert.Contains(t, refused.out, "nonsense")

	// The very text that is in force: there is nothing to apply, and yet all is well.
	g.Write(t, demoOnly)
	require.Eventually(t, func() bool { return status().code == 0 }, soon, glance, "an edit taken back heals")
	g.Write(t, "models: [")
	require.Eventually(t, func() bool { return status().code == 1 }, soon, glance)
	edit(t, g, strings.Replace(demoOnly, "{demo: {route", "{better: {route", 1))
	assert.Equal(t, 0, status().code)
	response, body = g.Chat(t.Context(), t, "better")
	assert.Equal(t, http.StatusOK, response.StatusCode, body)
	requireOneListener(t, g)
}

// TestEnvoyJudgesAnEdit before anything changes to it: what it refuses is refused as a
// mistake is, and no secret lies in the file that it is shown.
func TestEnvoyJudgesAnEdit(t *testing.T) {
	const secret = "sk-nobody-shows"
	picky := envoytest.NewPicky(t)
	g := gate.Start(t, gate.Settings{Config: demoOnly, Env: []string{"ENVOY=" + picky.Path, "CLOUD_KEY=" + secret}})
	good := versionOf(t, g)
	more := strings.Replace(demoOnly, "builtin: demo}", `builtin: demo}, cloud: {schema: openai, url: "https://cloud.example/v1", key: "${CLOUD_KEY}"}`, 1)
	more = strings.Replace(more, "models: {", "models: {cloud: {route: [[{provider: cloud}]]}, ", 1)

	picky.Refuse(t, "cloud.example")
	g.Write(t, more)
	require.True(t, g.WaitOutput("Envoy refuses the configuration", patience))
	assert.Contains(t, g.Output(), "the last good version stays")
	response, body := g.Chat(t.Context(), t, "demo")
	assert.Equal(t, http.StatusOK, response.StatusCode, body)
	assert.Equal(t, good, response.Header.Get("X-Postern-Config"))
	response, _ = g.Chat(t.Context(), t, "cloud")
	assert.Equal(t, http.StatusNotFound, response.StatusCode, "no part has changed")
	refused := call{args: []string{"status", "--data", g.Data}}.run(t)
	assert.Equal(t, 1, refused.code)
	assert.Contains(t, refused.out, "Envoy refuses the configuration")

	picky.Refuse(t, secret) // whatever else it would say, it does not see that
	g.Write(t, strings.Replace(more, "models: {", "models: {again: {route: [[{provider: demo}]]}, ", 1))
	require.Eventually(t, func() bool {
		response, _ := g.Chat(t.Context(), t, "again")
		return response.StatusCode == http.StatusOK
	}, patience, glance)
	requireOneListener(t, g)
}
