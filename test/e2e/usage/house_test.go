package usage_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/envoy/envoytest"
	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
	"github.com/postern-proxy/postern/test/need"
	"github.com/postern-proxy/postern/xds/reader"
)

// house is a gate before one provider, and the log of what it did.
type house struct {
	*gate.Gate
	provider *fake.Server
	second   *fake.Server // another, with TLS and HTTP/2
	config   string
	reader   string // if it was chosen
	journal  string
}

// open starts a house. Model "plain" is native, "exact" asks each stream for its usage
// and takes it out again, and "any-*" is every name that begins so; plain-2 and exact-2 are
// at the second provider. more goes behind the configuration.
func open(t *testing.T, more string, args ...string) *house {
	t.Helper()
	folder := t.TempDir()
	h := &house{
		provider: fake.Start(t, fake.WithBodiesUpTo(256)), second: fake.Start(t, fake.WithBodiesUpTo(256), fake.WithTLS(nil)),
		journal: filepath.Join(folder, "usage.jsonl"),
	}
	require.NoError(t, os.WriteFile(filepath.Join(folder, "ca.pem"), h.second.CA(), 0o600))
	h.config = fmt.Sprintf(`
listen: {address: "{{address}}"}
providers:
  one: {schema: openai, url: %q}
  two: {schema: openai, url: %q, ca: "file:%s/ca.pem"}
models:
  plain: {route: [[{provider: one}]]}
  exact: {route: [[{provider: one}]], usage: exact}
  any-*: {route: [[{provider: one}]]}
  plain-2: {route: [[{provider: two}]]}
  exact-2: {route: [[{provider: two}]], usage: exact}
prices:
  one/plain: {input: 1, output: 3}
  one/exact: {input: 1, output: 3}
  two/plain-2: {input: 1, output: 3}
  two/exact-2: {input: 1, output: 3}
%s`, h.provider.URL()+"/v1", h.second.URL()+"/v1", folder, more)
	h.Gate = gate.Start(t, gate.Settings{Config: h.config, Args: append([]string{"--usage-log", h.journal}, args...)})
	return h
}

// byEachReader runs a test with a house whose answers are read by the script, and one
// where the module reads them.
func byEachReader(t *testing.T, test func(t *testing.T, h *house)) {
	for _, name := range []string{"script", "module"} {
		t.Run(name, func(t *testing.T) {
			if name == "module" && reader.Beside(envoytest.Binary(t), envoy.Version) == "" {
				need.Missing(t, "the native reader: run make setup where there is a C compiler (cc)")
			}
			h := open(t, "", "--reader", name)
			h.reader = name
			test(t, h)
		})
	}
}

// wires are the ways in which a provider speaks: the end of an HTTP/2 answer may come with
// its last bytes, that of an HTTP/1.1 answer never does.
func (h *house) wires() []wire {
	return []wire{{name: "HTTP/1.1", provider: h.provider}, {name: "HTTP/2", provider: h.second, suffix: "-2"}}
}

type wire struct {
	name     string
	provider *fake.Server
	suffix   string // of the models there
}

// lines are the usage log's.
func (h *house) lines(t *testing.T) []gjson.Result {
	t.Helper()
	text, err := os.ReadFile(h.journal)
	require.NoError(t, err)
	var all []gjson.Result
	for line := range strings.Lines(string(text)) {
		if strings.HasSuffix(line, "\n") { // or it is being written
			require.True(t, gjson.Valid(line), line)
			all = append(all, gjson.Parse(line))
		}
	}
	return all
}

// with are the lines of a request id, as soon as there are so many.
func (h *house) with(t *testing.T, id string, count int) []gjson.Result {
	t.Helper()
	var found []gjson.Result
	require.Eventually(t, func() bool {
		found = found[:0]
		for _, line := range h.lines(t) {
			if line.Get("id").String() == id {
				found = append(found, line)
			}
		}
		return len(found) >= count
	}, 20*time.Second, 20*time.Millisecond, "no record of %s", id)
	require.Len(t, found, count)
	return found
}

// scrape is what /metrics gives.
func (h *house) scrape(t *testing.T) string {
	t.Helper()
	response, err := gate.Client().Get("http://" + h.Metrics + "/metrics")
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(text)
}

// ask sends a chat and gives the answer's bytes; err is how reading them ended.
func (h *house) ask(t *testing.T, id, model, more string) (*http.Response, []byte, error) {
	t.Helper()
	body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"one two three"}]%s}`, model, more)
	response, err := h.Send(t.Context(), gate.Client(), "/v1/chat/completions", body,
		"Accept-Encoding", "identity", "X-Request-ID", id) // net/http would unpack what it asked for
	require.NoError(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response, answer, err
}

// raw sends a chat with header lines as they are; the status is 0 if the connection
// was closed without an answer.
func (h *house) raw(t *testing.T, header string) int {
	t.Helper()
	c, err := net.DialTimeout("tcp", h.Address, 10*time.Second)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	body := `{"model":"plain","messages":[{"role":"user","content":"hello"}]}`
	_, _ = fmt.Fprintf(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n%s\r\n\r\n%s", h.Key, len(body), header, body)
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}
