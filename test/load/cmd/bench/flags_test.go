package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/test/load"
)

func names(rows []row) []string {
	var names []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	return names
}

// length is how long a run measures.
func length(s settings, rows []row) time.Duration {
	turns := 0
	for _, c := range s.cases() {
		for _, r := range rows {
			if !r.small || c.BodyBytes <= quickSize {
				turns++
			}
		}
	}
	return time.Duration(turns*s.rounds) * (s.warmup + s.duration)
}

func TestDefaults(t *testing.T) {
	s, err := parse(nil)
	require.NoError(t, err)
	assert.Equal(t, []load.Case{
		{Connections: 1, BodyBytes: 300}, {Connections: 16, BodyBytes: 300},
		{Connections: 1, BodyBytes: 4_000}, {Connections: 16, BodyBytes: 4_000},
		{Connections: 1, BodyBytes: 30_000}, {Connections: 16, BodyBytes: 30_000},
		{Connections: 1, BodyBytes: 200_000}, {Connections: 16, BodyBytes: 200_000},
		{Connections: 16, Stream: true, BodyBytes: 300}, {Connections: 16, Stream: true, BodyBytes: 30_000},
	}, s.cases())
	wanted, err := s.wanted()
	require.NoError(t, err)
	assert.Equal(t, []string{
		rowDirect, rowEnvoy, rowNoop, rowUnmetered, rowNative, rowBeside,
		rowRefused, rowFailing, rowSilent, rowFound, rowUnderstood,
		rowPlain, rowPlainLong, rowOneStream, rowMixed, rowBedrock, rowBedrockLong,
	}, names(wanted))
	assert.Less(t, length(s, wanted).Minutes(), 13.0, "people wait for it")
}

func TestQuick(t *testing.T) {
	s, err := parse([]string{"--quick"})
	require.NoError(t, err)
	assert.Equal(t, []load.Case{
		{Connections: 1, BodyBytes: 300}, {Connections: 16, BodyBytes: 300}, {Connections: 16, Stream: true, BodyBytes: 300},
	}, s.cases())
	assert.Less(t, length(s, rows[:6]).Minutes(), 1.5)
	s, err = parse([]string{"--duration", "5s", "--quick"})
	require.NoError(t, err)
	assert.InDelta(t, 5, s.duration.Seconds(), 0, "a flag that was given stands")
}

func TestThreshold(t *testing.T) {
	s, err := parse([]string{"--threshold"})
	require.NoError(t, err)
	cases := s.cases()
	require.Len(t, cases, 12)
	assert.Equal(t, load.Case{Connections: 4, BodyBytes: 1000}, cases[0])
	assert.Equal(t, load.Case{Connections: 4, BodyBytes: 100_000}, cases[11])
	wanted, err := s.wanted()
	require.NoError(t, err)
	assert.Equal(t, []string{rowEnvoyReads, rowGoReads}, names(wanted))
}

func TestFlags(t *testing.T) {
	s, err := parse([]string{"--connections", "4, 8", "--bodies=300,4096", "--answers", "streamed", "--skip-postern", "--rows", "direct,Postern native"})
	require.NoError(t, err)
	assert.Equal(t, []load.Case{
		{Connections: 4, Stream: true, BodyBytes: 300}, {Connections: 8, Stream: true, BodyBytes: 300},
		{Connections: 4, Stream: true, BodyBytes: 4096}, {Connections: 8, Stream: true, BodyBytes: 4096},
	}, s.cases())
	wanted, err := s.wanted()
	require.NoError(t, err)
	assert.Equal(t, []string{rowDirect}, names(wanted))
}

func TestWrongFlags(t *testing.T) {
	for _, arguments := range [][]string{
		{"--rounds", "0"},
		{"--duration", "0s"},
		{"--requests", "-1"},
		{"--connections", "0"},
		{"--connections", "many"},
		{"--bodies", "10"},
		{"--answers", "quick"},
		{"--no-such-flag"},
		{"--quick", "--threshold"},
		{"--threshold", "--connections", "1,2"},
		{"--threshold", "--answers", "plain,streamed"},
		{"--threshold", "--skip-postern"},
		{"--threshold", "--rows", rowDirect},
		{"upstreem"},
	} {
		_, err := parse(arguments)
		require.Error(t, err, "%v", arguments)
	}
	for _, arguments := range [][]string{{"--rows", "nonsense"}, {"--rows", rowNative, "--skip-postern"}} {
		s, err := parse(arguments)
		require.NoError(t, err)
		_, err = s.wanted()
		require.Error(t, err, "%v", arguments)
	}
}
