package main

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/extproc"
)

func planOf(version string) *extproc.Plan {
	return extproc.NewPlan(&config.Config{Version: version}, nil)
}

func TestARequestWaitsForItsVersion(t *testing.T) {
	var looks atomic.Int32
	s := newLateHistory(slog.New(slog.DiscardHandler), nil)
	s.look = func() {
		if looks.Add(1) == 1 { // another version is all that the first look finds
			go func() { s.Add(planOf("2")) }()
			return
		}
		go func() { s.Add(planOf("3")) }()
	}
	s.Add(planOf("1"))
	assert.NotNil(t, s.Plan("1"))
	assert.Zero(t, looks.Load(), "what is known is not looked for")
	assert.NotNil(t, s.Plan("3"))
	assert.NotNil(t, s.Plan("2"))
}

// An Envoy that refuses what is new asks for what it has with each request.
func TestAVersionThatNobodyHasIsNotLookedForAllTheTime(t *testing.T) {
	var looks atomic.Int32
	s := newLateHistory(slog.New(slog.DiscardHandler), nil)
	s.patience = 20 * time.Millisecond
	s.look = func() { looks.Add(1) }
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() { assert.Nil(t, s.Plan("0")) })
	}
	all.Wait()
	first := looks.Load()
	require.EqualValues(t, 1, first)
	assert.Equal(t, lookLeast, s.rest, "ten that waited together are one that waited in vain")
	begin := time.Now()
	for range 1000 {
		assert.Nil(t, s.Plan("0"))
	}
	if time.Since(begin) < lookLeast {
		assert.Equal(t, first, looks.Load())
	}
	for range 20 {
		s.mu.Lock()
		s.vain = time.Time{}
		s.mu.Unlock()
		assert.Nil(t, s.Plan("0"))
	}
	assert.Equal(t, lookMost, s.rest)
	s.Add(planOf("1"))
	assert.Zero(t, s.rest, "what is new may be what it asks for")
}
