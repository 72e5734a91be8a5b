package envoy_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/envoy"
)

func TestRuntimeFolderIsPrivateAndShortEnough(t *testing.T) {
	short := t.TempDir()
	long := filepath.Join(short, strings.Repeat("deep/", 20))
	name := strings.Repeat("n", envoy.SocketNameLimit)
	for _, data := range []string{short, long} {
		folder, cleanup, err := envoy.RuntimeFolder(data)
		require.NoError(t, err)
		info, err := os.Stat(folder)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
		listener, err := net.Listen("unix", filepath.Join(folder, name))
		require.NoError(t, err, folder)
		require.NoError(t, listener.Close())

		_, _, err = envoy.RuntimeFolder(data)
		require.ErrorContains(t, err, "another Postern is running with the data folder "+data)
		cleanup()
		cleanup()
		if data == short {
			assert.Equal(t, filepath.Join(short, "run"), folder)
			assert.DirExists(t, folder)
		} else {
			assert.NoDirExists(t, folder)
		}
		_, cleanup, err = envoy.RuntimeFolder(data)
		require.NoError(t, err, "free again")
		cleanup()
	}
}

func TestRuntimeFolderClearsUpAfterAKilledOne(t *testing.T) {
	data := t.TempDir()
	run := filepath.Join(data, "run")
	require.NoError(t, os.Mkdir(run, 0o755))
	listener, err := net.Listen("unix", filepath.Join(run, "old.sock"))
	require.NoError(t, err)
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, listener.Close())
	require.NoError(t, os.WriteFile(filepath.Join(run, "notes"), nil, 0o600))

	folder, cleanup, err := envoy.RuntimeFolder(data)
	require.NoError(t, err)
	defer cleanup()
	assert.NoFileExists(t, filepath.Join(folder, "old.sock"))
	assert.FileExists(t, filepath.Join(folder, "notes"))
	info, err := os.Stat(folder)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm(), "an older, open folder is closed")
}

func TestRuntimeFolderWithoutARoom(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, _, err := envoy.RuntimeFolder(file)
	assert.ErrorContains(t, err, "the data folder cannot be made")
}

// An Envoy that somebody else runs keeps its socket when Postern starts again.
func TestASocketThatAnswersStays(t *testing.T) {
	data := t.TempDir()
	folder, cleanup, err := envoy.RuntimeFolder(data)
	require.NoError(t, err)
	alive, err := net.Listen("unix", filepath.Join(folder, "alive.sock"))
	require.NoError(t, err)
	defer alive.Close()
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(folder, "dead.sock"), Net: "unix"})
	require.NoError(t, err)
	dead.SetUnlinkOnClose(false)
	require.NoError(t, dead.Close())
	cleanup()
	_, cleanup, err = envoy.RuntimeFolder(data)
	require.NoError(t, err)
	defer cleanup()
	assert.FileExists(t, filepath.Join(folder, "alive.sock"))
	assert.NoFileExists(t, filepath.Join(folder, "dead.sock"))
}
