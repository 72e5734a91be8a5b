package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/xds/reader"
)

func TestTheModuleIsUsedWhereItIs(t *testing.T) {
	folder := t.TempDir()
	binary, module := filepath.Join(folder, "envoy"), filepath.Join(folder, reader.Name(envoy.Version))
	for _, there := range []bool{false, true} {
		if there {
			require.NoError(t, os.WriteFile(module, nil, 0o600))
		}
		for chosen, want := range map[string]string{"": module, "module": module, "script": ""} {
			path, err := nativeReader(chosen, binary)
			switch {
			case there:
				require.NoError(t, err)
				assert.Equal(t, want, path)
			case chosen == "module":
				require.ErrorContains(t, err, "make setup")
			default:
				require.NoError(t, err)
				assert.Empty(t, path)
			}
		}
	}
	_, err := nativeReader("something", binary)
	require.ErrorContains(t, err, "--reader something")
}
