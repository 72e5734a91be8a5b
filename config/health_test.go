package config

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHealth(t *testing.T) {
	usual := Health{
		Probe: Interval(15 * time.Second), ProbeTimeout: Duration(5 * time.Second), Failures: 5, Ratio: 0.5,
		Window: Duration(10 * time.Second), Open: Duration(5 * time.Second), OpenMax: Duration(15 * time.Second),
		LimitMax: Duration(5 * time.Minute),
	}
	const rest = "\nproviders: {p: {schema: openai, builtin: demo}, q: {schema: openai, url: 'https://q/v1', probe: off}}\nmodels: {m: {route: [[{provider: p}]]}}"
	c := parse(t, rest, Env{})
	assert.Equal(t, usual, c.Health)
	assert.Empty(t, c.Providers["p"].Probe)
	assert.Equal(t, ProbeOff, c.Providers["q"].Probe)

	own := usual
	own.Probe, own.Ratio, own.Open, own.OpenMax, own.Failures = Interval(time.Second), 0.25, Duration(time.Minute), Duration(time.Minute), 3
	assert.Equal(t, own, parse(t, "health: {probe: 1s, ratio: 0.25, open: 1m, failures: 3}"+rest, Env{}).Health)

	off := parse(t, "health: {probe: off}"+rest, Env{}).Health.Probe
	assert.Equal(t, Never, off)
	assert.Equal(t, "off", off.String())
	assert.Equal(t, BreakersOff, parse(t, "health: {breakers: off}"+rest, Env{}).Health.Breakers)
	for text, problem := range map[string]string{
		"probe: -1s":               "health.probe: must be a duration with its unit",
		"breakers: no":             `health.breakers: "no" is unknown: it can be on, off`,
		"probe: 0s":                "health.probe: must be from 100ms to 24h, or off",
		"probe: 5":                 "health.probe: must be a duration with its unit",
		"probe_timeout: 25h":       "health.probe_timeout: must be from 100ms to 24h",
		"failures: 0":              "health.failures: must be from 1 to 1000",
		"failures: 1.5":            "health.failures: must be a whole number",
		"ratio: 0":                 "health.ratio: must be a number above 0 and at most 1",
		"ratio: 1.5":               "health.ratio: must be a number above 0 and at most 1",
		"ratio: .nan":              "health.ratio: must be a number above 0 and at most 1",
		"open: 10s, open_max: 5s":  "health.open_max: must be at least open (10s)",
		"probes: 1s":               `health.probes: unknown key, did you mean "probe"?`,
		"open: 10s, window: -0.1s": "health.window: must be from 100ms to 24h",
	} {
		problems := refused(t, "health: {"+text+"}"+rest, Env{})
		require.Len(t, problems, 1, text)
		assert.Contains(t, problems[0].String(), problem)
	}
}

// A price is a number as people write numbers.
func TestPricesAreNumbers(t *testing.T) {
	c := parse(t, document("", "route: [[{provider: p}]]", "prices: {p/m: {input: 0.15, cached: 7, output: '-'}}"), Env{})
	assert.Equal(t, &Price{Input: "0.15", Cached: "7", Output: "-"}, c.Prices["p/m"])
	refused(t, document("", "route: [[{provider: p}]]", "prices: {p/m: {input: 1e3}}"), Env{})
}
