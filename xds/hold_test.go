package xds

import (
	"strings"
	"testing"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	wasmfilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	upstream "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	wasm "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/stretchr/testify/assert"

	"github.com/postern-proxy/postern/xds/hold"
)

const someHeld = `
providers:
  a: {schema: openai, url: "https://a.example/v1", key: "${A_KEY}"}
  b: {schema: openai, url: "https://b.example/v1", keys: [{key: "${B_KEY}"}, {key: "${C_KEY}"}]}
models:
  held: {route: [[{provider: a}], [{provider: b}]], hold: first_event}
  renamed: {route: [[{provider: a, model: x}], [{provider: b}]], hold: first_event}
  plain: {route: [[{provider: a}], [{provider: b}]]}
`

// TestOnlyTheClustersOfRoutesThatAskHold: a provider of other routes has its own beside
// them, without the filter.
func TestOnlyTheClustersOfRoutesThatAskHold(t *testing.T) {
	_, snapshot := compiled(t, someHeld)
	holding := map[string]bool{}
	for name, r := range snapshot.GetResources(resource.ClusterType) {
		c := r.(*cluster.Cluster)
		options := new(upstream.HttpProtocolOptions)
		if packed := c.GetTypedExtensionProtocolOptions()[protocolOptions]; packed == nil || packed.UnmarshalTo(options) != nil {
			continue
		}
		for i, f := range options.GetHttpFilters() {
			filter := new(wasmfilter.Wasm)
			if f.GetTypedConfig().UnmarshalTo(filter) != nil {
				continue
			}
			assert.Zero(t, i, "it sees answers last")
			assert.Equal(t, hold.Module(), filter.GetConfig().GetVmConfig().GetCode().GetLocal().GetInlineBytes())
			assert.Equal(t, wasm.FailurePolicy_FAIL_OPEN, filter.GetConfig().GetFailurePolicy())
			assert.True(t, filter.GetConfig().GetAllowOnHeadersStopIteration().GetValue(), "else it would stop the body too")
			holding[name] = true
		}
		runs := !strings.HasPrefix(name, clusterWatched) // which has connections, and no filters
		assert.Equal(t, runs && strings.Contains(name, "!"), holding[name], name)
	}
	assert.Equal(t, []string{
		"guarded/a#!", "guarded/a#!=x", "guarded/b#0!", "guarded/b#1!",
		"provider/a#!", "provider/a#!=x", "provider/b#0!", "provider/b#1!",
	}, names(holding))
	for model, first := range map[string]string{"held": "guarded/a#!", "renamed": "guarded/a#!=x", "plain": "guarded/a"} {
		_, attempts := actionOf(t, snapshot, model)
		assert.Equal(t, first, attempts[0][0], model)
	}
}
