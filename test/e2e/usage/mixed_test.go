package usage_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	fake "github.com/postern-proxy/postern/test/fake/openai"
)

// kind is one way in which a request goes.
type kind struct {
	name     string
	model    string
	stream   bool
	ask      bool // stream_options.include_usage
	abort    bool // the client leaves in the middle
	status   int  // that the client gets; 0: it left
	attempts int
	exact    bool // tokens are the provider's own
	worked   bool // a provider worked on it
}

var kinds = []kind{
	{name: "plain", model: "plain", status: 200, attempts: 1, exact: true, worked: true},
	{name: "plain-again", model: "plain", status: 200, attempts: 1, exact: true, worked: true},
	{name: "stream", model: "plain", stream: true, status: 200, attempts: 1, worked: true},
	{name: "asked", model: "plain", stream: true, ask: true, status: 200, attempts: 1, exact: true, worked: true},
	{name: "exact", model: "exact", stream: true, status: 200, attempts: 1, exact: true, worked: true},
	{name: "exact-asked", model: "exact", stream: true, ask: true, status: 200, attempts: 1, exact: true, worked: true},
	{name: "retried", model: "retried", status: 200, attempts: 2, exact: true, worked: true},
	{name: "failing", model: "failing", status: 500, attempts: 1, exact: true},
	{name: "refused", model: "nobody-has-this", status: 404, exact: true},
	{name: "aborted", model: "slow", stream: true, abort: true, attempts: 1, worked: true},
}

// said is what a provider counts for a text of so many words.
type said struct{ input, output int64 }

func text(words int) string { return strings.TrimSpace(strings.Repeat("word ", words)) }

const mostWords = 40

// TestTheSumsAreWhatTheProvidersCounted sends requests of all kinds, kills Postern three
// times meanwhile, and then holds each record against what the providers counted, and
// what is missing against the gap that is reported. SOAK=n makes it n requests.
func TestTheSumsAreWhatTheProvidersCounted(t *testing.T) {
	total := 4000
	if n, err := strconv.Atoi(os.Getenv("SOAK")); err == nil {
		total = n
	}
	good, bad := fake.Start(t, fake.WithBodiesUpTo(256)), fake.Start(t, fake.WithBodiesUpTo(256))
	bad.Always(fake.Status(503))
	good.ForModel("failing", fake.Status(500))
	good.ForModel("slow", fake.Behavior{EventDelay: 50 * time.Millisecond})
	truth := counted(t, good)
	s := serve(t, fmt.Sprintf(`
listen: {address: "{{address}}"}
health: {probe: off, breakers: off}
providers:
  good: {schema: openai, url: %q, key: "${KEY}"}
  bad: {schema: openai, url: %q, key: "${KEY}"}
models:
  plain: {route: [[{provider: good}]]}
  exact: {route: [[{provider: good}]], usage: exact}
  retried: {route: [[{provider: bad}], [{provider: good}]]}
  failing: {route: [[{provider: good}]]}
  slow: {route: [[{provider: good}]]}
prices:
  good/plain: {input: 1, output: 3}
  good/exact: {input: 1, output: 3}
  good/retried: {input: 1, output: 3}
  good/slow: {input: 1, output: 3}
`, good.URL()+"/v1", bad.URL()+"/v1"), "KEY=sk-x")

	load := &load{s: s, total: int64(total), told: map[string]int{}}
	var running sync.WaitGroup
	for range 16 {
		running.Go(func() { load.work(t) })
	}
	for i := range 3 {
		mark := int64(total * (i + 1) / 5)
		require.Eventually(t, func() bool { return load.next.Load() >= mark }, 20*time.Minute, time.Millisecond)
		s.kill()
		gone := load.next.Load() + int64(total/100)
		require.Eventually(t, func() bool { return load.next.Load() >= gone }, time.Minute, time.Millisecond, "native requests go on")
		s.begin([]string{"KEY=sk-x"})
		s.await()
	}
	running.Wait()
	require.False(t, t.Failed())

	s.settle()
	all := s.records()
	compare(t, all, truth, load.told)
	s.compareGap(all, total)
}

// counted asks the provider itself what it counts.
func counted(t *testing.T, at *fake.Server) []said {
	t.Helper()
	all := make([]said, mostWords+1)
	for words := 1; words <= mostWords; words++ {
		body := fmt.Sprintf(`{"model":"plain","messages":[{"role":"user","content":%q}]}`, text(words))
		response, err := http.Post(at.URL()+"/v1/chat/completions", "application/json", strings.NewReader(body))
		require.NoError(t, err)
		answer, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		usage := gjson.GetBytes(answer, "usage")
		all[words] = said{usage.Get("prompt_tokens").Int(), usage.Get("completion_tokens").Int()}
		require.Positive(t, all[words].output)
	}
	http.DefaultClient.CloseIdleConnections()
	return all
}

// load is a number of clients at work.
type load struct {
	s     *serving
	total int64
	next  atomic.Int64

	mu   sync.Mutex
	told map[string]int // status that the client got, by request id
}

func (l *load) work(t *testing.T) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	for {
		n := l.next.Add(1)
		if n > l.total || t.Failed() {
			return
		}
		k := kinds[rand.IntN(len(kinds))]
		words := 1 + rand.IntN(mostWords)
		id := fmt.Sprintf("%d.%s.%d", n, k.name, words)
		status := l.send(t, client, k, id, words)
		l.mu.Lock()
		l.told[id] = status
		l.mu.Unlock()
	}
}

func (l *load) send(t *testing.T, client *http.Client, k kind, id string, words int) int {
	ctx, leave := context.WithTimeout(t.Context(), time.Minute)
	defer leave()
	body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":%q}],"stream":%t`, k.model, text(words+2*b2i(k.abort)), k.stream)
	if k.ask {
		body += `,"stream_options":{"include_usage":true}`
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, l.s.url+"/v1/chat/completions", strings.NewReader(body+"}"))
	if !assert.NoError(t, err) { //nolint:testifylint // require ends the wrong goroutine here
		return 0
	}
	request.Header.Set("Authorization", "Bearer "+l.s.key)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Request-ID", id)
	response, err := client.Do(request)
	if !assert.NoError(t, err, id) { //nolint:testifylint // require ends the wrong goroutine here
		return 0
	}
	defer response.Body.Close()
	if k.abort {
		_, _ = io.ReadFull(response.Body, make([]byte, 64))
		leave()
		return 0
	}
	answer, err := io.ReadAll(response.Body)
	if !assert.NoError(t, err, id) {
		return 0
	}
	if k.stream && response.StatusCode == http.StatusOK {
		assert.Equal(t, k.ask, strings.Contains(string(answer), `"prompt_tokens"`), "usage is in the stream if the client asked: %s", id)
		assert.True(t, strings.HasSuffix(string(answer), "data: [DONE]\n\n"), "%s ends with %q", id, tail(answer))
		assert.Equal(t, strings.Count(string(answer), "data: "), strings.Count(string(answer), "\n\n"), id)
	}
	if response.StatusCode != k.status && (k.model != "exact" || response.StatusCode != http.StatusServiceUnavailable) {
		t.Errorf("%s: status %d: %s", id, response.StatusCode, answer)
	}
	return response.StatusCode
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func tail(text []byte) string { return string(text[max(0, len(text)-80):]) }
