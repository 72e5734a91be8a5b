package lifecycle_test

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/test/gate"
)

func TestAKilledPosternLeavesNoEnvoyAndNothingInTheWay(t *testing.T) {
	mark := markOf(t)
	g := gate.Start(t, gate.Settings{Second: true, Config: demoOnly, Env: []string{mark}})
	require.Len(t, marked(t, mark), 2, "Postern and its Envoy")
	g.Kill()
	g.Wait(t, patience)
	requireNobody(t, mark, 2*time.Second)

	next := gate.Start(t, gate.Settings{Config: on(g.Address), Data: g.Data})
	next.URL = g.URL
	assert.Equal(t, g.Key, next.Key)
	response, body := next.Chat(t.Context(), t, "demo")
	assert.Equal(t, http.StatusOK, response.StatusCode, body)
}

func TestAKilledEnvoyIsStartedAgain(t *testing.T) {
	g := gate.Start(t, gate.Settings{Second: true, Config: demoOnly})
	pid := g.PID()
	client := client(t)
	for range 2 {
		victim := envoyOf(t, g)
		require.NotZero(t, victim)
		require.NoError(t, syscall.Kill(victim, syscall.SIGKILL))
		require.Eventually(t, func() bool {
			a, err := ask(t.Context(), client, g, chatPath, chatBody("demo", ""))
			return err == nil && a.status == http.StatusOK
		}, patience, glance, "it answers again")
		assert.NotEqual(t, victim, envoyOf(t, g))
		require.NoError(t, syscall.Kill(pid, 0), "the same Postern runs on")
	}
	assert.Contains(t, g.Output(), "Envoy ended by itself and is started again")
	assert.Contains(t, g.Output(), "signal: killed")
	assert.Equal(t, 0, run(t, "status", "--data", g.Data).code)

	edit(t, g, `
listen: {address: "{{address}}"}
providers: {demo: {schema: openai, builtin: demo}}
models: {other: {route: [[{provider: demo}]]}}
`)
	response, body := g.Chat(t.Context(), t, "other")
	assert.Equal(t, http.StatusOK, response.StatusCode, "the new Envoy hears of changes: %s", body)
}

// A stop while a crashed Envoy waits for its next start is a stop like any other.
func TestAStopWhileEnvoyIsAway(t *testing.T) {
	mark := markOf(t)
	g := gate.Start(t, gate.Settings{Second: true, Config: demoOnly, Env: []string{mark}})
	for range 3 { // each makes the pause before the next start longer
		var victim int
		require.Eventually(t, func() bool { victim = envoyOf(t, g); return victim != 0 }, patience, glance)
		require.NoError(t, syscall.Kill(victim, syscall.SIGKILL))
		require.Eventually(t, func() bool { return envoyOf(t, g) != victim }, patience, time.Millisecond)
	}
	g.Interrupt()
	assert.Equal(t, 0, g.Wait(t, 5*time.Second))
	assert.Empty(t, marked(t, mark))
}
