package api_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

// protocols are the ways a client may speak to the gate. Each client has connections
// of its own, which end with the test.
func protocols(t *testing.T) map[string]*http.Client {
	t.Helper()
	return map[string]*http.Client{"HTTP/1.1": clientOf(t, false, nil), "HTTP/2": clientOf(t, true, nil)}
}

// clientOf speaks one protocol and no other: HTTP/2 by prior knowledge where there is
// no TLS. A nil config is for plain connections.
func clientOf(t *testing.T, h2 bool, config *tls.Config) *http.Client {
	t.Helper()
	var only http.Protocols
	only.SetHTTP1(!h2)
	only.SetHTTP2(h2)
	only.SetUnencryptedHTTP2(h2)
	transport := &http.Transport{Protocols: &only, TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 2 * patience, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// post sends a body with the development key, or what the headers say instead.
func (h *house) post(ctx context.Context, c *http.Client, path, body string, header ...string) (*http.Response, error) {
	return h.Send(ctx, c, path, body, header...)
}

// ask posts a body and must be answered. The answer's body is closed with the test.
func (h *house) ask(t *testing.T, c *http.Client, path, body string, header ...string) *http.Response {
	t.Helper()
	response, err := h.post(t.Context(), c, path, body, header...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

// whole asks for a chat and reads all of the answer. It is for goroutines of a test.
func (h *house) whole(ctx context.Context, c *http.Client, body string) (status int, text string, err error) {
	response, err := h.post(ctx, c, chatPath, body)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	return response.StatusCode, string(all), err
}

func read(t *testing.T, response *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(text)
}

// TestTheFirstChunkDoesNotWaitForTheSecond has a provider that says its second event
// only when told to: the client has read the first by then.
func TestTheFirstChunkDoesNotWaitForTheSecond(t *testing.T) {
	h := shared(t)
	for name, c := range protocols(t) {
		t.Run(name, func(t *testing.T) {
			h.main.Reset()
			next := make(chan struct{})
			h.main.Always(fake.Behavior{Gate: next})
			response := h.ask(t, c, chatPath, chatBody("main", streaming))
			require.Equal(t, http.StatusOK, response.StatusCode)
			assert.Contains(t, response.Header.Get("Content-Type"), "text/event-stream")
			reader := bufio.NewReader(response.Body)
			events := 0
			for {
				line, err := reader.ReadString('\n')
				if err == io.EOF {
					break
				}
				require.NoError(t, err)
				if !strings.HasPrefix(line, "data: ") {
					continue
				}
				events++
				if strings.HasPrefix(line, "data: [DONE]") {
					close(next)
					continue
				}
				assert.Equal(t, 1, h.main.Counts().Active, "the provider is still at it")
				next <- struct{}{}
			}
			assert.Greater(t, events, 5)
		})
	}
}

func TestStreamsOfSingleBytesArriveWhole(t *testing.T) {
	h := shared(t)
	for name, c := range protocols(t) {
		t.Run(name, func(t *testing.T) {
			h.main.Always(fake.Behavior{})
			plain := read(t, h.ask(t, c, chatPath, chatBody("main", streaming)))
			h.main.Always(fake.Behavior{ByteByByte: true})
			single := read(t, h.ask(t, c, chatPath, chatBody("main", streaming)))
			assert.Equal(t, words(plain), words(single))
			assert.True(t, strings.HasSuffix(single, "data: [DONE]\n\n"))
		})
	}
}

// words are the pieces of content of a chat stream.
func words(stream string) []string {
	var all []string
	for line := range strings.Lines(stream) {
		if _, after, ok := strings.Cut(line, `"delta":{"content":"`); ok {
			word, _, _ := strings.Cut(after, `"`)
			all = append(all, word)
		}
	}
	return all
}

// TestTwoHundredStreamsAtOnce has them all open at the same time before any may go on.
func TestTwoHundredStreamsAtOnce(t *testing.T) {
	h := shared(t)
	const streams = 200
	for name, c := range protocols(t) {
		t.Run(name, func(t *testing.T) {
			h.main.Reset()
			open := make(chan struct{})
			h.main.Always(fake.Behavior{Gate: open})
			answers := make([]string, streams)
			var group sync.WaitGroup
			for i := range streams {
				group.Go(func() {
					_, text, err := h.whole(t.Context(), c, chatBody("main", streaming))
					assert.NoError(t, err)
					answers[i] = text
				})
			}
			everyoneIsThere := assert.Eventually(t, func() bool { return h.main.Counts().Active == streams }, patience, glance)
			close(open)
			group.Wait()
			require.True(t, everyoneIsThere)
			for _, text := range answers {
				require.Equal(t, []string{"", "You ", "said: ", "one ", "two ", "three"}, words(text))
				require.True(t, strings.HasSuffix(text, "data: [DONE]\n\n"))
			}
			assert.Equal(t, streams, h.main.Counts().Answered)
		})
	}
}

// TestACutStreamLooksBroken: a client must be able to tell half an answer from one.
func TestACutStreamLooksBroken(t *testing.T) {
	h := shared(t)
	for name, c := range protocols(t) {
		for cut, b := range map[string]fake.Behavior{
			"closed":             fake.CutStream(fake.Close, 2),
			"reset":              fake.CutStream(fake.Reset, 2),
			"within an event":    {Break: fake.Break{How: fake.Close, Bytes: 150}},
			"before its length":  {Break: fake.Break{How: fake.Close, Bytes: 20}},
			"right after a head": fake.BreakOff(fake.Close),
		} {
			t.Run(name+" "+cut, func(t *testing.T) {
				h.main.Reset()
				h.main.Always(b)
				more := streaming
				if cut == "before its length" {
					more = ""
				}
				response := h.ask(t, c, chatPath, chatBody("main", more))
				require.Equal(t, http.StatusOK, response.StatusCode)
				text, err := io.ReadAll(response.Body)
				require.Error(t, err, "the stream ends as if it were whole")
				assert.NotContains(t, string(text), "[DONE]")
				assert.NotContains(t, string(text), "upstream")
				assert.Equal(t, 1, h.main.Counts().Requests, "what has begun is not asked for again")
			})
		}
	}
	h.idle(t)
}

// TestAClientThatLeaves is noticed by the provider at once, so that nobody pays for
// words that nobody reads, and leaves nothing behind in the gate.
func TestAClientThatLeaves(t *testing.T) {
	h := shared(t)
	for when, b := range map[string]fake.Behavior{
		"in a stream":            {Gate: make(chan struct{})},
		"before the first byte":  fake.NoAnswer(fake.Stall),
		"in a stall of a stream": fake.CutStream(fake.Stall, 2),
	} {
		for name, c := range protocols(t) {
			t.Run(name+" "+when, func(t *testing.T) {
				h.idle(t)
				h.main.Reset()
				h.main.Always(b)
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				gone := make(chan error, 1)
				go func() {
					_, _, err := h.whole(ctx, c, chatBody("main", streaming))
					gone <- err
				}()
				require.Eventually(t, func() bool { return len(h.main.Requests()) == 1 }, patience, glance)
				leave()
				require.ErrorIs(t, <-gone, context.Canceled)
				require.Eventually(t, func() bool { return h.main.Counts().Aborted == 1 }, patience, glance, "the provider goes on for nobody")
				h.idle(t)
				assert.Equal(t, 1, h.main.Counts().Requests)
			})
		}
	}
}
