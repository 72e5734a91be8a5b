package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzParse looks for a document that breaks Parse, or that gets it to show what the
// environment holds.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"../postern.yaml", "../examples/*.yaml", "testdata/*.yaml", "testdata/bad/*.yaml"} {
		files, err := filepath.Glob(pattern)
		require.NoError(f, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(f, err)
			f.Add(text)
		}
	}
	const hidden = "7h3-h1dd3n-v4lu3"
	env := Env{
		Lookup:   func(string) (string, bool) { return hidden, true },
		ReadFile: func(string) ([]byte, error) { return []byte(hidden), nil },
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if strings.Contains(string(text), hidden) {
			t.Skip("the document itself has the value")
		}
		c, err := Parse("fuzz.yaml", text, env)
		if err != nil {
			var problems Problems
			require.True(t, errors.As(err, &problems) && len(problems) > 0)
			require.Nil(t, c)
			require.NotContains(t, err.Error(), hidden)
			for _, p := range problems {
				require.NotEmpty(t, p.Message)
				require.NotContains(t, p.String(), "\n")
			}
			return
		}
		require.Len(t, c.Version, 12)
		require.NotContains(t, fmt.Sprintf("%v", c.Warnings()), hidden)
		for _, p := range c.Providers {
			require.True(t, p.Builtin != "" || p.Endpoint() != nil)
		}
		for name := range c.Models {
			_, _, ok := c.Match(name)
			require.True(t, ok)
		}
		require.Contains(t, c.Tiers, DefaultTier)
	})
}
