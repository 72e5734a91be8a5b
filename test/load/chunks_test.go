package load

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPerChunk(t *testing.T) {
	row := func(name string, c Case, envoy, service float64) Row {
		one := func(v float64) Spread { return SpreadOf([]float64{v}) }
		return Row{Target: name, Case: c, CPU: map[string]Spread{"envoy": one(envoy), "go": one(service)}, GatewayCPU: one(envoy + service)}
	}
	stream, plain := Case{Connections: 1, Stream: true, BodyBytes: 300}, Case{Connections: 1, BodyBytes: 300}
	other := Case{Connections: 16, Stream: true, BodyBytes: 300}
	rows := []Row{
		row("b", stream, 1000, 500), row("b, long", stream, 3100, 1900),
		row("b", plain, 1000, 500), row("b, long", plain, 1000, 500),
		row("b, long", other, 1, 1), // its short one was not measured
	}
	costs := PerChunk([]Chunks{{Short: "b", Long: "b, long", Events: 70, AtMost: 60}, {Short: "c", Long: "b", Events: 1}}, rows)
	require.Len(t, costs, 1)
	assert.InDelta(t, 30, costs[0].CPU["envoy"], 0.01)
	assert.InDelta(t, 20, costs[0].CPU["go"], 0.01)
	assert.InDelta(t, 50, costs[0].Gateway, 0.01)
	assert.True(t, costs[0].Met())
	costs[0].AtMost = 49
	assert.False(t, costs[0].Met())

	var out strings.Builder
	Report{Rows: rows, Chunks: costs}.writeChunks(&out)
	assert.Contains(t, out.String(), "| b ")
	assert.Contains(t, out.String(), "not met")
}
