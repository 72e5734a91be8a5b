package xds

import (
	"strings"
	"testing"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
)

const aNamed = `
providers:
  a: {schema: openai, url: "https://a.example/v1"}
  b: {schema: openai, url: "https://10.0.0.2/v1"}
models:
  m: {route: [[{provider: a}], [{provider: b}]]}
`

// TestWarm: a cluster with a name is in use at once, but for one that takes the place of
// one with the same addresses.
func TestWarm(t *testing.T) {
	waits := func(s *Server) map[string]bool {
		all := map[string]bool{}
		for name, item := range s.own.current.GetResources(resource.ClusterType) {
			c := item.(*cluster.Cluster)
			if found(c) {
				require.NotNil(t, c.GetWaitForWarmOnInit(), name)
				all[name] = c.GetWaitForWarmOnInit().GetValue()
			}
		}
		return all
	}
	s, _ := listening(t)
	set := func(text string) map[string]bool {
		_, snapshot := compiled(t, text)
		require.NoError(t, s.Set(t.Context(), snapshot, time.Hour))
		return waits(s)
	}
	atOnce := map[string]bool{"provider/a": false, "watched/a": false}
	assert.Equal(t, atOnce, set(aNamed), "all is new")
	before := s.own.current
	assert.Equal(t, atOnce, set(aNamed))
	for name, item := range before.GetResources(resource.ClusterType) {
		assert.True(t, proto.Equal(item, s.own.current.GetResources(resource.ClusterType)[name]), name)
	}

	replace := func(text, old, with string) string {
		require.Contains(t, text, old)
		return strings.Replace(text, old, with, 1)
	}
	header := replace(aNamed, `10.0.0.2/v1"`, `10.0.0.2/v1", headers: {x-one: z}`)
	changed := map[string]bool{"provider/a": true, "watched/a": false}
	assert.Equal(t, changed, set(header), "addresses are watched as before")
	assert.Equal(t, changed, set(header), "nothing changed")
	assert.Equal(t, changed, set(aNamed), "back is a change, too")

	moved := replace(aNamed, "a.example", "other.example")
	assert.Equal(t, atOnce, set(moved), "its key must not go to the old address")
	assert.Equal(t, map[string]bool{"provider/a": true, "watched/a": true}, set(replace(moved, `other.example/v1"`, `other.example/v1", connect_timeout: 1s`)))
	assert.Empty(t, set(replace(aNamed, "a.example", "10.0.0.1")), "no name")
}
