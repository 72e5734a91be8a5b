package api_test

import (
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

// limits is a gate whose configuration is a test's to change.
type limits struct {
	*house
	provider string
	client   *http.Client
}

func openLimits(t *testing.T) *limits {
	t.Helper()
	l := &limits{house: &house{main: fake.Start(t)}, client: clientOf(t, false, nil)}
	l.provider = l.main.URL()
	l.Gate = gate.Start(t, gate.Settings{Config: l.text("1s", "6/h")})
	l.knock(t)
	return l
}

// text is a configuration: the total time is in the routes alone, the other rate in
// the buckets alone.
func (l *limits) text(total, other string) string {
	return fmt.Sprintf(`
listen: {address: "{{address}}"}
providers:
  main: {schema: openai, url: "%s/v1"}
models:
  main: {route: [[{provider: main}]], timeouts: {total: %s}}
tiers:
  default: {}
  five: {requests: 5/h}
  other: {requests: %s}
`, l.provider, total, other)
}

// push writes a configuration and waits until answers come from it.
func (l *limits) push(t *testing.T, text string) {
	t.Helper()
	before := l.version(t)
	l.Write(t, text)
	require.Eventually(t, func() bool { return l.version(t) != before }, patience, glance, "the configuration is not taken:\n%s", l.Output())
}

func (l *limits) version(t *testing.T) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, l.URL+"/livez", http.NoBody)
	require.NoError(t, err)
	response, err := l.client.Do(r)
	require.NoError(t, err)
	_ = read(t, response)
	_ = response.Body.Close()
	return response.Header.Get("X-Postern-Config")
}

// spend asks n times with a key and gives the statuses.
func (l *limits) spend(t *testing.T, key string, n int) map[int]int {
	t.Helper()
	seen := map[int]int{}
	for range n {
		response := l.ask(t, l.client, chatPath, chatBody("main", ""), "Authorization", "Bearer "+key)
		_ = read(t, response)
		seen[response.StatusCode]++
	}
	return seen
}

// create makes a key as people do, by the command.
func (l *limits) create(t *testing.T, tier string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), gate.Binary(t), "keys", "create", "--data", l.Data, "--tenant", "acme", "--tier", tier)
	token, err := cmd.Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(token))
}

// TestThirtyKeysEachMeetTheirOwnLimit, and a hundred changes of the configuration
// refill none of their buckets.
func TestThirtyKeysEachMeetTheirOwnLimit(t *testing.T) {
	l := openLimits(t)
	keys := make([]string, 30)
	for i := range keys {
		if keys[i] = l.key(t, "five", time.Now()); i == 0 {
			keys[i] = l.create(t, "five")
		}
		assert.Equal(t, map[int]int{200: 3}, l.spend(t, keys[i], 3), "key %d", i)
	}
	for i := range 100 {
		l.push(t, l.text(fmt.Sprintf("%ds", 100+i), "6/h"))
	}
	for i, key := range keys {
		assert.Equal(t, map[int]int{200: 2, 429: 2}, l.spend(t, key, 4), "key %d", i)
	}
	for i := range 5 {
		l.push(t, l.text(fmt.Sprintf("%ds", 300+i), "6/h"))
	}
	for i, key := range keys {
		assert.Equal(t, map[int]int{429: 1}, l.spend(t, key, 1), "key %d", i)
	}
	assert.NotContains(t, l.Output(), "refused a configuration")
}

var inSeconds = regexp.MustCompile(`^([0-9]+)s$`)

// TestALimitedAnswer has the headers that OpenAI's clients read, and the form of
// OpenAI's errors.
func TestALimitedAnswer(t *testing.T) {
	h := shared(t)
	for name, c := range protocols(t) {
		t.Run(name, func(t *testing.T) {
			key := h.key(t, "five", time.Now())
			for left := 4; left >= 0; left-- {
				response := h.ask(t, c, chatPath, chatBody("main", ""), "Authorization", "Bearer "+key)
				_ = read(t, response)
				require.Equal(t, http.StatusOK, response.StatusCode)
				assert.Equal(t, []string{"5"}, response.Header["X-Ratelimit-Limit-Requests"])
				assert.Equal(t, []string{strconv.Itoa(left)}, response.Header["X-Ratelimit-Remaining-Requests"])
				assert.Regexp(t, inSeconds, response.Header.Get("X-Ratelimit-Reset-Requests"))
				noDraftNames(t, response.Header)
			}
			h.main.Reset()
			response := h.ask(t, c, chatPath, chatBody("main", ""), "Authorization", "Bearer "+key)
			a := answer{status: response.StatusCode, header: response.Header, body: read(t, response)}
			require.Equal(t, http.StatusTooManyRequests, a.status)
			isError(t, a, "rate_limit_exceeded", "")
			keepsSecrets(t, h, a)
			assert.Zero(t, h.main.Counts().Requests)
			assert.Equal(t, "5", a.header.Get("X-Ratelimit-Limit-Requests"))
			assert.Equal(t, "0", a.header.Get("X-Ratelimit-Remaining-Requests"))
			wait, err := strconv.Atoi(a.header.Get("Retry-After"))
			require.NoError(t, err, "retry-after is a number of seconds")
			assert.InDelta(t, 3600/5, wait, 30, "a token comes every hour's fifth")
			reset := inSeconds.FindStringSubmatch(a.header.Get("X-Ratelimit-Reset-Requests"))
			require.NotNil(t, reset, a.header.Get("X-Ratelimit-Reset-Requests"))
			seconds, _ := strconv.Atoi(reset[1])
			assert.InDelta(t, wait, seconds, 2)
			noDraftNames(t, a.header)
		})
	}
}

func noDraftNames(t *testing.T, h http.Header) {
	t.Helper()
	for _, name := range []string{"X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset"} {
		assert.Empty(t, h.Values(name), name)
	}
}

func TestNoLimitIsShownWhereThereIsNone(t *testing.T) {
	h := shared(t)
	h.main.Always(fake.Behavior{Header: http.Header{
		"X-Ratelimit-Limit-Requests": {"9999"}, "X-Ratelimit-Remaining-Tokens": {"1"}, "X-Ratelimit-Limit": {"7"},
	}})
	response := h.ask(t, clientOf(t, false, nil), chatPath, chatBody("main", ""))
	_ = read(t, response)
	require.Equal(t, http.StatusOK, response.StatusCode)
	for name := range response.Header {
		assert.False(t, strings.HasPrefix(name, "X-Ratelimit"), name)
	}
	assert.Empty(t, response.Header.Get("Retry-After"))
}

// TestOneKeysLimitIsForAllItsRequests: the bucket is the key's, whatever the model,
// the path or the lane, and what is refused before it costs nothing.
func TestOneKeysLimitIsForAllItsRequests(t *testing.T) {
	h := shared(t)
	key := "Bearer " + h.key(t, "six", time.Now())
	c := clientOf(t, false, nil)
	ask := func(path, body string) int {
		response := h.ask(t, c, path, body, "Authorization", key)
		_ = read(t, response)
		return response.StatusCode
	}
	assert.Equal(t, 200, ask(chatPath, chatBody("main", "")))
	assert.Equal(t, 200, ask(chatPath, chatBody("demo", "")))
	assert.Equal(t, 200, ask("/v1/images/generations", `{}`))
	assert.Equal(t, 200, ask("/v1/embeddings", `{"model":"main","input":"x"}`))
	assert.Equal(t, 200, ask(chatPath, bigBody("main", 100_000)))
	assert.Equal(t, 200, ask(chatPath, chatBody("main", "")))
	assert.Equal(t, 429, ask(chatPath, chatBody("demo", "")))
	assert.Equal(t, 429, ask(chatPath, bigBody("main", 100_000)))
	assert.Equal(t, 429, ask("/v1/images/generations", `{}`))
}
