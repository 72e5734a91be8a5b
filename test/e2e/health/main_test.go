package health_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

func TestMain(m *testing.M) { gate.Main(m.Run) }

const (
	patience = 30 * time.Second
	glance   = 5 * time.Millisecond

	// soon is how long a provider that fails may keep its place; where tests run beside one
	// another a machine of two processors may need twice that.
	soon = 2 * time.Second
	// probed is how often providers are asked here, and noticed how long it takes at most
	// until the traffic follows the answer.
	probed  = time.Second
	noticed = time.Second

	// secret is every provider's key.
	secret = "sk-that-nobody-may-see"
)

// house is a gate and the providers behind it: a, which comes first by the configuration,
// b, and quiet, which is not to be probed.
type house struct {
	*gate.Gate
	a, b   *fake.Server
	quiet  *fake.Server
	client *http.Client

	document func(models, rest string) string
}

// open starts a house. health are the settings of that section, models the entries, rest
// is put at the end of the document.
func open(t *testing.T, health, models, rest string) *house {
	t.Helper()
	h := &house{a: fake.Start(t), b: fake.Start(t), quiet: fake.Start(t)}
	h.document = func(models, rest string) string {
		return fmt.Sprintf(`
listen: {address: "{{address}}"}
health: {%s}
providers:
  a: {schema: openai, url: "%s/v1", key: "${KEY}"}
  b: {schema: openai, url: "%s/v1", key: "${KEY}"}
  quiet: {schema: openai, url: "%s/v1", key: "${KEY}", probe: off}
models:
%s
%s
`, health, h.a.URL(), h.b.URL(), h.quiet.URL(), models, rest)
	}
	h.Gate = gate.Start(t, gate.Settings{Env: []string{"KEY=" + secret}, Config: h.document(models, rest)})
	h.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 60 * time.Second}
	t.Cleanup(func() {
		h.client.CloseIdleConnections()
		assert.NotContains(t, h.Output()+h.EnvoyLog(), secret)
	})
	return h
}

// answer is what a client got.
type answer struct {
	status   int
	provider string
	attempts string
	header   http.Header
	text     string
	err      error
}

// from is who answered, and with which attempt.
func (a answer) from() string { return a.provider + " " + a.attempts }

// ask asks a model a short question.
func (h *house) ask(ctx context.Context, model string) answer { return h.askWith(ctx, model) }

// askWith does so with more headers.
func (h *house) askWith(ctx context.Context, model string, header ...string) answer {
	response, err := h.send(ctx, fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"one two three"}]}`, model), header...)
	if err != nil {
		return answer{err: err}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{
		status: response.StatusCode, provider: response.Header.Get("X-Postern-Provider"),
		attempts: response.Header.Get("X-Postern-Attempts"), header: response.Header, text: string(text), err: err,
	}
}

func (h *house) send(ctx context.Context, body string, header ...string) (*http.Response, error) {
	return h.Send(ctx, h.client, "/v1/chat/completions", body, header...)
}

// traffic is clients that ask one model, one request after the other.
type traffic struct {
	stop  context.CancelFunc
	done  sync.WaitGroup
	asked atomic.Int64

	mu    sync.Mutex
	began map[string]time.Time // by who answered, when the newest such request began
	bad   []string
}

// load has a few clients ask for a model until the test ends. None may see an error.
func (h *house) load(t *testing.T, model string) *traffic {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &traffic{stop: stop, began: map[string]time.Time{}}
	for range 4 {
		l.done.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				l.note(h.ask(context.WithoutCancel(ctx), model), began)
				select {
				case <-time.After(4 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	t.Cleanup(func() { l.end(t) })
	return l
}

func (l *traffic) note(got answer, began time.Time) {
	l.asked.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if got.err != nil || got.status != http.StatusOK {
		l.bad = append(l.bad, fmt.Sprint(got.status, " ", got.err, " ", got.text))
	}
	if began.After(l.began[got.from()]) {
		l.began[got.from()] = began
	}
}

// first waits until a request that began after start is answered by the first attempt at
// a provider, and says how long after start it began.
func (l *traffic) first(t *testing.T, provider string, start time.Time) time.Duration {
	t.Helper()
	var began time.Time
	require.Eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		began = l.began[provider+" 1"]
		return began.After(start)
	}, patience, glance, "nobody is answered by %s at once", provider)
	return began.Sub(start).Round(time.Millisecond)
}

// last is when the newest request began that was answered so.
func (l *traffic) last(from string) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.began[from]
}

// end stops the clients, and says how many of them saw an error: none.
func (l *traffic) end(t *testing.T) {
	t.Helper()
	l.stop()
	l.done.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	assert.Empty(t, l.bad, "of %d", l.asked.Load())
	t.Logf("%d requests, %d errors", l.asked.Load(), len(l.bad))
	l.bad = nil
}

// view is what postern status says of a provider or a model.
type view struct {
	Provider     string    `json:"provider"`
	Model        string    `json:"model"`
	State        string    `json:"state"`
	Error        string    `json:"error"`
	LimitedUntil time.Time `json:"limited_until"`
	FirstByte    float64   `json:"first_byte_ms"`
	Probe        *struct {
		Result string `json:"result"`
	} `json:"probe"`
}

type status struct {
	Providers []view              `json:"providers"`
	Order     map[string][]string `json:"order"`
	Metrics   string              `json:"metrics"`
}

// status asks the gate by its own command, for people and for programs.
func (h *house) status(t *testing.T) (all status, text string) {
	t.Helper()
	run := func(args ...string) []byte {
		cmd := exec.CommandContext(t.Context(), gate.Binary(t), append([]string{"status", "--data", h.Data}, args...)...)
		cmd.Env = gate.Environment(t)
		printed, err := cmd.Output()
		require.NoError(t, err)
		assert.NotContains(t, string(printed), secret)
		return printed
	}
	require.NoError(t, json.Unmarshal(run("--json"), &all))
	return all, string(run())
}

// of finds one view.
func (s status) of(t *testing.T, provider, model string) view {
	t.Helper()
	for _, v := range s.Providers {
		if v.Provider == provider && v.Model == model {
			return v
		}
	}
	t.Fatalf("status says nothing of %s %s", provider, model)
	return view{}
}

// state says that a metric shows this state of a provider and model.
func (h *house) state(t *testing.T, provider, model, state string) bool {
	t.Helper()
	return strings.Contains(h.metrics(t), fmt.Sprintf("postern_provider_state{key=\"\",model=%q,provider=%q,state=%q} 1", model, provider, state))
}

// metrics are what Prometheus would read.
func (h *house) metrics(t *testing.T) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+h.Metrics+"/metrics", nil)
	require.NoError(t, err)
	response, err := h.client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(body)
}
