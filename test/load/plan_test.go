package load

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPlanTakesTurns(t *testing.T) {
	needsProc(t)
	url := startUpstream(t, &Upstream{})
	var turns []string
	plan := Plan{
		Targets: []Target{
			{Name: "a", URL: url, Model: "m"},
			{Name: "b", URL: url, Model: "m", Roles: map[string][]int{"gate": {os.Getpid()}}},
		},
		Cases:  []Case{{Connections: 1, BodyBytes: 300}, {Connections: 2, Stream: true, BodyBytes: 5000}},
		Rounds: 2, Requests: 20, Baselines: []Baseline{{Name: "b"}},
		Progress: func(line string) { turns = append(turns, line[strings.LastIndexByte(line, ' ')+1:]) },
	}
	rows, err := plan.Run(t.Context())
	require.NoError(t, err)
	assert.Equal(t, strings.Split("abababab", ""), turns)
	require.Len(t, rows, 4)
	for i, row := range rows {
		assert.Equal(t, 40, row.Requests)
		assert.Equal(t, plan.Cases[i/2], row.Case)
		assert.Positive(t, row.MedianMS.Min)
		assert.LessOrEqual(t, row.MedianMS.Min, row.MedianMS.Median)
		assert.LessOrEqual(t, row.MedianMS.Median, row.MedianMS.Max)
		assert.Contains(t, row.CPU, RoleClient)
		require.Contains(t, row.To, "b")
	}
	assert.Equal(t, Spread{1, 1, 1}, rows[1].To["b"].MedianMS, "the baseline is its own measure")

	plan.Targets[0].Roles = map[string][]int{"gate": {1 << 30}}
	_, err = plan.Run(t.Context())
	require.ErrorContains(t, err, "processor time of gate", "a process that died ends the run")
}

// needsProc skips a test that measures processes.
func needsProc(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("this system has no /proc")
	}
}

func TestPlanLeavesOutWhatABodyIsTooLargeFor(t *testing.T) {
	needsProc(t)
	url := startUpstream(t, &Upstream{})
	plan := Plan{
		Targets: []Target{{Name: "any", URL: url, Model: "m"}, {Name: "small", URL: url, Model: "m", Largest: 1000}},
		Cases:   []Case{{Connections: 1, BodyBytes: 1000}, {Connections: 1, BodyBytes: 1001}},
		Rounds:  1, Requests: 2, Baselines: []Baseline{{Name: "small"}},
	}
	rows, err := plan.Run(t.Context())
	require.NoError(t, err)
	require.Len(t, rows, 3)
	assert.Equal(t, []string{"any", "small", "any"}, []string{rows[0].Target, rows[1].Target, rows[2].Target})
	assert.Contains(t, rows[0].To, "small")
	assert.Empty(t, rows[2].To)
}

func TestPlanChecksTheWayBeforeItMeasures(t *testing.T) {
	needsProc(t)
	url := startUpstream(t, &Upstream{})
	var checked []Case
	target := Target{Name: "a", URL: url, Model: "m", Check: func(_ context.Context, c Case, ask func() error) error {
		checked = append(checked, c)
		return ask()
	}}
	plan := Plan{Targets: []Target{target}, Cases: []Case{{Connections: 1, BodyBytes: 300}, {Connections: 2, Stream: true, BodyBytes: 400}}, Rounds: 2, Requests: 2}
	_, err := plan.Run(t.Context())
	require.NoError(t, err)
	assert.Equal(t, plan.Cases, checked, "once a case")

	astray := errors.New("another way")
	plan.Targets[0].Check = func(context.Context, Case, func() error) error { return astray }
	plan.Progress = func(string) { t.Error("nothing is measured after a failed check") }
	_, err = plan.Run(t.Context())
	require.ErrorIs(t, err, astray)

	plan.Targets[0].URL = says(t, "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n")
	plan.Targets[0].Check = target.Check
	_, err = plan.Run(t.Context())
	require.ErrorContains(t, err, "503 No")
}

func TestOnlySmallBodiesAreChunked(t *testing.T) {
	target := Target{URL: "http://127.0.0.1:1/", Model: "m", ChunkedUpTo: 1000}
	for size, chunked := range map[int]bool{999: true, 1000: true, 1001: false} {
		ask, err := target.ask(Case{BodyBytes: size})
		require.NoError(t, err)
		assert.Equal(t, chunked, ask.Chunked, size)
	}
	_, err := target.ask(Case{BodyBytes: 1})
	require.Error(t, err)
}
