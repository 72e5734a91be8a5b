// Package envoy is how Postern comes by its Envoy and lives with it: the pinned
// version and how it is found and fetched, the configuration it starts with, the
// supervisor that runs it as a child, and a client of its admin interface.
//
// The invariant: the process that runs is exactly [Version], is reached only by
// Unix sockets of mode 0600, and never outlives Postern: it is drained when Postern
// stops, restarted when it dies, and killed by the kernel when Postern is killed
// (on Linux; elsewhere a killed Postern leaves its Envoy behind).
//
// Functions here keep no state and may be called from any goroutine; so may every
// method of [Supervisor], [Admin] and [LogFile].
package envoy

import (
	"bytes"
	"context"
	_ "embed" // for requirements.txt
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"time"
)

// Version is the one version of Envoy that Postern runs. Several of the filters it
// relies on are young and change between minor versions, so no other is accepted.
const Version = "1.40.0"

// DefaultFolder is where Fetch puts the binary and where Find looks for it,
// relative to the working directory.
const DefaultFolder = ".tools/envoy"

// requirements names the Python package with its hashes, in pip's format.
//
//go:embed requirements.txt
var requirements []byte

// versionTimeout bounds "envoy --version", which takes about 50 ms.
const versionTimeout = 20 * time.Second

// versionLine is what "envoy --version" prints: path, commit, version, build.
var versionLine = regexp.MustCompile(`version: [0-9a-f]+/([^/\s]+)/`)

var (
	errNotEnvoy = errors.New("is not an Envoy binary")
	errLauncher = errors.New("is a script, not the Envoy binary itself")
)

// versionOf runs the binary and gives the version it tells.
func versionOf(ctx context.Context, binary string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, err := output(ctx, binary, "--version")
	if cause := ctx.Err(); cause != nil {
		return "", fmt.Errorf("%s --version did not end: %w", binary, cause)
	}
	match := versionLine.FindSubmatch(out)
	if match == nil {
		return "", errors.Join(errNotEnvoy, err)
	}
	return string(match[1]), nil
}

// output runs a command and gives what it printed on stdout. A file that was just
// written can be "busy" for a moment, while a child that another goroutine is
// starting still holds its descriptor; then it tries again.
func output(ctx context.Context, name string, args ...string) ([]byte, error) {
	const tries = 10
	for try := 1; ; try++ {
		cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // to run a chosen binary is the purpose
		cmd.WaitDelay = time.Second
		out, err := cmd.Output()
		if try == tries || !errors.Is(err, syscall.ETXTBSY) {
			return out, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// resolve gives the real binary behind path. The command that the Python package
// installs is a launcher, a script that replaces itself by the binary; Postern
// starts the binary, so that the process it watches is Envoy from the first moment.
func resolve(path string) (string, error) {
	is, err := isScript(path)
	if err != nil || !is {
		return path, err
	}
	script, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	prefix := filepath.Dir(filepath.Dir(script))
	for _, packages := range []string{"site-packages", "dist-packages"} {
		found, err := filepath.Glob(filepath.Join(prefix, "lib", "python3*", packages, "envoy", "_bin", "envoy"))
		if err == nil && len(found) > 0 {
			return found[0], nil
		}
	}
	return "", errLauncher
}

// isScript tells whether a file begins with "#!".
func isScript(path string) (bool, error) {
	file, err := os.Open(path) //nolint:gosec // to read a chosen binary is the purpose
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }()
	head := make([]byte, 2)
	if _, err := io.ReadFull(file, head); err != nil {
		return false, errNotEnvoy
	}
	return bytes.Equal(head, []byte("#!")), nil
}

// platform is "linux/amd64" and the like.
func platform() string { return runtime.GOOS + "/" + runtime.GOARCH }
