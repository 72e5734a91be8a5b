package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/health"
	"github.com/postern-proxy/postern/usage"
)

func TestWhatAnAttemptSaysOfItsProvider(t *testing.T) {
	for name, c := range map[string]struct {
		attempt usage.Attempt
		result  health.Result
		class   health.Class
	}{
		"good":                     {usage.Attempt{Status: 200, Blame: usage.Nobody}, health.Good, ""},
		"refused":                  {usage.Attempt{Flags: "UF", Blame: usage.Provider}, health.Failed, health.Refused},
		"refused by the sink":      {usage.Attempt{Flags: "UF", Blame: usage.Provider, Nowhere: true}, health.Failed, health.NoHost},
		"certificate":              {usage.Attempt{Flags: "UF", Details: "TLS_error:|x:CERTIFICATE_VERIFY_FAILED", Blame: usage.Provider}, health.Failed, health.TLS},
		"503":                      {usage.Attempt{Status: 503, Blame: usage.Provider}, health.Failed, health.Server},
		"our key is wrong":         {usage.Attempt{Status: 401, Blame: usage.Gateway}, health.Failed, health.BadKey},
		"our key may not":          {usage.Attempt{Status: 403, Blame: usage.Gateway}, health.Failed, health.Forbidden},
		"our own service broke it": {usage.Attempt{Status: 500, Blame: usage.Gateway}, health.Ignored, health.Ours},
		"busy":                     {usage.Attempt{Status: 429, Blame: usage.Provider}, health.Limited, health.TooMany},
		"the client's mistake":     {usage.Attempt{Status: 400, Blame: usage.Client}, health.Ignored, health.Mistake},
		"a quota, as a 400":        {usage.Attempt{Status: 400, Refused: "ServiceQuotaExceededException", Blame: usage.Provider}, health.Limited, health.TooMany},
		"the model failed":         {usage.Attempt{Status: 424, Blame: usage.Provider}, health.Failed, health.Server},
		"limited within":           {usage.Attempt{Status: 200, Failed: "rate_limited", Blame: usage.Provider}, health.Limited, health.TooMany},
		"a mistake, seen within":   {usage.Attempt{Status: 200, Failed: "invalid_request", Blame: usage.Client}, health.Ignored, health.Mistake},
		"garbage within":           {usage.Attempt{Status: 200, Failed: "upstream_garbage", Blame: usage.Provider}, health.Failed, health.Malformed},
		"failed within":            {usage.Attempt{Status: 200, Failed: "upstream_failed", Blame: usage.Provider}, health.Failed, health.Server},
		"cut off":                  {usage.Attempt{Status: 200, Blame: usage.Provider}, health.Failed, health.Malformed},
		"the client left":          {usage.Attempt{Flags: "DC", Aborted: true, Blame: usage.Client}, health.Ignored, health.Left},
	} {
		o := outcomeOf(&c.attempt)
		assert.Equal(t, c.result, o.Result, name)
		assert.Equal(t, c.class, o.Class, name)
	}
	at := time.Now()
	o := outcomeOf(&usage.Attempt{Provider: "p", Model: "theirs", Route: "m", Time: at, Status: 429, FirstByte: 2, Duration: 3, RetryAfter: "7"})
	assert.Equal(t, health.Outcome{
		Provider: "p", Model: "theirs", Entry: "m", At: at, Result: health.Limited, Class: health.TooMany,
		FirstByte: 2, Duration: 3, RetryAfter: 7 * time.Second,
	}, o)
	for status, want := range map[int]time.Duration{503: 7 * time.Second, 529: 7 * time.Second, 500: 0, 502: 0} {
		o = outcomeOf(&usage.Attempt{Provider: "p", Account: "1", Model: "theirs-x", Target: "theirs-*", Status: status, RetryAfter: "7"})
		assert.Equal(t, []any{health.Failed, want, "1", "theirs-*"}, []any{o.Result, o.RetryAfter, o.Key, o.Model}, status)
	}
}

func TestChangedPlans(t *testing.T) {
	before := health.Plan{Order: map[string][]int{"kept": {1, 0}, "gone": {1, 0}, "other": {2, 1, 0}}}
	after := health.Plan{
		Order: map[string][]int{"kept": {1, 0}, "new": {1, 0}, "other": {1, 2, 0}},
		Rest:  map[string][]config.Member{"other": {{Provider: "a"}}, "rests": {{Provider: "a"}}},
	}
	assert.Equal(t, []string{"gone", "new", "other", "rests"}, changedPlans(before, after))
	assert.Empty(t, changedPlans(health.Plan{}, health.Plan{Order: map[string][]int{}}))
}

func TestProvidersInEightyColumns(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	long := strings.Repeat("long-", 20)
	var out bytes.Buffer
	printProviders(&out, report{
		Providers: []providerReport{
			{Provider: "openai", State: health.Closed, Since: ago(49 * time.Hour), FirstByte: 321.4, Probe: &probeReport{At: ago(4 * time.Second), Result: "good"}},
			{Provider: "openai", Model: "gpt-4o", State: health.Closed, Since: ago(3 * time.Minute), LimitedUntil: now.Add(40500 * time.Millisecond), Error: health.TooMany, ErrorAt: ago(time.Second)},
			{Provider: "keys", State: health.Closed},
			{Provider: "keys", Key: "0", State: health.Open, Error: health.BadKey, ErrorAt: ago(time.Second)},
			{Provider: "keys", Key: "1", State: health.Closed},
			{Provider: "keys", Model: "gpt-4o", State: health.Closed},
			{Provider: "keys", Key: "0", Model: "gpt-4o", State: health.Closed},
			{Provider: "keys", Key: "1", Model: "gpt-4o", State: health.Closed, LimitedUntil: now.Add(9500 * time.Millisecond)},
			{
				Provider: long, State: health.Open, Since: ago(10 * time.Second), Until: now.Add(4500 * time.Millisecond), Error: health.Connect, ErrorAt: ago(time.Hour),
				Probe: &probeReport{At: ago(2 * time.Second), Result: "failed", Error: health.Refused},
			},
			{Provider: long, Model: long, State: health.HalfOpen, FirstByte: 12_345},
		},
		Order: map[string][]string{"m": {"b", "a, c"}},
	}, now)
	//nolint:dupword // it is a table
	assert.Equal(t, `
PROVIDER                     STATE     SINCE  FIRST BYTE LAST
openai                       closed    2d          321ms probe good 4s ago
  gpt-4o                     limited   3m                429 1s ago
                                                         limited for 40s
keys                         closed
  #0                         open                        401 1s ago
  #1                         closed
  gpt-4o                     closed
  gpt-4o #1                  limited                     limited for 9s
`+long[:27]+`… open      10s               connect_timeout 1h ago
                                                         retry in 4s
                                                         probe refused 2s ago
  `+long[:25]+`… half-open             12.3s
order of m: b > a, c
`, out.String())
	for line := range strings.SplitSeq(out.String(), "\n") {
		assert.LessOrEqual(t, len([]rune(line)), 80)
	}
}
