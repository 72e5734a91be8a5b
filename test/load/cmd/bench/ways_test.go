package main

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/test/load"
)

// counting is an admin interface whose counters a request moves.
func counting(t *testing.T) (socket string, count map[string]int) {
	t.Helper()
	count = map[string]int{
		"http.postern..http_transform.rq_transformed":      5,
		"http.postern.ext_proc.find.streams_started":       7,
		"http.postern.ext_proc.understand.streams_started": 0,
	}
	socket = filepath.Join(t.TempDir(), "admin.sock")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "/stats", r.URL.Path)
		text := ""
		for name, n := range count {
			text += fmt.Sprintf(`,{"name":%q,"value":%d}`, name, n)
		}
		fmt.Fprintf(w, `{"stats":[%s]}`, text[1:])
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return socket, count
}

func TestWays(t *testing.T) {
	const find, understand = "http.postern.ext_proc.find.streams_started", "http.postern.ext_proc.understand.streams_started"
	for name, c := range map[string]struct {
		wanted []string
		moves  []string
		says   string
	}{
		"as wanted":         {[]string{throughFind}, []string{find}, ""},
		"both":              {[]string{throughFind, throughUnderstand}, []string{find, understand}, ""},
		"another":           {[]string{throughFind}, []string{understand}, "counted ext_proc.understand.streams_started 1, not ext_proc.find.streams_started 1"},
		"one more":          {[]string{throughFind}, []string{find, understand}, "find.streams_started 1 and ext_proc.understand"},
		"twice":             {[]string{throughFind}, []string{find, find}, "find.streams_started 2"},
		"none":              {[]string{throughFind}, nil, "counted nothing"},
		"by nobody":         {nil, []string{find}, "not nothing"},
		"not even a filter": {[]string{throughNoop}, []string{find}, throughNoop},
	} {
		t.Run(name, func(t *testing.T) {
			socket, count := counting(t)
			asked := 0
			err := way{admin: socket, passes: always(c.wanted...)}.check(t.Context(), load.Case{}, func() error {
				asked++
				for _, name := range c.moves {
					count[name]++
				}
				return nil
			})
			assert.Equal(t, 1, asked)
			if c.says == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.says)
			}
		})
	}
}

func TestWaysWithoutAnEnvoy(t *testing.T) {
	w := way{admin: filepath.Join(t.TempDir(), "nobody.sock"), passes: always()}
	require.Error(t, w.check(t.Context(), load.Case{}, func() error { return nil }))
}

func TestThresholdIsReadFromTheRoutes(t *testing.T) {
	limit := map[string]any{"start": "0", "end": "4097"}
	compiled := map[string]any{"static_resources": []any{map[string]any{"headers": []any{
		map[string]any{"name": "content-length", "range_match": limit},
		map[string]any{"name": "content-length", "present_match": true},
		map[string]any{"name": "content-length", "range_match": map[string]any{"start": "9000", "end": "9999"}},
		map[string]any{"name": "x-other", "range_match": map[string]any{"end": "9"}},
	}}}}
	got, err := threshold(compiled)
	require.NoError(t, err)
	assert.Equal(t, 4096, got)
	assert.Len(t, lengths(compiled), 1)

	limit["end"] = "many"
	_, err = threshold(compiled)
	require.Error(t, err)
	_, err = threshold(map[string]any{})
	require.ErrorIs(t, err, errNoThreshold)
}
