package envoy_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/envoy/envoytest"
)

// pretender makes an "envoy" that tells the given version, and gives its folder.
func pretender(t *testing.T, version string) string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	folder := filepath.Join(t.TempDir(), version)
	require.NoError(t, os.Mkdir(folder, 0o755))
	require.NoError(t, os.Symlink(self, filepath.Join(folder, "envoy")))
	return folder
}

// launcher makes a Python installation: bin/envoy is a script, the binary lies deep.
// It gives the folder of the script and the path of the binary.
func launcher(t *testing.T, version string) (folder, binary string) {
	t.Helper()
	prefix, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	folder = filepath.Join(prefix, "bin")
	deep := filepath.Join(prefix, "lib", "python3.12", "site-packages", "envoy", "_bin")
	require.NoError(t, os.MkdirAll(folder, 0o755))
	require.NoError(t, os.MkdirAll(deep, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "envoy"), []byte("#!/bin/sh\nexit 9\n"), 0o755))
	if version != "" {
		binary = filepath.Join(deep, "envoy")
		require.NoError(t, os.Symlink(filepath.Join(pretender(t, version), "envoy"), binary))
	}
	return folder, binary
}

func TestFindTakesTheRealOne(t *testing.T) {
	binary := envoytest.Binary(t)
	found, err := envoy.Find(t.Context(), envoy.Search{Explicit: binary})
	require.NoError(t, err)
	assert.Equal(t, binary, found)
}

func TestFindOrder(t *testing.T) {
	fetched, onPath := t.TempDir(), pretender(t, envoy.Version)
	chosen := filepath.Join(pretender(t, envoy.Version), "envoy")
	path := pretender(t, "1.39.0") + ":relative:" + onPath

	find := func(search envoy.Search) string {
		found, err := envoy.Find(t.Context(), search)
		require.NoError(t, err)
		return found
	}
	search := envoy.Search{Folder: fetched, Path: path}
	assert.Equal(t, filepath.Join(onPath, "envoy"), find(search), "the wrong version comes first on PATH and is passed over")

	// The fetched file does not bear the name by which the pretender knows its part,
	// so a link to the real one stands there.
	binary := envoytest.Binary(t)
	require.NoError(t, os.Symlink(binary, filepath.Join(fetched, "envoy-"+envoy.Version)))
	assert.Equal(t, filepath.Join(fetched, "envoy-"+envoy.Version), find(search))

	search.Explicit = chosen
	assert.Equal(t, chosen, find(search))
}

func TestFindLooksBehindThePythonLauncher(t *testing.T) {
	right, binary := launcher(t, envoy.Version)
	for name, search := range map[string]envoy.Search{
		"on PATH": {Folder: t.TempDir(), Path: right},
		"chosen":  {Explicit: filepath.Join(right, "envoy")},
	} {
		found, err := envoy.Find(t.Context(), search)
		require.NoError(t, err, name)
		assert.Equal(t, binary, found, name)
	}

	wrong, _ := launcher(t, "1.38.2")
	bare, _ := launcher(t, "")
	_, err := envoy.Find(t.Context(), envoy.Search{Folder: t.TempDir(), Path: wrong + ":" + bare})
	assert.ErrorIs(t, err, envoy.ErrNotFound)
}

func TestFindWithoutAnyEnvoy(t *testing.T) {
	_, err := envoy.Find(t.Context(), envoy.Search{Folder: t.TempDir(), Path: t.TempDir()})
	require.ErrorIs(t, err, envoy.ErrNotFound)
	assert.EqualError(t, err, "Envoy 1.40.0 was not found: run `make setup`, or set ENVOY=/path/to/envoy")
}

func TestFindExplainsAWrongChoice(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, []byte(text), mode))
		return path
	}
	old := filepath.Join(pretender(t, "1.39.0"), "envoy")
	missing := filepath.Join(folder, "missing")
	garbage := write("garbage", "not a program at all", 0o755)
	empty := write("empty", "", 0o755)
	script := write("script", "#!/bin/sh\necho hello\n", 0o755)
	plain := write("plain", "\x7fELF", 0o644)

	for path, sentence := range map[string]string{
		old:     "ENVOY=" + old + " is Envoy 1.39.0, but Postern needs 1.40.0",
		missing: "ENVOY=" + missing + ": there is no such file",
		folder:  "ENVOY=" + folder + " is not an Envoy binary that runs on ",
		garbage: "ENVOY=" + garbage + " is not an Envoy binary that runs on ",
		empty:   "ENVOY=" + empty + " is not an Envoy binary that runs on ",
		script:  "ENVOY=" + script + " is a script, not the Envoy binary itself: name the binary",
		plain:   "ENVOY=" + plain + " may not be read and executed by this user",
	} {
		_, err := envoy.Find(t.Context(), envoy.Search{Explicit: path, Path: pretender(t, envoy.Version)})
		require.Error(t, err, path)
		assert.Contains(t, err.Error(), sentence)
		assert.NotContains(t, err.Error(), "\n")
	}
}

func TestFindEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := envoy.Find(ctx, envoy.Search{Folder: t.TempDir(), Path: pretender(t, envoy.Version)})
	assert.ErrorIs(t, err, context.Canceled)
}
