package envoy_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/envoy"
)

func TestALogFileStaysBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "envoy.log")
	require.NoError(t, os.WriteFile(path, []byte("before\n"), 0o600))
	log, err := envoy.OpenLogFile(path)
	require.NoError(t, err)
	log.SetLimit(20)
	write := func(text string) {
		n, err := log.Write([]byte(text))
		require.NoError(t, err)
		require.Equal(t, len(text), n)
	}
	read := func(path string) string {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(text)
	}
	write("first\n")
	assert.Equal(t, "before\nfirst\n", read(path), "what was there is kept")
	write("second line\n")
	assert.Equal(t, "before\nfirst\n", read(path+".1"))
	assert.Equal(t, "second line\n", read(path))
	write(strings.Repeat("x", 50) + "\n")
	assert.Equal(t, "second line\n", read(path+".1"), "only one old file is kept")
	assert.Equal(t, strings.Repeat("x", 50)+"\n", read(path), "no text is split")

	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NoError(t, log.Close())
	require.NoError(t, log.Close())
	_, err = log.Write([]byte("late"))
	assert.ErrorIs(t, err, os.ErrClosed)
}

func TestALogFileThatCannotRotateGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "envoy.log")
	require.NoError(t, os.MkdirAll(filepath.Join(path+".1", "in the way"), 0o755))
	log, err := envoy.OpenLogFile(path)
	require.NoError(t, err)
	defer log.Close()
	log.SetLimit(5)
	for range 3 {
		_, err := log.Write([]byte("text\n"))
		require.NoError(t, err)
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, strings.Repeat("text\n", 3), string(text))
}

func TestALogFileTakesManyWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "envoy.log")
	log, err := envoy.OpenLogFile(path)
	require.NoError(t, err)
	log.SetLimit(1 << 10)
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for range 100 {
				_, err := log.Write([]byte("0123456789\n"))
				assert.NoError(t, err)
			}
		})
	}
	writers.Wait()
	require.NoError(t, log.Close())
	for _, path := range []string{path, path + ".1"} {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.LessOrEqual(t, len(text), 1<<10)
		assert.Empty(t, strings.ReplaceAll(string(text), "0123456789\n", ""))
	}
}

// broken is a full disk.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestEnvoysOutputOutlivesAFullDisk(t *testing.T) {
	tail := envoy.NewTail(broken{})
	for range 100 {
		n, err := tail.Write([]byte(strings.Repeat("y", 1024)))
		require.NoError(t, err)
		require.Equal(t, 1024, n)
	}
	_, err := tail.Write([]byte("the end"))
	require.NoError(t, err)
	assert.Len(t, tail.String(), 64<<10)
	assert.True(t, strings.HasSuffix(tail.String(), "ythe end"))
}
