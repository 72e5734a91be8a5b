package usage_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/test/gate"
)

// TestBadRequests sends what no client should. Whatever the answer, the gate goes on,
// nothing is lost, and what is shown to people holds no bytes of the client's that a
// terminal obeys.
func TestBadRequests(t *testing.T) {
	h := open(t, "")
	t.Run("ids", h.badIDs)
	t.Run("user agents", h.userAgents)
	t.Run("one id for all", h.oneID)
	t.Run("model names", h.modelNames)
	t.Run("nothing is lost", func(t *testing.T) {
		require.Eventually(t, func() bool {
			came, _ := value(t, h.Metrics, "postern_log_entries_total", "log", "request")
			completed, ok := value(t, h.Metrics, "postern_envoy_requests_total")
			return ok && came == completed
		}, 20*time.Second, 200*time.Millisecond)
		for _, name := range []string{"postern_log_missing_entries", "postern_log_missing_requests", "postern_log_pending_entries"} {
			n, ok := value(t, h.Metrics, name)
			assert.True(t, ok && n == 0, "%s: %v", name, n)
		}
	})
	printable := func(what, text string) {
		assert.True(t, utf8.ValidString(text), what)
		assert.NotContains(t, text, "\x1b", what)
		assert.NotContains(t, text, "\u202e", what)
	}
	for _, line := range h.lines(t) {
		printable("the usage log", line.Get("id").String()+line.Get("model").String())
		assert.Less(t, len(line.Raw), 4096, "a line of the usage log")
	}
	printable("metrics", h.scrape(t))
	printable("Envoy's log", h.EnvoyLog())
}

func (h *house) badIDs(t *testing.T) {
	ids := map[string]string{
		"above 0x7F":     "high-\xff\xfe\x80-1",
		"broken UTF-8":   "cut-\xe2\x82",
		"turned around":  "turn-\u202eabc",
		"an escape":      "esc-\x1b[2J\x1b]0;owned\x07",
		"a tab":          "tab-\tx",
		"a folded line":  "fold-1\r\n folded",
		"a bare newline": "bare-1\nX-Other: 2",
		"quotes":         `quote-"}{"id":"x`,
		"very long":      strings.Repeat("l", 20_000),
		"nothing":        "",
	}
	passed := 0
	for name, id := range ids {
		status := h.raw(t, "X-Request-Id: "+id)
		assert.Contains(t, []int{200, 400}, status, name)
		if status == 200 {
			passed++
		}
		t.Logf("an id with %s: %d", name, status)
	}
	require.GreaterOrEqual(t, passed, 3, "what Envoy lets through is what is tried here")
	require.Eventually(t, func() bool { // each has a record with the provider's numbers
		exact := 0
		for _, line := range h.lines(t) {
			if line.Get("route").String() == "plain" && line.Get("tokens.input").Int() == 1 && !line.Get("tokens.estimated").Bool() {
				exact++
			}
		}
		return exact == passed
	}, 10*time.Second, 50*time.Millisecond)
}

func (h *house) userAgents(t *testing.T) {
	for name, size := range map[string]int{"50 KB": 50 << 10, "1 MB": 1 << 20} {
		status := h.raw(t, "X-Request-Id: agent-"+strconv.Itoa(size)+"\r\nUser-Agent: "+strings.Repeat("a", size))
		t.Logf("a user agent of %s: %d", name, status)
		if size < 60<<10 {
			assert.Equal(t, 200, status)
			h.with(t, "agent-"+strconv.Itoa(size), 1)
		} else {
			assert.Contains(t, []int{0, 431}, status) // 0: closed while it was still being written
		}
	}
}

// One id for many requests at a time: each keeps its own numbers.
func (h *house) oneID(t *testing.T) {
	const all = 100
	var running sync.WaitGroup
	var next atomic.Int64
	for range 10 {
		running.Go(func() {
			for {
				n := int(next.Add(1))
				if n > all {
					return
				}
				body := fmt.Sprintf(`{"model":"plain","messages":[{"role":"user","content":%q}]}`, text(n))
				response, _ := h.Request(t.Context(), t, http.MethodPost, "/v1/chat/completions", body, "X-Request-Id", "the-same")
				assert.Equal(t, 200, response.StatusCode)
			}
		})
	}
	running.Wait()
	seen := map[int64]bool{}
	for _, line := range h.with(t, "the-same", all) {
		seen[line.Get("tokens.input").Int()] = true
		assert.Len(t, line.Get("attempts").Array(), 1, line.Raw)
		assert.False(t, line.Get("attempts_incomplete").Bool(), line.Raw)
	}
	assert.Len(t, seen, all, "each had a number of words of its own")
	response, answer := h.Request(t.Context(), t, http.MethodGet, "/v1/usage/the-same", "")
	assert.Equal(t, 200, response.StatusCode)
	assert.Contains(t, answer, `"id":"the-same"`)
}

// Ten thousand names of models make no series that ten do not make.
func (h *house) modelNames(t *testing.T) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	send := func(name string) {
		body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"hello"}]}`, name)
		if response, err := h.Send(t.Context(), client, "/v1/chat/completions", body); assert.NoError(t, err) {
			_ = response.Body.Close()
		}
	}
	name := func(n int) string { return fmt.Sprintf([]string{"any-%d", "nobody-%d"}[n%2], n) }
	series := func(sent int) []string {
		require.Eventually(t, func() bool {
			known, _ := value(t, h.Metrics, "postern_requests_total", "route", "any-*")
			unknown, _ := value(t, h.Metrics, "postern_requests_total", "route", "model.unknown")
			_, envoys := value(t, h.Metrics, "postern_envoy_requests_total")
			return envoys && known+unknown >= float64(sent)
		}, 30*time.Second, 100*time.Millisecond)
		var all []string
		for line := range strings.Lines(h.scrape(t)) {
			if strings.HasPrefix(line, "postern_") || strings.HasPrefix(line, "gen_ai_") {
				all = append(all, line[:strings.LastIndex(line, " ")])
			}
		}
		return all
	}
	const few = 10
	all := 10_000
	if gate.RaceDetector {
		all = 2_000
	}
	for n := range few {
		send(name(n))
	}
	before := series(few)
	var running sync.WaitGroup
	var next atomic.Int64
	next.Store(few - 1)
	for range 8 {
		running.Go(func() {
			for n := int(next.Add(1)); n < all && !t.Failed(); n = int(next.Add(1)) {
				send(name(n))
			}
		})
	}
	running.Wait()
	assert.Equal(t, before, series(all))
	asked, ok := value(t, h.Metrics, "gen_ai_client_operation_duration_seconds", "gen_ai_request_model", "other")
	assert.True(t, ok && asked > 0, "they are counted, as one")
}
