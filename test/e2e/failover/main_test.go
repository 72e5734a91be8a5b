package failover_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/access"
	"github.com/postern-proxy/postern/envoy"
	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

func TestMain(m *testing.M) { gate.Main(m.Run) }

const (
	patience = 20 * time.Second
	glance   = 5 * time.Millisecond
)

// house is a gate and three providers a, b and c behind it.
type house struct {
	*gate.Gate
	a, b, c *fake.Server
	client  *http.Client
	health  string // the section of the configuration
}

// open starts a house in which Envoy's own breaker is alone. more stands under providers,
// models under models; args are the gate's.
func open(t *testing.T, more, models string, args ...string) *house {
	t.Helper()
	return openWith(t, "health: {probe: off, breakers: off}", more, models, args...)
}

// openWith starts a house with a section health.
func openWith(t *testing.T, health, more, models string, args ...string) *house {
	t.Helper()
	h := &house{a: fake.Start(t), b: fake.Start(t), c: fake.Start(t), health: health}
	h.Gate = gate.Start(t, gate.Settings{Config: h.document(more, models), Args: args})
	h.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}, Timeout: 60 * time.Second}
	t.Cleanup(h.client.CloseIdleConnections)
	return h
}

// document has health see as little as it can: these tests are of what Envoy does by
// itself, before the order of groups changes.
func (h *house) document(more, models string) string {
	return fmt.Sprintf(`
listen: {address: "{{address}}"}
%s
providers:
  a: {schema: openai, url: "%s/v1"}
  b: {schema: openai, url: "%s/v1"}
  c: {schema: openai, url: "%s/v1"}
%s
models:
%s
`, h.health, h.a.URL(), h.b.URL(), h.c.URL(), more, models)
}

// answer is what a client got.
type answer struct {
	status   int
	provider string
	header   http.Header
	text     string
	begun    bool // the headers were there
	err      error
}

// post sends a body with the development key, or another in a header.
func (h *house) post(ctx context.Context, body string, header ...string) answer {
	response, err := h.Send(ctx, h.client, "/v1/chat/completions", body, header...)
	if err != nil {
		return answer{err: err}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{
		status: response.StatusCode, provider: response.Header.Get("X-Postern-Provider"),
		header: response.Header, text: string(text), begun: true, err: err,
	}
}

// ask wants an answer to a short question.
func (h *house) ask(t *testing.T, model string, header ...string) answer {
	t.Helper()
	got := h.post(t.Context(), chat(model), header...)
	require.NoError(t, got.err)
	return got
}

func chat(model string) string {
	return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"one two three"}]}`, model)
}

// many asks n times, by so many clients at a time. What they got is in no order.
func (h *house) many(ctx context.Context, clients, n int, model string, each func(answer)) {
	var group sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(n))
	for range clients {
		group.Go(func() {
			for left.Add(-1) >= 0 {
				each(h.post(ctx, chat(model)))
			}
		})
	}
	group.Wait()
}

// count is many, by provider and status.
func (h *house) count(ctx context.Context, clients, n int, model string) map[string]int {
	var mu sync.Mutex
	counted := map[string]int{}
	h.many(ctx, clients, n, model, func(got answer) {
		name := fmt.Sprintf("%s %d", got.provider, got.status)
		if got.err != nil {
			name = got.err.Error()
		}
		mu.Lock()
		defer mu.Unlock()
		counted[name]++
	})
	return counted
}

// key mints a key for a user.
func (h *house) key(t *testing.T, user string) string {
	t.Helper()
	signer, err := access.Open(h.Data)
	require.NoError(t, err)
	key, err := signer.Mint(access.Grant{Tenant: "acme", User: user, Expires: time.Hour}, time.Now())
	require.NoError(t, err)
	return key.Token()
}

// stat asks Envoy for one number.
func (h *house) stat(t *testing.T, name string) int {
	t.Helper()
	stats, err := h.admin(t).Stats(t.Context(), name)
	require.NoError(t, err)
	return int(stats[name])
}

func (h *house) admin(t *testing.T) envoy.Admin {
	t.Helper()
	folder, err := os.ReadFile(filepath.Join(h.Data, "run", "folder"))
	require.NoError(t, err)
	return envoy.Admin{Socket: filepath.Join(string(folder), "admin.sock")}
}
