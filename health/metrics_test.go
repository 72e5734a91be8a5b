package health

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCollector(t *testing.T) {
	tracker, _ := tracking(t, configure("order", map[string]groups{"m": {{to("a")}}}))
	quick := good("a", "m")
	quick.FirstByte, quick.Duration, quick.OutputTokens = time.Second, 2*time.Second, 4
	tracker.Observe(quick)
	tracker.Observe(Outcome{Provider: "a", Model: "m", Result: Limited, Class: TooMany})
	several(5, failed("b", "made up by a client", Server), tracker)
	collector := NewCollector(tracker)
	problems, err := testutil.CollectAndLint(collector)
	require.NoError(t, err)
	assert.Empty(t, problems)
	assert.Equal(t, 4*7+4, testutil.CollectAndCount(collector))
	require.NoError(t, testutil.CollectAndCompare(collector, strings.NewReader(`
# HELP postern_provider_first_byte_seconds Moving average of the time to the first byte of an answer.
# TYPE postern_provider_first_byte_seconds gauge
postern_provider_first_byte_seconds{key="",model="",provider="a"} 1
postern_provider_first_byte_seconds{key="",model="m",provider="a"} 1
# HELP postern_provider_limited 1 while the provider asked to be left alone.
# TYPE postern_provider_limited gauge
postern_provider_limited{key="",model="",provider="a"} 0
postern_provider_limited{key="",model="m",provider="a"} 1
postern_provider_limited{key="",model="",provider="b"} 0
postern_provider_limited{key="",model="",provider="c"} 0
# HELP postern_provider_output_token_seconds Moving average of an attempt's duration per output token.
# TYPE postern_provider_output_token_seconds gauge
postern_provider_output_token_seconds{key="",model="",provider="a"} 0.5
postern_provider_output_token_seconds{key="",model="m",provider="a"} 0.5
# HELP postern_provider_state 1 for the state of the breaker of a provider, or of one of its models; 0 for the other states.
# TYPE postern_provider_state gauge
postern_provider_state{key="",model="",provider="a",state="closed"} 1
postern_provider_state{key="",model="",provider="a",state="half-open"} 0
postern_provider_state{key="",model="",provider="a",state="open"} 0
postern_provider_state{key="",model="",provider="b",state="closed"} 0
postern_provider_state{key="",model="",provider="b",state="half-open"} 0
postern_provider_state{key="",model="",provider="b",state="open"} 1
postern_provider_state{key="",model="",provider="c",state="closed"} 1
postern_provider_state{key="",model="",provider="c",state="half-open"} 0
postern_provider_state{key="",model="",provider="c",state="open"} 0
postern_provider_state{key="",model="m",provider="a",state="closed"} 1
postern_provider_state{key="",model="m",provider="a",state="half-open"} 0
postern_provider_state{key="",model="m",provider="a",state="open"} 0
`), "postern_provider_first_byte_seconds", "postern_provider_limited", "postern_provider_output_token_seconds", "postern_provider_state"))
}

func TestCollectorOfKeys(t *testing.T) {
	tracker, _ := tracking(t, twoKeys())
	several(5, with1(failed("a", "m", BadKey)), tracker)
	tracker.Observe(with2(Outcome{Provider: "a", Entry: "m", Result: Limited, Class: TooMany}))
	require.NoError(t, testutil.CollectAndCompare(NewCollector(tracker), strings.NewReader(`
# HELP postern_provider_limited 1 while the provider asked to be left alone.
# TYPE postern_provider_limited gauge
postern_provider_limited{key="",model="",provider="a"} 0
postern_provider_limited{key="",model="m",provider="a"} 1
postern_provider_limited{key="",model="n",provider="a"} 0
postern_provider_limited{key="0",model="",provider="a"} 0
postern_provider_limited{key="0",model="m",provider="a"} 0
postern_provider_limited{key="0",model="n",provider="a"} 0
postern_provider_limited{key="1",model="",provider="a"} 0
postern_provider_limited{key="1",model="m",provider="a"} 1
postern_provider_limited{key="1",model="n",provider="a"} 0
postern_provider_limited{key="",model="",provider="b"} 0
postern_provider_limited{key="",model="m",provider="b"} 0
postern_provider_limited{key="",model="n",provider="b"} 0
postern_provider_limited{key="",model="",provider="c"} 0
`), "postern_provider_limited"))
}
