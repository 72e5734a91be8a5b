package hold_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

func TestMain(m *testing.M) { gate.Main(m.Run) }

const (
	patience = 20 * time.Second
	glance   = 5 * time.Millisecond

	// firstByte is what the models' timeouts.first_byte is.
	firstByte = 600 * time.Millisecond
)

// models: held is what is tested, many is the same with time for a crowd, plain is the
// same without, the others go through more filters.
const models = `
  held: {route: [[{provider: a}], [{provider: b}]], hold: first_event, timeouts: {first_byte: 600ms, idle: 10s}}
  many: {route: [[{provider: a}], [{provider: b}]], hold: first_event, timeouts: {first_byte: 5s, idle: 10s}}
  plain: {route: [[{provider: a}], [{provider: b}]], timeouts: {first_byte: 600ms, idle: 10s}}
  alone: {route: [[{provider: a}]], hold: first_event, timeouts: {first_byte: 600ms, idle: 10s}}
  named: {route: [[{provider: a, model: first-name}], [{provider: b, model: the-other}]], hold: first_event, system: Be kind., timeouts: {first_byte: 600ms, idle: 10s}}
  paths: {route: [[{provider: elsewhere}], [{provider: keys}]], hold: first_event, timeouts: {first_byte: 600ms, idle: 10s}}
`

// house is a gate with two providers behind it, and each of them once more: a on another
// path, b with two keys.
type house struct {
	*gate.Gate
	a, b   *fake.Server
	client *http.Client
}

// open starts a house. Health is to see as little as it can: these tests are of what
// Envoy does by itself.
func open(t *testing.T) *house {
	t.Helper()
	h := &house{a: fake.Start(t), b: fake.Start(t)}
	h.Gate = gate.Start(t, gate.Settings{
		Config: fmt.Sprintf(`
listen: {address: "{{address}}"}
health: {failures: 1000, ratio: 1, window: 100ms}
providers:
  a: {schema: openai, url: "%[1]s/v1", probe: off}
  b: {schema: openai, url: "%[2]s/v1", probe: off}
  elsewhere: {schema: openai, url: "%[1]s/api/v1", probe: off}
  keys: {schema: openai, url: "%[2]s/v1", probe: off, keys: [{key: "${ONE}"}, {key: "${TWO}"}]}
models:
%[3]s`, h.a.URL(), h.b.URL(), models),
		Env: []string{"ONE=sk-one", "TWO=sk-two"},
	})
	h.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}, Timeout: 60 * time.Second}
	t.Cleanup(h.client.CloseIdleConnections)
	return h
}

// calm gives a one good answer, so that Envoy does not leave it alone for what was
// before.
func (h *house) calm(t *testing.T) {
	t.Helper()
	h.a.Reset()
	h.b.Reset()
	for _, model := range []string{"held", "named", "paths"} {
		require.Eventually(t, func() bool {
			return h.ask(t.Context(), t, chat(model, false)).from != "b"
		}, patience, glance)
	}
	h.a.Reset()
	h.b.Reset()
}

// answer is what a client got.
type answer struct {
	status   int
	from     string // the provider
	attempts string
	header   http.Header
	length   int64
	text     string
	err      error // of the body
	took     time.Duration
}

// begin sends a body to chat and gives the answer when its headers are there.
func (h *house) begin(ctx context.Context, body string) (*http.Response, error) {
	return h.Send(ctx, h.client, "/v1/chat/completions", body)
}

// try is begin, and the rest of the answer.
func (h *house) try(ctx context.Context, body string) (answer, error) {
	start := time.Now()
	response, err := h.begin(ctx, body)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{
		status: response.StatusCode, from: response.Header.Get("X-Postern-Provider"),
		attempts: response.Header.Get("X-Postern-Attempts"), header: response.Header, length: response.ContentLength,
		text: string(text), err: err, took: time.Since(start),
	}, nil
}

// ask is try, where an answer has to be.
func (h *house) ask(ctx context.Context, t *testing.T, body string) answer {
	t.Helper()
	got, err := h.try(ctx, body)
	require.NoError(t, err)
	return got
}

func chat(model string, stream bool) string {
	return fmt.Sprintf(`{"model":%q,"stream":%t,"messages":[{"role":"user","content":"one two three"}]}`, model, stream)
}

// event reads up to the end of the next event.
func event(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	var text strings.Builder
	for {
		line, err := r.ReadString('\n')
		require.NoError(t, err, text.String())
		text.WriteString(line)
		if line == "\n" {
			return text.String()
		}
	}
}
