package xds

import (
	"sync"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	wasmfilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	wasm "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"

	"github.com/postern-proxy/postern/xds/hold"
)

// To Envoy an attempt has succeeded when its response headers are there: what a provider
// does after them is seen by the client. So on a route that says so the headers are held
// in the attempt's own cluster until the answer has begun. Until then the attempt fails
// as one without an answer does, by the first byte's timeout or by a connection that ends.

// held is a chain whose answers are held, where the variant says so.
func held(v variant, chain []*hcm.HttpFilter) []*hcm.HttpFilter {
	if !v.hold {
		return chain
	}
	return append([]*hcm.HttpFilter{holdFilter()}, chain...)
}

// heldMark stands behind the key in the name of a held variant's cluster.
func heldMark(key string) string {
	if key == "" {
		return "#!"
	}
	return "!"
}

// holdFilter has the same module for all clusters, so that a worker of Envoy runs one.
// One that breaks is left out, and answers begin with their headers again.
var holdFilter = sync.OnceValue(func() *hcm.HttpFilter {
	return filter("postern.hold", &wasmfilter.Wasm{Config: &wasm.PluginConfig{
		Name:                        "hold",
		FailurePolicy:               wasm.FailurePolicy_FAIL_OPEN,
		AllowOnHeadersStopIteration: boolValue(true),
		Vm: &wasm.PluginConfig_VmConfig{VmConfig: &wasm.VmConfig{
			VmId:    "hold",
			Runtime: "envoy.wasm.runtime.v8",
			Code: &core.AsyncDataSource{Specifier: &core.AsyncDataSource_Local{Local: &core.DataSource{
				Specifier: &core.DataSource_InlineBytes{InlineBytes: hold.Module()},
			}}},
			CapabilityRestrictionConfig: &wasm.CapabilityRestrictionConfig{AllowedCapabilities: capabilities()},
		}},
	}})
})

// capabilities are all that the module may ask of Envoy, and be asked.
func capabilities() map[string]*wasm.SanitizationConfig {
	all := map[string]*wasm.SanitizationConfig{}
	for _, name := range hold.Capabilities() {
		all[name] = &wasm.SanitizationConfig{}
	}
	return all
}
