package api_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// interpreter is a Python that has the official openai package: the one in PYTHON, or
// the one that `make test` sets up.
func interpreter(t *testing.T) string {
	t.Helper()
	python := os.Getenv("PYTHON")
	if python == "" {
		python = filepath.Join("..", "..", "..", ".tools", "python", "bin", "python")
	}
	printed, err := exec.CommandContext(t.Context(), python, "-c", "import openai").CombinedOutput()
	switch {
	case err == nil:
		return python
	case os.Getenv("CI") == "true":
		t.Fatalf("%s needs Python with the openai package (%s): %v\n%s", t.Name(), python, err, printed)
	default:
		t.Skipf("%s needs Python with the openai package (%s): run make test", t.Name(), python)
	}
	return ""
}

func TestOfficialPythonClient(t *testing.T) {
	python := interpreter(t)
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
