// Package need is what a test needs of its machine besides Go: a program, a Python.
//
// The invariant: what is missing is never silent. On a developer's machine the test is
// skipped and says for want of what; in CI (CI=true) it fails, because CI has to have it.
//
// Functions may be called from the goroutine of the test only.
package need

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Missing ends the test for want of what.
func Missing(tb testing.TB, what string) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatalf("%s needs %s", tb.Name(), what)
	}
	tb.Skipf("%s needs %s", tb.Name(), what)
}

// Program is the path of a program on PATH.
func Program(tb testing.TB, name string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(tb, name)
	}
	return path
}

// Python is a Python that can import the modules ("openai", "moto, flask"): the one in
// PYTHON, or the one that `make test` sets up in the repository, whose root is given from
// the test's folder ("../../..").
func Python(tb testing.TB, root, modules string) string {
	tb.Helper()
	python := os.Getenv("PYTHON")
	if python == "" {
		python = filepath.Join(root, ".tools", "python", "bin", "python")
	}
	if printed, err := exec.CommandContext(tb.Context(), python, "-c", "import "+modules).CombinedOutput(); err != nil {
		Missing(tb, "a Python with "+modules+" (run make test, or set PYTHON; this is "+python+"): "+err.Error()+"\n"+string(printed))
	}
	return python
}
