package bedrock_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/bedrock"
	"github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
	"github.com/postern-proxy/postern/test/matrix"
)

// variants are the ways in which a client may send a request, beside the one of the
// matrix: a plain chat of known length over HTTP/1.1.
var variants = map[string]struct {
	path, more     string
	chunked, http2 bool
	ends           string // how a good answer ends
}{
	"chunked":         {path: "/v1/chat/completions", chunked: true, ends: "}"},
	"http2":           {path: "/v1/chat/completions", http2: true, ends: "}"},
	"http2-unsized":   {path: "/v1/chat/completions", http2: true, chunked: true, ends: "}"},
	"streamed":        {path: "/v1/chat/completions", more: `"stream":true,"stream_options":{"include_usage":true},`, ends: "data: [DONE]\n\n"},
	"responses":       {path: "/v1/responses", ends: "}"},
	"response-stream": {path: "/v1/responses", more: `"stream":true,`, ends: "\n\n"},
}

// cell is a route of which all but the last target fail, in one way.
type cell struct {
	route            []string // kinds: "plain", "claude", or "tls", which is claude's over TLS
	failure, variant string
}

func (c cell) String() string {
	return strings.Join(c.route, "-") + "-" + c.failure + "-" + c.variant
}

func (c cell) last() string { return c.route[len(c.route)-1] }

func cells() []cell {
	var all []cell
	for variant := range variants {
		for _, failure := range []string{"503", "reset"} {
			if failure == "reset" && variant != "chunked" && variant != "streamed" {
				continue // how it fails and how it came have little to do with each other
			}
			for _, route := range [][]string{
				{"plain", "plain"}, {"plain", "claude"}, {"claude", "plain"}, {"claude", "claude"},
				{"plain", "tls"}, {"claude", "tls"},
				{"claude", "plain", "claude"}, {"plain", "claude", "plain"},
			} {
				all = append(all, cell{route, failure, variant})
			}
		}
	}
	return all
}

// wider is a gate for all cells. Each target is a provider of its own, so that one cell's
// failures say nothing of another's.
type wider struct {
	gate        *gate.Gate
	first, last side
	secure      *fake.Server
	secureName  string // localhost:port
}

func startWider(t *testing.T) *wider {
	t.Helper()
	w := &wider{first: newSide(t, "us-west-2"), last: newSide(t, "eu-central-1"), secure: fake.Start(t, fake.WithTLS(nil), fake.WithRegion("eu-central-1"))}
	for _, name := range []string{"503", "reset"} {
		w.first.openai.ForUser(name, failures[name].openai)
		w.first.bedrock.ForText(name, failures[name].bedrock)
	}
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "ca.pem"), w.secure.CA(), 0o600))
	w.secureName = strings.Replace(w.secure.Address(), "127.0.0.1", "localhost", 1)
	var providers, models strings.Builder
	target := func(name, kind string, at side, place string) string {
		switch kind {
		case "plain":
			fmt.Fprintf(&providers, "  %s: {schema: openai, url: %q, key: \"${KEY_%s}\"}\n", name, at.openai.URL()+"/v1", place)
			return fmt.Sprintf("[{provider: %s, model: model-of-%s}]", name, place)
		case "tls":
			fmt.Fprintf(&providers, "  %s: {schema: bedrock, url: \"https://%s\", region: %s, ca: file:ca.pem}\n", name, w.secureName, at.region)
		default:
			fmt.Fprintf(&providers, "  %s: {schema: bedrock, url: %q, region: %s}\n", name, at.bedrock.URL(), at.region)
		}
		return fmt.Sprintf("[{provider: %s, model: %q}]", name, claude)
	}
	for _, c := range cells() {
		var route []string
		for i, kind := range c.route {
			at, place := w.first, "FIRST"
			if i == len(c.route)-1 {
				at, place = w.last, "LAST"
			}
			route = append(route, target(fmt.Sprintf("p%d-%s", i, c), kind, at, place))
		}
		fmt.Fprintf(&models, "  both-%s: {route: [%s]}\n  only-%s: {route: [%s]}\n", c, strings.Join(route, ", "), c, route[len(route)-1])
	}
	w.gate = gate.Start(t, gate.Settings{
		Folder: folder, Env: append(credentials(fake.Test), "KEY_FIRST=secret-of-first", "KEY_LAST=secret-of-last"),
		Config: "listen: {address: \"{{address}}\"}\nproviders:\n" + providers.String() + "models:\n" + models.String(),
	})
	return w
}

// TestAnAttemptIsLikeAFreshRequestHoweverItCame is the matrix for bodies without a length
// and over HTTP/2, for streams and responses, for three targets in a row, and over TLS.
func TestAnAttemptIsLikeAFreshRequestHoweverItCame(t *testing.T) {
	w := startWider(t)
	clients := map[bool]*http.Client{false: protocolClient(t, false), true: protocolClient(t, true)}
	matrix.Each(t, cells(), func(t *testing.T, c cell) {
		client := clients[variants[c.variant].http2]
		got, fresh := w.ask(t, client, c, "both"), w.ask(t, client, c, "only")
		assert.Equal(t, plainly(c, fresh), plainly(c, got))
		w.nobodyElses(t, c, got)
	})
	w.first.bedrock.NoRefusals(t)
	w.last.bedrock.NoRefusals(t)
	w.secure.NoRefusals(t)
}

func protocolClient(t *testing.T, http2 bool) *http.Client {
	t.Helper()
	only := new(http.Protocols)
	only.SetHTTP1(!http2)
	only.SetUnencryptedHTTP2(http2)
	c := &http.Client{Transport: &http.Transport{Protocols: only}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// ask sends a cell's request, and gives what its last provider was sent.
func (w *wider) ask(t *testing.T, client *http.Client, c cell, way string) openai.Request {
	t.Helper()
	v := variants[c.variant]
	member, id := `"messages"`, way+"-"+c.String()
	if v.path == "/v1/responses" {
		member = `"input"`
	}
	text := fmt.Sprintf(`{"model":%q,%s"user":%q,%s:[{"role":"user","content":"%s"},{"role":"assistant","content":"yes"},{"role":"user","content":%q}]}`,
		id, v.more, c.failure, member, strings.Repeat("wörd ", 200), c.failure)
	var body io.Reader = strings.NewReader(text)
	if v.chunked {
		body = struct{ io.Reader }{body} // its length is not known
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.gate.URL+v.path, body)
	require.NoError(t, err)
	for name, value := range map[string]string{
		"Authorization": "Bearer " + w.gate.Key, "Content-Type": "application/json", "X-Request-Id": id,
		"X-Own": "kept", "X-Amz-Date": "mine", "X-Amzn-Trace": "mine", "X-Postern-Tenant": "forged", "Cookie": "session=mine",
	} {
		request.Header.Set(name, value)
	}
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, "%s", answer)
	assert.True(t, strings.HasSuffix(string(answer), v.ends), "%s", answer)
	assert.Contains(t, string(answer), c.failure)
	at := w.last
	if c.last() == "tls" {
		at.bedrock = w.secure
	}
	kind := map[bool]string{true: "claude", false: "plain"}[c.last() != "plain"]
	all := at.of(kind, id)
	require.Len(t, all, 1)
	if way == "both" {
		tries := 0
		for _, kind := range []string{"claude", "plain"} {
			tries += len(w.first.of(kind, id))
		}
		assert.Equal(t, len(c.route)-1, tries, "each of the others was asked once")
	}
	return all[0]
}

// plainly is all of a request but what must differ.
func plainly(c cell, r openai.Request) string {
	return strings.ReplaceAll(matrix.Plainly(r, undated(matrix.Lines(r))), "only-"+c.String(), "both-"+c.String())
}

// nobodyElses: no other provider's credential, host or length, and nothing of the client's
// that is forged.
func (w *wider) nobodyElses(t *testing.T, c cell, r openai.Request) {
	t.Helper()
	for _, line := range matrix.Lines(r) {
		for _, word := range []string{"secret-of-first", "mine", "forged", w.gate.Key, w.first.openai.Address(), w.first.bedrock.Address(), w.first.region, "FIRST"} {
			assert.NotContains(t, line.Value, word, line.Name)
		}
		if line.Name == "content-length" {
			assert.Equal(t, fmt.Sprint(len(r.Body)), line.Value)
		}
	}
	switch c.last() {
	case "plain":
		assert.Equal(t, w.last.openai.Address(), r.Host)
		assert.Equal(t, "Bearer secret-of-last", r.Header.Get("Authorization"))
		assert.Equal(t, variants[c.variant].path, r.Path)
		assert.Equal(t, "model-of-LAST", r.JSON("model").String())
	case "tls":
		assert.Equal(t, w.secureName, r.Host)
	default:
		assert.Equal(t, w.last.bedrock.Address(), r.Host)
	}
	if c.last() != "plain" {
		assert.Contains(t, r.Header.Get("Authorization"), "/eu-central-1/bedrock/aws4_request")
		assert.NotContains(t, string(r.Body), "both-", "the client's name for the model is nothing to Bedrock")
	}
}
