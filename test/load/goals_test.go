package load

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestJudge(t *testing.T) {
	cpu := SpreadOf([]float64{1.5})
	row := func(stream bool, median float64) Row {
		return Row{Target: "gate", Case: Case{Stream: stream}, To: map[string]Ratios{
			"floor": {MedianMS: SpreadOf([]float64{median}), GatewayCPU: &cpu},
		}}
	}
	rows := []Row{row(false, 1.2), row(true, 2), {Target: "gate"}, {Target: "other", To: row(false, 1).To}}

	verdicts := Judge([]Goal{{Row: "gate", Base: "floor", CPU: 1.5, Median: 1.1}}, rows)
	require.Len(t, verdicts, 1, "one row has plain answers, the goal's name and its base")
	assert.Equal(t, Part{Measured: 1.5, AtMost: 1.5, Met: true}, verdicts[0].CPU, "at most, not below")
	assert.Equal(t, Part{Measured: 1.2, AtMost: 1.1}, verdicts[0].Median)

	verdicts = Judge([]Goal{{Row: "gate", Base: "floor", Stream: true, CPU: 1.4}}, rows)
	require.Len(t, verdicts, 1)
	assert.Equal(t, Case{Stream: true}, verdicts[0].Case)
	assert.Equal(t, Part{Measured: 1.5, AtMost: 1.4}, verdicts[0].CPU)
	assert.Equal(t, Part{}, verdicts[0].Median, "the goal does not state it")

	rows[0].To["floor"] = Ratios{MedianMS: SpreadOf([]float64{1})}
	verdicts = Judge([]Goal{{Row: "gate", Base: "floor", CPU: 1.5}}, rows)
	require.Len(t, verdicts, 1)
	assert.Equal(t, Part{AtMost: 1.5}, verdicts[0].CPU, "what could not be measured is not met")
	assert.Empty(t, Judge([]Goal{{Row: "gate", Base: "ceiling", CPU: 9}}, rows))
}
