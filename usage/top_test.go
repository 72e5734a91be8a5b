package usage

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares with a file under testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o750))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), got)
}

func busy() Snapshot {
	return Snapshot{
		At: begun, Span: time.Minute, Version: "abcdef012345", InFlight: 42, Missing: 1250,
		Total: Row{Name: "total", Requests: 9000, Errors: 95, Rate: 150, TokenRate: 123456, FirstByte50: 320 * time.Millisecond, FirstByte95: 12 * time.Second, CostPerHour: 1234.5, Unpriced: 3},
		Routes: []Row{
			{Name: "gpt-4o-mini", Requests: 8000, Errors: 1, Rate: 133.3, TokenRate: 99999, FirstByte50: 250 * time.Millisecond, FirstByte95: 900 * time.Millisecond, CostPerHour: 12.345},
			{Name: "claude-*", Requests: 900, Errors: 90, Rate: 15, TokenRate: 23456, FirstByte50: 1500 * time.Millisecond, FirstByte95: 101 * time.Second, CostPerHour: 1222.1},
			{Name: "a-model-with-a-name-that-is-far-too-long-for-a-table-of-eighty", Requests: 1, Rate: 0.0166, CostPerHour: 0.0001},
			{Name: "evil\x1b[2J\nname", Requests: 1, Unpriced: 1},
		},
		Providers: []Row{
			{Name: "openai", Requests: 8100, Errors: 9, Rate: 135, TokenRate: 99999, FirstByte50: 240 * time.Millisecond, FirstByte95: 800 * time.Millisecond, CostPerHour: 12.345},
			{Name: "bedrock", Requests: 900, Rate: 15, TokenRate: 23456, FirstByte50: 3 * time.Millisecond, CostPerHour: 1222.1},
		},
	}
}

func crowd(n int) []Row {
	all := make([]Row, n)
	for i := range all {
		all[i] = Row{Name: "row " + threeDigits(i), Requests: 1, Errors: 1, Rate: 1e9, TokenRate: 1e15, CostPerHour: 1e12, Unpriced: 1, FirstByte50: time.Hour, FirstByte95: 100 * time.Hour}
	}
	return all
}

func TestTheTableFitsATerminal(t *testing.T) {
	full := busy()
	full.Routes, full.Providers = crowd(128), crowd(100)
	manyRoutes := busy()
	manyRoutes.Routes = crowd(50)
	for name, s := range map[string]Snapshot{"busy": busy(), "empty": {At: begun, Span: time.Second}, "full": full, "routes": manyRoutes} {
		t.Run(name, func(t *testing.T) {
			table := Top(s, TopWidth, TopHeight)
			golden(t, "top-"+name+".txt", table)
			for _, size := range [][2]int{{80, 24}, {60, 8}, {200, 60}, {0, 0}, {61, 9}} {
				lines := strings.Split(strings.TrimSuffix(Top(s, size[0], size[1]), "\n"), "\n")
				assert.LessOrEqual(t, len(lines), max(8, size[1]))
				for _, line := range lines {
					assert.LessOrEqual(t, utf8.RuneCountInString(line), max(60, size[0]), line)
					assert.NotContains(t, line, "\x1b")
				}
			}
		})
	}
}

func TestNumbersInFewLetters(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 0.04: "<0.1", 0.5: "0.5", 9: "9", 9.94: "9.9", 9.96: "10", 9999: "9999", 10_000: "10.0k", 999_949: "999.9k", 1e6: "1.0M", 2e9: "2G", 1e30: "99999G"} {
		assert.Equal(t, want, short(n))
	}
	for n, want := range map[float64]string{0: "0", 0.001: "<0.01", 1.5: "1.50", 12345: "12.3k"} {
		assert.Equal(t, want, amount(n))
	}
}

func TestTheTableIsDrawnAgainAndTheTerminalLeftAsItWas(t *testing.T) {
	refresh := make(chan time.Time)
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	turn := 0
	w := Watch{Out: &out, Refresh: refresh, Fetch: func(context.Context) (Snapshot, error) {
		turn++
		if turn == 2 {
			return Snapshot{}, errors.New("no postern\x1b runs")
		}
		return busy(), nil
	}}
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	refresh <- time.Time{}
	refresh <- time.Time{}
	cancel()
	require.NoError(t, <-done)
	text := out.String()
	assert.True(t, strings.HasPrefix(text, screenOn+home))
	assert.True(t, strings.HasSuffix(text, screenOff))
	assert.Equal(t, 3, strings.Count(text, home))
	assert.Contains(t, text, "no postern? runs")
	assert.NotContains(t, text, clearLine+"\r\n"+clearRest, "a full screen must not scroll")
}

type deadTerminal struct{}

func (deadTerminal) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestATerminalThatIsGoneEndsTheLoop(t *testing.T) {
	assert.Error(t, Watch{Out: deadTerminal{}, Fetch: func(context.Context) (Snapshot, error) { return busy(), nil }}.Run(t.Context()))
}
