package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/envoy/envoytest"
	"github.com/postern-proxy/postern/test/gate"
	"github.com/postern-proxy/postern/test/load"
)

// TestMain lets the bench start this test's program as one of its parts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && parts[os.Args[1]] != nil {
		if err := dispatch(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	gate.Main(m.Run)
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
	assert.Equal(t, slices.DeleteFunc(slices.Clone(baselines), func(b load.Baseline) bool {
		return b.Name != rowEnvoy && b.Name != rowNoop // the others are Postern's
	}), report.Baselines)
	require.Len(t, report.Rows, 3*2*2)
	for _, row := range report.Rows {
		assert.Equal(t, 40, row.Requests)
		assert.Contains(t, row.CPU, load.RoleUpstream)
		assert.Contains(t, row.To, rowEnvoy)
		if row.Target == rowEnvoy {
			assert.Greater(t, row.Memory[roleEnvoy].Resident.Median, 10.0)
		}
	}
	assert.Contains(t, report.Markdown(), "200 KB")
	assert.Empty(t, report.Notes, "they are about Postern")
}

// lanes are settings for a run with a Postern of this tree.
func lanes(t *testing.T, arguments ...string) settings {
	t.Helper()
	return quick(t, append([]string{"--postern", gate.Binary(t)}, arguments...)...)
}

// TestEveryRowGoesItsWay: the bench itself checks it, case by case.
func TestEveryRowGoesItsWay(t *testing.T) {
	report, err := bench(t.Context(), lanes(t, "--bodies", "300,4000,200000", "--rows", strings.Join(rowNames(), ",")), nil)
	require.NoError(t, err)
	sizes := map[string][]int{}
	for _, row := range report.Rows {
		if !row.Stream {
			sizes[row.Target] = append(sizes[row.Target], row.BodyBytes)
		}
		assert.Equal(t, row.Target != rowDirect, slices.Contains(slices.Collect(maps.Keys(row.CPU)), roleEnvoy), row.Target)
	}
	assert.Equal(t, []int{300, 4000}, sizes[rowNative], "larger bodies have no native lane")
	for _, name := range rowNames() {
		if i := slices.IndexFunc(rows, func(r row) bool { return r.name == name }); rows[i].small {
			assert.Equal(t, []int{300}, sizes[name], name)
		} else if !slices.Contains([]string{rowNative, rowBeside, rowUnmetered, rowScript, rowRefused, rowFailing, rowSilent}, name) {
			assert.Equal(t, []int{300, 4000, 200_000}, sizes[name], name)
		}
	}
	text := report.Markdown()
	assert.Contains(t, text, "Compared with “no-op ext_proc”")
	assert.Contains(t, text, "Targets: ")
	assert.Contains(t, text, "What a chunk of a stream costs")
	assert.Regexp(t, `in bodies of at most \d+ bytes`, text)
}

func TestThresholdRun(t *testing.T) {
	s := lanes(t, "--threshold", "--bodies", "1000,64000", "--out", t.TempDir())
	report, err := bench(t.Context(), s, nil)
	require.NoError(t, err)
	curve := load.NewCurve(report, rowEnvoyReads, rowGoReads)
	require.Len(t, curve.Points, 2)
	for _, row := range report.Rows {
		assert.Equal(t, row.Target == rowGoReads, slices.Contains(slices.Collect(maps.Keys(row.CPU)), roleGo), row.Target)
	}
}

func TestEverythingIsStopped(t *testing.T) {
	lab := &laboratory{settings: quick(t, "--skip-postern"), folder: t.TempDir()}
	_, err := lab.targets(t.Context())
	lab.close()
	require.NoError(t, err)
	require.Len(t, lab.children, 4)
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
	require.ErrorContains(t, err, "has ended")
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
