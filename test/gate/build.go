package gate

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var (
	buildOnce sync.Once
	binary    string
	buildErr  string
)

// Binary is the postern binary, built from this tree once a test process. The
// variable POSTERN names another, such as one that was built before.
func Binary(t testing.TB) string {
	t.Helper()
	buildOnce.Do(build)
	if buildErr != "" {
		t.Fatalf("postern does not build: %s", buildErr)
	}
	return binary
}

func build() {
	if binary = os.Getenv("POSTERN"); binary != "" {
		return
	}
	folder, err := os.MkdirTemp("", "postern-test-")
	if err != nil {
		buildErr = err.Error()
		return
	}
	binary = filepath.Join(folder, "postern")
	args := []string{"build", "-o", binary}
	if RaceDetector {
		args = append(args, "-race")
	}
	printed, err := exec.Command("go", append(args, "github.com/postern-proxy/postern/cmd/postern")...).CombinedOutput()
	if err != nil {
		buildErr = err.Error() + ": " + string(printed)
	}
}

// RemoveBinary removes what Binary built; for a TestMain that is not Main.
func RemoveBinary() {
	if binary != "" && os.Getenv("POSTERN") == "" {
		_ = os.RemoveAll(filepath.Dir(binary))
	}
}
