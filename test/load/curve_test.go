package load

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const curveGolden = "testdata/curve.golden.md"

// sampleCurve has the row for small bodies grow by the byte, and the other stay.
func sampleCurve() Curve {
	report := sampleReport()
	report.Rows, report.Baselines = nil, nil
	for _, size := range []int{4000, 1000, 2000} { // the order of the sizes does not matter
		c := Case{Connections: 4, BodyBytes: size}
		rounds := map[string][]round{"small": someRounds(float64(size)/1000, "envoy"), "large": someRounds(1.25, "envoy", "go"), "more": someRounds(1)}
		for _, target := range []string{"small", "large", "more"} {
			report.Rows = append(report.Rows, newRow(target, c, rounds, nil))
		}
	}
	return NewCurve(report, "small", "large")
}

func TestCurve(t *testing.T) {
	curve := sampleCurve()
	require.Len(t, curve.Points, 3)
	assert.Equal(t, []int{1000, 2000, 4000}, []int{curve.Points[0].BodyBytes, curve.Points[1].BodyBytes, curve.Points[2].BodyBytes})
	assert.InDelta(t, 2500, curve.CPU.Bytes, 1e-6)
	assert.InDelta(t, 1250, curve.Median.Bytes, 1e-6)
	got := curve.Markdown()
	if *update {
		require.NoError(t, os.WriteFile(curveGolden, []byte(got), 0o600))
	}
	want, err := os.ReadFile(curveGolden)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "if this is meant, run the test with -update")
}

func TestCrossing(t *testing.T) {
	for name, c := range map[string]struct {
		dearer []float64 // the row for large bodies, at 1000, 2000, … bytes
		want   Crossing
		says   string
	}{
		"between two sizes": {[]float64{3, 1, -1, -2}, Crossing{Bytes: 2500}, "2.5 KB"},
		"at a size":         {[]float64{3, 0, -1}, Crossing{Bytes: 2000}, "2 KB"},
		"back and forth":    {[]float64{1, -1, 3, -1}, Crossing{Bytes: 3750}, "3.75 KB"},
		"always":            {[]float64{-1, 0}, Crossing{Always: true}, "below the smallest size"},
		"never":             {[]float64{-1, 1}, Crossing{Never: true}, "above the largest size"},
		"nothing measured":  {nil, Crossing{}, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			var points []CurvePoint
			for i, d := range c.dearer {
				points = append(points, CurvePoint{Case: Case{BodyBytes: 1000 * (i + 1)}, LargeCPU: 10 + d, SmallCPU: 10})
			}
			got := crossing(points, func(p CurvePoint) float64 { return p.LargeCPU - p.SmallCPU })
			assert.Equal(t, c.want, got)
			assert.Equal(t, c.says, got.String())
		})
	}
}

func TestCurveIsWritten(t *testing.T) {
	at := t.TempDir()
	require.NoError(t, sampleCurve().Write(at, "threshold"))
	text, err := os.ReadFile(filepath.Join(at, "threshold.json"))
	require.NoError(t, err)
	var read Curve
	require.NoError(t, json.Unmarshal(text, &read))
	assert.Equal(t, sampleCurve().Points, read.Points)
	assert.Equal(t, sampleCurve().CPU, read.CPU)
	table, err := os.ReadFile(filepath.Join(at, "threshold.md"))
	require.NoError(t, err)
	assert.Equal(t, sampleCurve().Markdown(), string(table))
}
