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
	plain, streamed := Case{Connections: 1, BodyBytes: 300}, Case{Connections: 16, Stream: true, BodyBytes: 30_000}
	baselines := []Baseline{{Name: "floor"}, {Name: "service", Rows: []string{"service", "gate"}}}
	rounds := map[string][]round{
		"direct": someRounds(0.3), "floor": someRounds(1, "envoy"),
		"service": someRounds(1.2, "envoy", "go"), "gate": someRounds(1.5, "envoy", "go"),
	}
	r := Report{
		Machine: Machine{CPU: "Quick 9000", Cores: 2, MemoryMiB: 8192, Kernel: "6.1.0", System: "linux/amd64", Go: "go1.26", Envoy: "1.40.0"},
		Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Took: time.Minute, Command: "bench --rounds 3", Commit: "0123456789ab",
		Rounds: 3, Duration: 3 * time.Second, Baselines: baselines, Notes: []string{"All rows are invented."},
	}
	for _, target := range []string{"direct", "floor", "service", "gate"} {
		r.Rows = append(r.Rows, newRow(target, plain, rounds, baselines))
	}
	alone := map[string][]round{"gate": someRounds(2, "envoy", "go")}
	r.Rows = append(r.Rows, newRow("gate", streamed, alone, baselines))
	r.Verdicts = Judge([]Goal{
		{Row: "gate", Base: "floor", CPU: 2, Median: 1.6},
		{Row: "gate", Base: "service", CPU: 1.3},
		{Row: "gate", Base: "floor", Stream: true, CPU: 2, Median: 2},
	}, r.Rows)
	return r
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
	r.Baselines, r.Verdicts, r.Requests = nil, nil, 500
	assert.NotContains(t, r.Markdown(), "×")
	assert.Contains(t, r.Markdown(), "3 rounds of 500 requests each")
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	rows := sampleReport().Rows
	floor := rows[3].To["floor"]
	for _, value := range []float64{floor.MedianMS.Min, floor.MedianMS.Median, floor.MedianMS.Max} {
		assert.InDelta(t, 1.5, value, 1e-9, "both drifted alike from round to round")
	}
	assert.InDelta(t, 3, floor.GatewayCPU.Median, 1e-9, "all of the gate's processes count")
	assert.InDelta(t, 1/1.5, floor.PerSecond.Median, 1e-9)
	assert.InDelta(t, 1.65, rows[3].MedianMS.Median, 1e-9)
	assert.InDelta(t, 72, rows[3].Memory["go"].Peak, 1e-9)
	assert.InDelta(t, 1.25, rows[3].To["service"].GatewayCPU.Median, 1e-9)
	assert.Nil(t, rows[0].To["floor"].GatewayCPU, "direct has no gateway")
	assert.NotContains(t, rows[0].To, "service", "only some rows are compared with it")
	assert.Empty(t, rows[4].To, "no baseline was measured in this case")
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
