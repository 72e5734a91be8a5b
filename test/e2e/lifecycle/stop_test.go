package lifecycle_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

const longAnswer = "a stream of words that goes on until somebody lets it end"

// busy is a gate with a stream that waits for the provider.
func busy(t *testing.T, drain string) (g *gate.Gate, s *stream, mark string, goOn func()) {
	t.Helper()
	waiting := make(chan struct{})
	provider := fake.Start(t)
	provider.Always(fake.Behavior{Content: longAnswer, Gate: waiting})
	mark = markOf(t)
	g = gate.Start(t, gate.Settings{
		Config: document(providerLine("main", provider.URL()), "main: {route: [[{provider: main}]]}"),
		Env:    []string{mark},
		Args:   []string{"--drain", drain},
	})
	require.NotZero(t, envoyOf(t, g))
	s = openStream(t, g, "main")
	s.next(t)
	return g, s, mark, func() { close(waiting) }
}

func TestAStopLetsAStreamEnd(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{"interrupt": syscall.SIGINT, "terminate": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			g, s, mark, goOn := busy(t, "30s")
			require.NoError(t, syscall.Kill(g.PID(), signal))
			require.Eventually(t, func() bool { return refuses(g.Address) }, patience, glance, "the door stays open")
			goOn()
			text, done := s.rest(t)
			assert.True(t, done, "the stream broke off: %v", s.err)
			assert.Equal(t, longAnswer, text)
			assert.Equal(t, 0, g.Wait(t, patience))
			assert.Empty(t, marked(t, mark), "processes are left")
		})
	}
}

func TestAStopIsBounded(t *testing.T) {
	for drain, least := range map[string]time.Duration{"1s": time.Second, "0s": 0} {
		t.Run(drain, func(t *testing.T) {
			g, s, mark, _ := busy(t, drain)
			begin := time.Now()
			g.Interrupt()
			assert.Equal(t, 0, g.Wait(t, patience))
			took := time.Since(begin)
			assert.GreaterOrEqual(t, took, least, "the stream had its time")
			assert.Less(t, took, least+4*time.Second)
			assert.Contains(t, g.Output(), "level=WARN", "a cut request is said")
			_, done := s.rest(t)
			assert.False(t, done)
			assert.Empty(t, marked(t, mark), "processes are left")
		})
	}
}

func TestASecondInterruptEndsAtOnce(t *testing.T) {
	g, s, mark, _ := busy(t, "1m")
	g.Interrupt()
	require.Eventually(t, func() bool { return refuses(g.Address) }, patience, glance)
	g.Interrupt()
	assert.Equal(t, 130, g.Wait(t, 2*time.Second))
	requireNobody(t, mark, 2*time.Second)
	_, done := s.rest(t)
	assert.False(t, done)
}

// Not even one that comes before the first was heard is lost.
func TestTwoInterruptsAtOnce(t *testing.T) {
	g, _, mark, _ := busy(t, "1m")
	g.Interrupt()
	require.NoError(t, syscall.Kill(g.PID(), syscall.SIGTERM)) // two of a kind would be one
	assert.Equal(t, 130, g.Wait(t, 2*time.Second))
	requireNobody(t, mark, 2*time.Second)
}

// An idle gate has nothing to wait for.
func TestAnIdleGateStopsAtOnce(t *testing.T) {
	g := gate.Start(t, gate.Settings{Second: true, Config: demoOnly})
	begin := time.Now()
	g.Interrupt()
	require.Equal(t, 0, g.Wait(t, patience))
	assert.Less(t, time.Since(begin), 3*time.Second)
	assert.NotContains(t, g.Output(), "level=ERROR")
}

func TestAStopBeforeItIsOpen(t *testing.T) {
	for name, begun := range map[string]func(t *testing.T, g *gate.Gate, mark string) bool{
		"while it looks for Envoy": func(t *testing.T, _ *gate.Gate, mark string) bool { return len(marked(t, mark)) > 1 },
		"while Envoy starts": func(_ *testing.T, g *gate.Gate, _ string) bool {
			_, err := os.Stat(filepath.Join(g.Data, "run", "envoy.json"))
			return err == nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			mark := markOf(t)
			g := gate.Launch(t, gate.Settings{Second: true, Config: demoOnly, Env: []string{mark}})
			require.Eventually(t, func() bool { return begun(t, g, mark) }, patience, time.Millisecond)
			g.Interrupt()
			assert.Equal(t, 0, g.Wait(t, 5*time.Second))
			assert.Empty(t, marked(t, mark), "processes are left")
			assert.Empty(t, g.Output())
		})
	}
}
