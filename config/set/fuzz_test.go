package set_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/config/set"
)

// Every document that is valid means the same in parts, and what is shown of it can be
// read again.
func FuzzSplit(f *testing.F) {
	f.Add([]byte(document))
	for _, name := range []string{"../../postern.yaml", "../testdata/full.yaml"} {
		text, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add([]byte("providers: {a: &a {schema: openai, builtin: demo}, b: *a}\nmodels: {x: {route: [[{provider: a}]], system: \"{{\\n\\n  x: |\\t\"}}"))
	empty := config.Env{}
	f.Fuzz(func(t *testing.T, text []byte) {
		whole, err := config.Parse("whole", text, empty)
		if err != nil {
			_, _ = set.Split(text) // must only not panic
			return
		}
		parts, err := set.Split(text)
		require.NoError(t, err)
		again, err := set.Assemble("parts", key, parts, empty)
		require.NoError(t, err)
		require.Equal(t, whole.Version, again.Version)
		shown, err := config.Parse("shown", []byte(set.Document(parts)), empty)
		require.NoError(t, err, set.Document(parts))
		require.Equal(t, whole.Version, shown.Version)
	})
}
