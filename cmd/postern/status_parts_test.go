package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/usage"
	"github.com/postern-proxy/postern/usage/price"
)

func TestPartsInFewLines(t *testing.T) {
	var out bytes.Buffer
	printParts(&out, []partReport{
		{Part: "postern", Version: "v1.2.3", State: partRuns}, {Part: "envoy", Version: "1.40.0", State: "live"},
		{Part: "xds", State: partRuns}, {Part: "usage", State: partRuns, Note: byWhom + "the script"},
		{Part: "extproc 2", State: partMissing, Note: "dial unix /x: no such file"},
	})
	assert.Equal(t, `parts          postern v1.2.3, envoy 1.40.0 live
services       xds, usage
answers        read by the script
missing        extproc 2: dial unix /x: no such file
`, out.String())
}

func TestPricesGrowOld(t *testing.T) {
	date, err := price.Date()
	require.NoError(t, err)
	assert.Empty(t, oldPrices(date.AddDate(0, 5, 0)))
	assert.Contains(t, oldPrices(date.AddDate(0, 7, 0)), date.Format(time.DateOnly))
}

func TestHowCompleteTheLogIs(t *testing.T) {
	now := time.Now()
	for want, gap := range map[string]usage.Gap{
		"":         {},
		"complete": {At: now},
		"never came: 7 entries, 3 of them requests":                               {At: now, Missing: 7, Requests: 3},
		"not known, Envoy's counters cannot be read: no socket":                   {Failure: "no socket"},
		"complete as of 5m ago, Envoy's counters cannot be read since: no socket": {At: now.Add(-5 * time.Minute), Failure: "no socket"},
	} {
		report := logReportOf(gap, "")
		assert.Equal(t, want, report.words(now))
	}
	var out bytes.Buffer
	printMetrics(&out, report{Log: logReportOf(usage.Gap{At: now}, "the usage log cannot be written: full")}, now)
	assert.Equal(t, "access log     complete\naccess log     the usage log cannot be written: full\n", out.String())
}
