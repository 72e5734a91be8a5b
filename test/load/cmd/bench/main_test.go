package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/postern-proxy/postern/envoy/envoytest"
	"github.com/postern-proxy/postern/test/load"
)

// TestMain lets the bench start this test's program as its mock provider.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "upstream" {
		if err := upstream(context.Background(), os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func TestFlags(t *testing.T) {
	s, err := parse(nil)
	require.NoError(t, err)
	assert.Equal(t, []load.Case{
		{Connections: 1, BodyBytes: 300}, {Connections: 16, BodyBytes: 300},
		{Connections: 1, Stream: true, BodyBytes: 300}, {Connections: 16, Stream: true, BodyBytes: 300},
	}, s.cases())
	wanted, err := s.wanted()
	require.NoError(t, err)
	assert.Len(t, wanted, len(rows))

	s, err = parse([]string{"--connections", "4, 8", "--bodies=300,4096", "--answers", "streamed", "--skip-postern", "--rows", "direct,Postern native"})
	require.NoError(t, err)
	assert.Equal(t, []load.Case{
		{Connections: 4, Stream: true, BodyBytes: 300}, {Connections: 8, Stream: true, BodyBytes: 300},
		{Connections: 4, Stream: true, BodyBytes: 4096}, {Connections: 8, Stream: true, BodyBytes: 4096},
	}, s.cases())
	wanted, err = s.wanted()
	require.NoError(t, err)
	require.Len(t, wanted, 1)
	assert.Equal(t, rowDirect, wanted[0].name)
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

// quick are settings for a run of a second or two.
func quick(t *testing.T, arguments ...string) settings {
	t.Helper()
	t.Setenv("ENVOY", envoytest.Binary(t))
	s, err := parse(append([]string{"--requests", "20", "--rounds", "2", "--warmup", "0s", "--connections", "2"}, arguments...))
	require.NoError(t, err)
	return s
}

func TestBenchThroughTheRealEnvoy(t *testing.T) {
	report, err := bench(t.Context(), quick(t, "--skip-postern", "--bodies", "300,200000"), []string{"--requests", "20"})
	require.NoError(t, err)
	assert.Equal(t, "bench --requests 20", report.Command)
	assert.Equal(t, rowEnvoy, report.Baseline)
	require.Len(t, report.Rows, 2*2*2)
	for _, row := range report.Rows {
		assert.Equal(t, 40, row.Requests)
		assert.Contains(t, row.CPU, load.RoleUpstream)
		assert.NotNil(t, row.ToBaseline)
		if row.Target == rowEnvoy {
			assert.Greater(t, row.Memory["envoy"].Resident.Median, 10.0)
		}
	}
	assert.Contains(t, report.Markdown(), "200 KB")
}

func TestEverythingIsStopped(t *testing.T) {
	lab := &laboratory{settings: quick(t, "--skip-postern"), folder: t.TempDir()}
	_, err := lab.targets(t.Context())
	lab.close()
	require.NoError(t, err)
	require.Len(t, lab.children, 2)
	for _, c := range lab.children {
		require.ErrorIs(t, syscall.Kill(c.pid(), 0), syscall.ESRCH, c.name)
	}
	lab.close()
}

func TestPosternThatCannotRun(t *testing.T) {
	missing := quick(t, "--rows", rowNative, "--postern", filepath.Join(t.TempDir(), "postern"))
	_, err := bench(t.Context(), missing, nil)
	require.ErrorContains(t, err, "no such file")

	broken := filepath.Join(t.TempDir(), "postern")
	require.NoError(t, os.WriteFile(broken, []byte("#!/bin/sh\necho the gate is stuck >&2\nexit 1\n"), 0o700))
	_, err = bench(t.Context(), quick(t, "--rows", rowNative, "--postern", broken), nil)
	require.ErrorContains(t, err, "Postern has ended")
	require.ErrorContains(t, err, "the gate is stuck")
}

func TestStoppedWhileMeasuring(t *testing.T) {
	s := quick(t, "--rows", rowDirect)
	s.requests, s.duration = 0, time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := bench(ctx, s, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
