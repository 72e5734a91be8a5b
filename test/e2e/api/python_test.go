package api_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/test/need"
)

func TestOfficialPythonClient(t *testing.T) {
	python := need.Python(t, filepath.Join("..", "..", ".."), "openai")
	h := shared(t)
	limited := h.key(t, "five", time.Now())
	c := clientOf(t, false, nil)
	for range 5 {
		response := h.ask(t, c, chatPath, chatBody("main", ""), "Authorization", "Bearer "+limited)
		require.Equal(t, http.StatusOK, response.StatusCode)
		_ = read(t, response)
	}
	cmd := exec.CommandContext(t.Context(), python, filepath.Join("..", "..", "python", "openai_client.py"), h.URL+"/v1", h.Key, limited)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	printed, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", printed)
	t.Logf("%s", printed)
}
