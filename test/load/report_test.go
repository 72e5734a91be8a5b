package load

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

const golden = "testdata/table.golden.md"

// someRounds are n rounds of a target; factor 1 is the floor.
func someRounds(factor float64, roles ...string) []round {
	var rounds []round
	for i := range 3 {
		drift := factor * (1 + float64(i)/10)
		one := round{
			requests: 3000, perSecond: 10_000 / drift, median: drift, p99: 3 * drift, first: drift / 2,
			cpu:    map[string]float64{RoleClient: 20, RoleUpstream: 15},
			memory: map[string]Memory{RoleClient: {8 << 20, 9 << 20}, RoleUpstream: {7 << 20, 7 << 20}},
		}
		for _, role := range roles {
			one.cpu[role] = 60 * drift
			one.gateway += 60 * drift
			one.memory[role] = Memory{64 << 20, int64(70+i) << 20}
		}
		rounds = append(rounds, one)
	}
	return rounds
}

func sampleReport() Report {
	floor := someRounds(1, "envoy")
	plain, streamed := Case{Connections: 1, BodyBytes: 300}, Case{Connections: 16, Stream: true, BodyBytes: 30_000}
	return Report{
		Machine: Machine{CPU: "Quick 9000", Cores: 2, MemoryMiB: 8192, Kernel: "6.1.0", System: "linux/amd64", Go: "go1.26", Envoy: "1.40.0"},
		Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Took: time.Minute, Command: "bench --rounds 3", Commit: "0123456789ab",
		Rounds: 3, Duration: 3 * time.Second, Baseline: "floor",
		Rows: []Row{
			newRow("direct", plain, someRounds(0.3), floor),
			newRow("floor", plain, floor, floor),
			newRow("gate", plain, someRounds(1.5, "envoy", "postern"), floor),
			newRow("gate", streamed, someRounds(2, "envoy", "postern"), nil),
		},
	}
}

func TestTable(t *testing.T) {
	got := sampleReport().Markdown()
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "if this is meant, run the test with -update")
}

func TestTableWithoutBaseline(t *testing.T) {
	r := sampleReport()
	r.Baseline, r.Requests = "", 500
	assert.NotContains(t, r.Markdown(), "×")
	assert.Contains(t, r.Markdown(), "3 rounds of 500 requests each")
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	row := sampleReport().Rows[2]
	want := Spread{1.5, 1.5, 1.5} // both drifted alike from round to round
	assert.InDeltaMapValues(t, map[string]float64{"median": want.Median, "min": want.Min, "max": want.Max},
		map[string]float64{"median": row.ToBaseline.MedianMS.Median, "min": row.ToBaseline.MedianMS.Min, "max": row.ToBaseline.MedianMS.Max}, 1e-9)
	assert.InDelta(t, 3, row.ToBaseline.GatewayCPU.Median, 1e-9, "all of the gate's processes count")
	assert.InDelta(t, 1/1.5, row.ToBaseline.PerSecond.Median, 1e-9)
	assert.InDelta(t, 1.65, row.MedianMS.Median, 1e-9)
	assert.InDelta(t, 72, row.Memory["postern"].Peak, 1e-9)
	assert.Nil(t, sampleReport().Rows[0].ToBaseline.GatewayCPU, "direct has no gateway")
	assert.Nil(t, sampleReport().Rows[3].ToBaseline)
}

func TestNewRound(t *testing.T) {
	sample := Sample{Elapsed: 2 * time.Second, Total: []time.Duration{1e6, 2e6, 3e6, 9e6}, First: []time.Duration{5e5, 6e5, 7e5, 8e5}}
	got := newRound(sample,
		map[string]time.Duration{RoleUpstream: 1e6, "envoy": 2e6, "postern": 0},
		map[string]time.Duration{RoleUpstream: 5e6, "envoy": 10e6, "postern": 4e6}, nil)
	assert.Equal(t, round{
		requests: 4, perSecond: 2, median: 2, p99: 9, first: 0.6, gateway: 3000,
		cpu: map[string]float64{RoleUpstream: 1000, "envoy": 2000, "postern": 1000},
	}, got)
}
