package bedrock_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	fake "github.com/postern-proxy/postern/test/fake/bedrock"
	"github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
)

// TestTheTranslatorsReplicaMayGo: the service that translates runs twice, and one of them
// may be stopped at any time.
func TestTheTranslatorsReplicaMayGo(t *testing.T) {
	h := &house{bedrock: fake.Start(t), openai: openai.Start(t)}
	folder, err := os.MkdirTemp("", "postern") // a socket's path is short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	socket, keys := filepath.Join(folder, "r.sock"), append(credentials(fake.Test), "OPENAI_KEY=k")
	h.Gate = gate.Start(t, gate.Settings{
		Config: "listen: {address: \"{{address}}\"}\nproviders:\n" + h.providers() + "models:\n" + only("haiku", claude),
		Env:    keys, Args: []string{"--replica", socket},
	})
	var asked, failed atomic.Int64
	stop, all := make(chan struct{}), sync.WaitGroup{}
	for range 3 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, _ := h.ask(t, hello("haiku", `"stream":true`))
				asked.Add(1)
				if r.StatusCode != http.StatusOK {
					failed.Add(1)
				}
			}
		})
	}
	for range 2 {
		replica := exec.Command(gate.Binary(t), "extproc", "--config", h.File, "--socket", socket)
		replica.Env = append(gate.Environment(t), keys...)
		require.NoError(t, replica.Start())
		before := asked.Load()
		assert.Eventually(t, func() bool { return asked.Load() > before+150 }, 30*time.Second, 10*time.Millisecond)
		require.NoError(t, replica.Process.Signal(os.Interrupt))
		require.NoError(t, replica.Wait())
	}
	close(stop)
	all.Wait()
	assert.Zero(t, failed.Load(), "of %d", asked.Load())
	h.bedrock.NoRefusals(t)
}
