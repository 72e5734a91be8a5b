package usage_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/envoy"
	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
	"github.com/postern-proxy/postern/usage"
)

// TestWhatEnded holds what Envoy is taken to have ended against the records: streams that
// go on are not missing, and neither an answer in two parts nor a client that leaves
// early hides one that is.
func TestWhatEnded(t *testing.T) {
	going := make(chan struct{})
	good, bad := fake.Start(t), fake.Start(t)
	good.ForModel("held", fake.Behavior{Gate: going})
	good.ForModel("silent", fake.NoAnswer(fake.Stall))
	good.ForModel("late", fake.NoAnswer(fake.Stall))
	bad.Always(fake.Status(500))
	h := &house{provider: good, journal: filepath.Join(t.TempDir(), "usage.jsonl")}
	h.Gate = gate.Start(t, gate.Settings{Config: fmt.Sprintf(`
listen: {address: "{{address}}"}
health: {probe: off, breakers: off}
providers:
  good: {schema: openai, url: %q}
  bad: {schema: openai, url: %q}
models:
  plain: {route: [[{provider: good}]]}
  held: {route: [[{provider: good}]]}
  silent: {route: [[{provider: good}]]}
  late: {route: [[{provider: good}]], timeouts: {total: 300ms}}
  failing: {route: [[{provider: bad}]]}
prices: {"good/late": {input: 1, output: 1}, "bad/failing": {input: 1, output: 1}}
`, good.URL()+"/v1", bad.URL()+"/v1"), Args: []string{"--usage-log", h.journal}})
	counters := &usage.Envoy{Stats: envoy.Admin{Socket: filepath.Join(h.Data, "run", "admin.sock")}.Stats}
	ended := func() int {
		counted, err := counters.Counters(t.Context())
		require.NoError(t, err)
		assert.WithinDuration(t, time.Now(), counted.Born, time.Minute)
		return int(counted.Requests)
	}
	// agree waits until there are so many records of the test's, and as many records as
	// requests ended.
	own := 0
	agree := func(what string) {
		t.Helper()
		require.Eventually(t, func() bool {
			lines, mine := h.lines(t), 0
			for _, line := range lines {
				mine += b2i(strings.HasPrefix(line.Get("id").String(), "ended-"))
			}
			return mine == own && len(lines) == ended()
		}, 8*time.Second, 50*time.Millisecond, "%s: %d records of %d, Envoy ended %d", what, len(h.lines(t)), own, ended())
	}

	const streams = 20
	var running sync.WaitGroup
	results := make(chan error, streams)
	for n := range streams {
		running.Go(func() {
			results <- h.stream(t.Context(), fmt.Sprintf("ended-held-%d", n), "held")
		})
	}
	require.Eventually(t, func() bool { return good.Counts().Active == streams }, 20*time.Second, 20*time.Millisecond)
	agree("streams go on")

	for n := range 5 {
		assert.Equal(t, http.StatusOK, h.inTwoParts(t, fmt.Sprintf("ended-twice-%d", n)))
	}
	own += 5
	agree("after 100-continue")

	_, _, err := h.ask(t, "ended-late", "late", "")
	require.NoError(t, err)
	own++
	agree("the whole time was up") // and its record does not wait for an entry that never comes
	late := h.with(t, "ended-late", 1)[0]
	assert.EqualValues(t, 504, late.Get("status").Int(), late.Raw)
	assert.Len(t, late.Get("attempts").Array(), 1, late.Raw)
	assert.False(t, late.Get("attempts_incomplete").Bool(), late.Raw)
	assert.EqualValues(t, 1, late.Get("tokens.output").Int(), late.Raw)

	for n := range 3 {
		ctx, leave := context.WithTimeout(t.Context(), 100*time.Millisecond)
		require.Error(t, h.stream(ctx, fmt.Sprintf("ended-left-%d", n), "silent"))
		leave()
	}
	own += 3
	agree("clients left before the answer")

	t.Run("one id for failures and others at once", h.sharedID)
	own += 2 * shared

	close(going)
	running.Wait()
	for range streams {
		require.NoError(t, <-results)
	}
	own += streams
	agree("all ended")
}

// stream sends a request for a stream and reads it to its end.
func (h *house) stream(ctx context.Context, id, model string) error {
	body := fmt.Sprintf(`{"model":%q,"stream":true,"messages":[{"role":"user","content":"one two three"}]}`, model)
	response, err := h.Send(ctx, gate.Client(), "/v1/chat/completions", body, "X-Request-ID", id)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// inTwoParts sends a request whose body waits for 100-continue, and gives the answer's
// status.
func (h *house) inTwoParts(t *testing.T, id string) int {
	t.Helper()
	c, err := net.DialTimeout("tcp", h.Address, 10*time.Second)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	body := `{"model":"plain","messages":[{"role":"user","content":"hello"}]}`
	_, _ = fmt.Fprintf(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nX-Request-Id: %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", h.Key, id, len(body))
	answers := bufio.NewReader(c)
	response, err := http.ReadResponse(answers, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusContinue, response.StatusCode)
	_, _ = io.WriteString(c, body)
	response, err = http.ReadResponse(answers, nil)
	require.NoError(t, err)
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

const shared = 20

// sharedID has clients use one id at once, half of whose requests fail: each has its own
// attempt.
func (h *house) sharedID(t *testing.T) {
	var running sync.WaitGroup
	for _, model := range []string{"plain", "failing"} {
		for range shared {
			running.Go(func() {
				_, _, err := h.ask(t, "ended-shared", model, "")
				assert.NoError(t, err)
			})
		}
	}
	running.Wait()
	for _, line := range h.with(t, "ended-shared", 2*shared) {
		attempts := line.Get("attempts").Array()
		if assert.Len(t, attempts, 1, line.Raw) {
			assert.Equal(t, line.Get("status").Int(), attempts[0].Get("status").Int(), line.Raw)
			assert.Equal(t, line.Get("provider").String(), attempts[0].Get("provider").String(), line.Raw)
		}
		assert.False(t, line.Get("attempts_incomplete").Bool(), line.Raw)
	}
}
