package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAReplacedFileKeepsItsOwnerAndMode(t *testing.T) {
	file := filepath.Join(t.TempDir(), "postern.yaml")
	require.NoError(t, os.WriteFile(file, []byte("one"), 0o600))
	owner := os.Geteuid()
	if owner == 0 {
		owner = 4711
		require.NoError(t, os.Chown(file, owner, owner))
	}
	require.NoError(t, os.Chmod(file, 0o640))
	require.NoError(t, replaceFile(file, []byte("one"), []byte("two")))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "two", string(text))
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), info.Mode())
	assert.EqualValues(t, owner, info.Sys().(*syscall.Stat_t).Uid)

	require.ErrorContains(t, replaceFile(file, []byte("one"), []byte("three")), "was changed at the same time")
	text, err = os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "two", string(text))
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".postern-*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}
