package usage_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/envoy"
	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/usage/price"
)

// said is what a provider counts.
type said struct{ input, output int64 }

// asked is one request as a provider saw it.
type asked struct {
	provider string
	status   int
	used     said
}

// witness is what the providers saw themselves, by the client's request.
type witness struct {
	mu    sync.Mutex
	asked map[string][]asked
}

func (w *witness) of(provider string) func(fake.Request, fake.Said) {
	return func(r fake.Request, s fake.Said) {
		a := asked{provider: provider, status: s.Status}
		for _, name := range []string{"prompt_tokens", "input_tokens"} {
			a.used.input += s.Usage.Get(name).Int()
		}
		for _, name := range []string{"completion_tokens", "output_tokens"} {
			a.used.output += s.Usage.Get(name).Int()
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		id := r.JSON("user").String()
		w.asked[id] = append(w.asked[id], a)
	}
}

// account holds what the providers saw against what the clients sent.
func (w *witness) account(t *testing.T, told map[string]int, counts map[string]int) {
	t.Helper()
	seen := map[string]int{}
	for id, all := range w.asked {
		if _, sent := told[id]; !sent {
			t.Errorf("nobody sent %s", id)
		}
		for _, a := range all {
			seen[a.provider]++
		}
	}
	assert.Equal(t, counts, seen, "each request at a provider is a client's")
}

func kindOf(t *testing.T, id string) kind {
	t.Helper()
	parts := strings.Split(id, ".")
	if len(parts) != 3 {
		return kind{} // a question whether the gate is ready
	}
	for _, k := range kinds {
		if k.name == parts[1] {
			return k
		}
	}
	t.Fatalf("of no kind: %s", id)
	return kind{}
}

// sums are those of all finished requests.
type sums struct {
	requests int
	attempts map[string]int // by provider
	tokens   said           // exact ones
	cost     price.Money    // of exact ones
}

// compare holds each record against what the providers and the client saw of it.
func compare(t *testing.T, all []record, w *witness, told map[string]int) {
	t.Helper()
	seen := map[string]bool{}
	got, want := sums{attempts: map[string]int{}}, sums{attempts: map[string]int{}}
	lost := 0
	for _, r := range all {
		if _, sent := told[r.ID]; !sent {
			t.Fatalf("nobody sent %s", r.ID)
		}
		require.False(t, seen[r.ID], "%s is in the log twice", r.ID)
		seen[r.ID] = true
		k := kindOf(t, r.ID)
		if k.name == "" {
			continue
		}
		if !check(t, r, &k, w.asked[r.ID], told[r.ID]) {
			t.Fatalf("%+v; the providers saw %+v", r, w.asked[r.ID])
		}
		got.requests++
		for _, a := range r.Attempts {
			got.attempts[a.Provider] += b2i(a.Status != 0)
		}
		lost += len(k.attempts)*b2i(!away(&k, told[r.ID])) - len(r.Attempts)
		for _, a := range w.asked[r.ID] {
			want.attempts[a.provider]++
		}
		if k.exact {
			got.tokens.input += *r.Tokens.Input
			got.tokens.output += *r.Tokens.Output
			got.cost = got.cost.Plus(dollars(t, r.Cost))
			used := last(w.asked[r.ID])
			want.tokens.input += used.input
			want.tokens.output += used.output
			if !k.free {
				want.cost = want.cost.Plus(costOf(used))
			}
		}
	}
	want.requests = len(seen) - (len(all) - got.requests)
	assert.Equal(t, want.tokens, got.tokens)
	assert.Equal(t, want.cost, got.cost)
	missing := 0
	for provider, n := range want.attempts {
		missing += n - got.attempts[provider]
		assert.GreaterOrEqual(t, n, got.attempts[provider], provider)
	}
	assert.LessOrEqual(t, missing, lost, "the records have all attempts but those that they say are missing")
	t.Logf("%d of %d requests have a record; of those %d input and %d output tokens, exact, for %s; attempts %v of %v, %d lost",
		len(seen), len(told), got.tokens.input, got.tokens.output, got.cost, got.attempts, want.attempts, lost)
}

// away says that Postern was away when a request needed it.
func away(k *kind, status int) bool { return status == 503 && k.model == "exact" }

func last(all []asked) said {
	if len(all) == 0 || all[len(all)-1].status >= 400 {
		return said{}
	}
	return all[len(all)-1].used
}

func costOf(used said) price.Money { // picodollars a token
	return price.Money(used.input*1_000_000 + used.output*3_000_000)
}

func dollars(t *testing.T, text *string) price.Money {
	t.Helper()
	if text == nil {
		return 0
	}
	whole, part, _ := strings.Cut(*text, ".")
	n, err := strconv.ParseInt(whole+part+strings.Repeat("0", 12-len(part)), 10, 64)
	require.NoError(t, err)
	return price.Money(n)
}

func check(t *testing.T, r record, k *kind, at []asked, status int) bool {
	good := assert.Equal(t, "development", r.Tenant) && checkAttempts(t, r, k, at, status)
	if k.abort {
		return good && assert.True(t, r.Tokens.Estimated && r.Aborted && *r.Tokens.Output > 0 && r.Estimated, "an aborted stream is estimated")
	}
	good = good && assert.Equal(t, status, r.Status) && assert.Equal(t, k.stream && status == 200, r.Stream) && assert.False(t, r.Aborted)
	if away(k, status) {
		return good && assert.NotEmpty(t, r.Refused) && assert.Equal(t, "0", *r.Cost)
	}
	if !k.exact {
		return good && assert.True(t, r.Tokens.Estimated && r.Estimated && *r.Tokens.Input > 0 && *r.Tokens.Output > 0 && r.Cost != nil)
	}
	want := last(at)
	good = good && assert.Equal(t, k.worked, want.input > 0) && assert.False(t, r.Tokens.Estimated) &&
		assert.Equal(t, want, said{*r.Tokens.Input, *r.Tokens.Output})
	if k.free {
		return good && assert.Nil(t, r.Cost)
	}
	return good && assert.NotNil(t, r.Cost) && assert.Equal(t, costOf(want), dollars(t, r.Cost))
}

// checkAttempts holds a record's attempts against what the providers saw. Those that it
// lost are a part of the gap; all others are right, and the last is never lost, because
// the request tells of it. One with no status reached no provider: it was refused, or
// Envoy left the provider alone after its failures.
func checkAttempts(t *testing.T, r record, k *kind, at []asked, status int) bool {
	want := k.attempts
	if away(k, status) {
		want = nil
	}
	if !r.Partial && !assert.Len(t, r.Attempts, len(want)) || r.Partial && !assert.Less(t, len(r.Attempts), len(want)) {
		return false
	}
	if failed := k.failed * b2i(want != nil); !r.Partial && !assert.LessOrEqual(t, entriesOf(r), 1+failed) {
		return false
	}
	lost, reached := len(want)-len(r.Attempts), 0
	for i, a := range r.Attempts {
		good := assert.Equal(t, want[lost+i], a.Provider) && assert.True(t, a.Status != 0 || a.Logged && a.Provider != "good")
		if reached += b2i(a.Status != 0); !good {
			return false
		}
	}
	if !assert.LessOrEqual(t, reached, len(at)) || !assert.LessOrEqual(t, len(at), reached+lost) {
		return false
	}
	saw := at[len(at)-reached:]
	for _, a := range r.Attempts {
		if a.Status == 0 {
			continue
		}
		// What Envoy ended is told as the request ended.
		if !assert.Equal(t, saw[0].provider, a.Provider) || a.Logged && !assert.Equal(t, saw[0].status, a.Status) {
			return false
		}
		saw = saw[1:]
	}
	return true
}

// settle waits until the log has come to rest: Envoy has sent all, nothing waits but
// attempts whose request is lost, and the gap was read twice since.
func (s *serving) settle() {
	s.t.Helper()
	lines, waiting, since := -1, -1.0, time.Now()
	require.Eventually(s.t, func() bool {
		pending, ok := value(s.t, s.metrics, "postern_log_pending_entries")
		if n := len(s.records()); n != lines || !ok || pending != waiting {
			lines, waiting, since = n, pending, time.Now()
		}
		return time.Since(since) > 12*time.Second
	}, 2*time.Minute, 500*time.Millisecond)
}

// compareGap holds the reported gap against what clients sent and has no record, and
// against the entries that there must have been.
func (s *serving) compareGap(all []record, told map[string]int, by string) {
	t := s.t
	t.Helper()
	stats, err := envoy.Admin{Socket: s.data + "/run/admin.sock"}.Stats(t.Context(), `access_logs.*|postern\.log_.*`)
	require.NoError(t, err)
	missing, ok := value(t, s.metrics, "postern_log_missing_requests")
	require.True(t, ok)
	assert.InDelta(t, len(told)-len(all), missing, 0.1, "requests without a record")
	entries, sent := 0, 0
	for _, r := range all {
		entries += entriesOf(r)
	}
	for id, status := range told {
		k := kindOf(t, id)
		switch sent++; {
		case k.name == "": // Postern itself was asked: away, it is one that failed
			sent += b2i(status != http.StatusOK)
		case !away(&k, status):
			sent += k.failed
		}
	}
	lost, ok := value(t, s.metrics, "postern_log_missing_entries")
	require.True(t, ok)
	written := stats["access_logs.grpc_access_log.logs_written"] + stats["access_logs.grpc_access_log.logs_dropped"] +
		stats["postern.log_written"] + stats["postern.log_dropped"]
	waiting, _ := value(t, s.metrics, "postern_log_pending_entries")
	t.Logf("clients sent %d requests, which make %d entries, and Envoy wrote %d; reported missing: %.0f requests, %.0f entries; %0.f attempts have no request",
		len(told), sent, written, missing, lost, waiting)
	if by == "script" {
		assert.Positive(t, missing, "Postern was killed three times: something must be lost, or the test shows nothing")
	} else {
		assert.LessOrEqual(t, lost, 3.0*clients, "only what waited for its other half when Postern was killed")
	}
	assert.EqualValues(t, sent, written, "entries")
	assert.InDelta(t, float64(sent-entries)-waiting, lost, 0.1, "entries that never came")
}

// entriesOf is how many entries of the log a record is made of: its own, and those of
// attempts that failed.
func entriesOf(r record) int {
	n := 1
	for _, a := range r.Attempts {
		n += b2i(a.Logged)
	}
	return n
}
