//go:build !race

package lanes_test

import (
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

// Thirty bodies of 19 MiB at once: as many as there is room for are served, the
// others are refused before their bodies are in memory.
func TestMemoryOfABurst(t *testing.T) {
	one, two := fake.Start(t), fake.Start(t)
	const budget = 256 << 20
	g := gate.Start(t, gate.Settings{Env: keys, Config: document(one, two, kind) + "extproc: {memory: 256MiB}\n"})
	before := peak(t, g.PID())
	for _, model := range []string{"plain", "kind"} {
		counted := statuses(t, g, 30, large(model, 19<<20), func(r *http.Response, text string) {
			if r.StatusCode != http.StatusOK {
				unavailable(t, r.StatusCode, text)
				assert.Equal(t, "1", r.Header.Get("Retry-After"))
			}
		})
		require.Positive(t, counted[http.StatusOK], "%v", counted)
		require.Equal(t, 30, counted[http.StatusOK]+counted[http.StatusServiceUnavailable], "%v", counted)
		t.Logf("%s: %v", model, counted)
	}
	grown := peak(t, g.PID()) - before
	t.Logf("the process grew by %d MiB, the budget is %d MiB", grown>>20, budget>>20)
	require.Less(t, grown, int64(budget+budget/8), "an eighth is for what is not bodies")
	// The room is given back.
	require.Eventually(t, func() bool {
		return statuses(t, g, 1, large("kind", 19<<20), nil)[http.StatusOK] == 1
	}, 20*time.Second, 100*time.Millisecond)
}

// peak is the most memory that a process has had, in bytes (VmHWM of proc(5)).
func peak(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, "VmHWM:"); found {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			require.NoError(t, err)
			return kib << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
