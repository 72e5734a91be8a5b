package usage_test

import (
	"context"
	"fmt"
	"io"
	"maps"
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

	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/envoy/envoytest"
	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
	"github.com/postern-proxy/postern/test/need"
	"github.com/postern-proxy/postern/xds/reader"
)

// kind is one way in which a request goes.
type kind struct {
	name   string
	path   string // what follows /v1/; empty: chat/completions
	model  string
	stream bool
	ask    bool // stream_options.include_usage
	abort  bool // the client leaves in the middle
	broken bool // the client does not get the whole answer
	status int  // that the client gets; 0: it left
	exact  bool // tokens are the provider's own
	worked bool // a provider worked on it
	free   bool // its price is not known

	attempts []string // the providers that are asked, in this order
	failed   int      // so many of them have an entry of their own, because they failed
}

var (
	one   = []string{"good"}
	kinds = []kind{
		{name: "plain", model: "plain", status: 200, exact: true, worked: true, attempts: one},
		{name: "stream", model: "plain", stream: true, status: 200, worked: true, attempts: one},
		{name: "asked", model: "plain", stream: true, ask: true, status: 200, exact: true, worked: true, attempts: one},
		{name: "exact", model: "exact", stream: true, status: 200, exact: true, worked: true, attempts: one},
		{name: "exact-asked", model: "exact", stream: true, ask: true, status: 200, exact: true, worked: true, attempts: one},
		{name: "responses", path: "responses", model: "plain", status: 200, exact: true, worked: true, attempts: one},
		{name: "responses-stream", path: "responses", model: "plain", stream: true, status: 200, exact: true, worked: true, attempts: one},
		{name: "completions", path: "completions", model: "plain", status: 200, exact: true, worked: true, attempts: one},
		{name: "completions-stream", path: "completions", model: "plain", stream: true, status: 200, worked: true, attempts: one},
		{name: "completions-asked", path: "completions", model: "plain", stream: true, ask: true, status: 200, exact: true, worked: true, attempts: one},
		{name: "embeddings", path: "embeddings", model: "plain", status: 200, exact: true, worked: true, attempts: one},
		{name: "unpriced", model: "unpriced", status: 200, exact: true, worked: true, free: true, attempts: one},
		{name: "retried", model: "retried", status: 200, exact: true, worked: true, attempts: []string{"bad", "good"}, failed: 1},
		{name: "unreachable", model: "unreachable", status: 200, exact: true, worked: true, attempts: []string{"dead", "good"}, failed: 1},
		{name: "failing", model: "failing", status: 500, exact: true, attempts: one, failed: 1},
		{name: "refused", model: "nobody-has-this", status: 404, exact: true},
		{name: "late", model: "late", status: 504, worked: true, attempts: one},
		{name: "failed-stream", model: "failed-stream", stream: true, status: 200, worked: true, attempts: one},
		{name: "reset", model: "reset", stream: true, broken: true, status: 200, worked: true, attempts: one, failed: 1},
		{name: "aborted", model: "slow", stream: true, abort: true, worked: true, attempts: one},
	}
)

func text(words int) string { return strings.TrimSpace(strings.Repeat("word ", words)) }

const mostWords = 40

// body is what a request of the kind asks for; a provider finds the id in it.
func (k *kind) body(id string, words int) string {
	said := strconv.Quote(text(words))
	switch k.path {
	case "responses", "embeddings":
		said = `"input":` + said
	case "completions":
		said = `"prompt":` + said
	default:
		said = `"messages":[{"role":"user","content":` + said + `}]`
	}
	body := fmt.Sprintf(`{"model":%q,"user":%q,%s`, k.model, id, said)
	if k.stream {
		body += `,"stream":true`
	}
	if k.ask {
		body += `,"stream_options":{"include_usage":true}`
	}
	return body + "}"
}

// TestTheSumsAreWhatTheProvidersCounted sends requests of all kinds, kills Postern three
// times meanwhile, and then holds each record against what the providers counted, and
// what is missing against the gap that is reported. SOAK=n makes it n requests, half of
// them by each reader of answers.
func TestTheSumsAreWhatTheProvidersCounted(t *testing.T) {
	total := 4000
	if n, err := strconv.Atoi(os.Getenv("SOAK")); err == nil {
		total = n
	}
	for _, name := range []string{"script", "module"} {
		t.Run(name, func(t *testing.T) {
			if name == "module" && reader.Beside(envoytest.Binary(t), envoy.Version) == "" {
				need.Missing(t, "the native reader: run make setup where there is a C compiler (cc)")
			}
			mixed(t, name, total/2)
		})
	}
}

// clients are how many work at once.
const clients = 16

func mixed(t *testing.T, by string, total int) {
	w := &witness{asked: map[string][]asked{}}
	good := fake.Start(t, fake.WithBodiesUpTo(256), fake.WithWitness(w.of("good")))
	bad := fake.Start(t, fake.WithBodiesUpTo(256), fake.WithWitness(w.of("bad")))
	bad.Always(fake.Status(503))
	good.ForModel("failing", fake.Status(500))
	good.ForModel("slow", fake.Behavior{EventDelay: 50 * time.Millisecond})
	good.ForModel("late", fake.NoAnswer(fake.Stall))
	good.ForModel("reset", fake.CutStream(fake.Reset, 2))
	good.ForModel("failed-stream", fake.Behavior{Header: eventStream, Body: []byte(
		"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"error\":{\"message\":\"no more\",\"type\":\"server_error\"}}\n\n")})
	s := serve(t, by, fmt.Sprintf(`
listen: {address: "{{address}}"}
health: {probe: off, breakers: off}
providers:
  good: {schema: openai, url: %q, key: "${KEY}"}
  bad: {schema: openai, url: %q, key: "${KEY}"}
  dead: {schema: openai, url: %q, key: "${KEY}"}
models:
  plain: {route: [[{provider: good}]]}
  unpriced: {route: [[{provider: good}]]}
  exact: {route: [[{provider: good}]], usage: exact}
  retried: {route: [[{provider: bad}], [{provider: good}]]}
  unreachable: {route: [[{provider: dead}], [{provider: good}]]}
  failing: {route: [[{provider: good}]]}
  failed-stream: {route: [[{provider: good}]]}
  reset: {route: [[{provider: good}]]}
  slow: {route: [[{provider: good}]]}
  late: {route: [[{provider: good}]], timeouts: {total: 200ms}}
prices: {%s}
`, good.URL()+"/v1", bad.URL()+"/v1", "http://"+gate.FreeAddress(t)+"/v1", prices()), "KEY=sk-x")

	load := &load{s: s, total: int64(total), told: map[string]int{}}
	var running sync.WaitGroup
	for range clients {
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
	maps.Copy(load.told, s.asked)

	s.settle()
	all := s.records()
	w.account(t, load.told, map[string]int{"good": good.Counts().Requests, "bad": bad.Counts().Requests})
	compare(t, all, w, load.told)
	s.compareGap(all, load.told, by)
}

// prices are those of all models but one: a dollar and three for a million tokens.
func prices() string {
	var all []string
	for _, k := range kinds {
		price := fmt.Sprintf("good/%s: {input: 1, output: 3}", k.model)
		if !k.free && k.worked && !strings.Contains(strings.Join(all, ","), price) {
			all = append(all, price)
		}
	}
	return strings.Join(all, ", ")
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
	path := k.path
	if path == "" {
		path = "chat/completions"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, l.s.url+"/v1/"+path, strings.NewReader(k.body(id, words+2*b2i(k.abort))))
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
	if k.broken {
		assert.Error(t, err, id) //nolint:testifylint // likewise
	} else if !assert.NoError(t, err, id) {
		return 0
	}
	if k.stream && k.path != "responses" && k.model != "failed-stream" && !k.broken && response.StatusCode == http.StatusOK {
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
