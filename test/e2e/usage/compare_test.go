package usage_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/usage/price"
)

// compare holds each record against what its request's name says of it.
func compare(t *testing.T, all []record, truth []said, told map[string]int) {
	t.Helper()
	seen := map[string]bool{}
	byName := map[string]kind{}
	for _, k := range kinds {
		byName[k.name] = k
	}
	var sums, expected said
	for _, r := range all {
		parts := strings.Split(r.ID, ".")
		if len(parts) != 3 {
			continue // a question whether the gate is ready
		}
		require.False(t, seen[r.ID], "%s is in the log twice", r.ID)
		seen[r.ID] = true
		k := byName[parts[1]]
		words, err := strconv.Atoi(parts[2])
		require.NoError(t, err)
		want := truth[words]
		if !k.worked || told[r.ID] == 503 {
			want = said{}
		}
		if !check(t, r, k, want, told[r.ID]) {
			t.Fatalf("%+v", r)
		}
		if k.exact {
			sums.input += *r.Tokens.Input
			sums.output += *r.Tokens.Output
			expected.input += want.input
			expected.output += want.output
		}
	}
	assert.Equal(t, expected, sums)
	t.Logf("%d of %d requests have a record; %d input and %d output tokens, exact", len(seen), len(told), sums.input, sums.output)
}

func check(t *testing.T, r record, k kind, want said, status int) bool {
	if k.abort {
		return assert.Truef(t, r.Tokens.Estimated && r.Aborted && *r.Tokens.Output > 0 && r.Estimated && len(r.Attempts) == 1, "an aborted stream is estimated: %+v", r)
	}
	good := assert.Equal(t, status, r.Status) && assert.Equal(t, "development", r.Tenant) && assert.Equal(t, k.stream && status == 200, r.Stream)
	if status == 503 { // Postern was away, and the route needs it
		return good && assert.Empty(t, r.Attempts) && assert.NotEmpty(t, r.Refused)
	}
	if !r.Partial { // an attempt's entry may be lost where the request's came
		good = good && assert.Len(t, r.Attempts, k.attempts)
	}
	if !k.exact {
		return good && assert.True(t, r.Tokens.Estimated && r.Estimated && *r.Tokens.Input > 0 && *r.Tokens.Output > 0)
	}
	cost := price.Money(want.input*1_000_000 + want.output*3_000_000) // picodollars a token
	return good && assert.False(t, r.Tokens.Estimated) &&
		assert.Equal(t, want, said{*r.Tokens.Input, *r.Tokens.Output}) &&
		assert.NotNil(t, r.Cost) && assert.Equal(t, strings.TrimSuffix(cost.String(), " USD"), *r.Cost)
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

// compareGap holds the reported gap against what has no record.
func (s *serving) compareGap(all []record, total int) {
	t := s.t
	t.Helper()
	stats, err := envoy.Admin{Socket: s.data + "/run/admin.sock"}.Stats(t.Context(), `http\.postern\.downstream_rq_completed|access_logs.*`)
	require.NoError(t, err)
	completed := stats["http.postern.downstream_rq_completed"]
	require.GreaterOrEqual(t, completed, int64(total))
	missing, ok := value(t, s.metrics, "postern_log_missing_requests")
	require.True(t, ok)
	assert.InDelta(t, float64(completed)-float64(len(all)), missing, 0.1, "requests without a record")
	entries := int64(0)
	for _, r := range all {
		entries += entriesOf(r)
	}
	lost, ok := value(t, s.metrics, "postern_log_missing_entries")
	require.True(t, ok)
	written := stats["access_logs.grpc_access_log.logs_written"] + stats["access_logs.grpc_access_log.logs_dropped"]
	waiting, _ := value(t, s.metrics, "postern_log_pending_entries")
	t.Logf("Envoy completed %d requests and wrote %d entries; reported missing: %.0f requests, %.0f entries; %0.f attempts have no request", completed, written, missing, lost, waiting)
	assert.Positive(t, missing, "Postern was killed three times: something must be lost, or the test shows nothing")
	assert.InDelta(t, float64(written-entries)-waiting, lost, 0.1, "entries that never came")
}

// entriesOf is how many entries of the log a record is made of: its own, and those of
// attempts that failed.
func entriesOf(r record) int64 {
	n := int64(1)
	for _, a := range r.Attempts {
		if a.Status >= 400 || a.Status == 0 {
			n++
		}
	}
	return n
}
