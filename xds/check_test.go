package xds

import (
	"testing"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	buffer "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/buffer/v3"
	codec "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/upstream_codec/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	upstream "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/anypb"
)

// nested is a filter, inside the options of a cluster, as deep as configuration goes:
// Any in a list in an Any in a map.
func nested(inner *anypb.Any) *cluster.Cluster {
	return &cluster.Cluster{
		Name: "provider/a",
		TypedExtensionProtocolOptions: map[string]*anypb.Any{protocolOptions: pack(&upstream.HttpProtocolOptions{
			UpstreamProtocolOptions: &upstream.HttpProtocolOptions_AutoConfig{AutoConfig: &upstream.HttpProtocolOptions_AutoHttpConfig{}},
			HttpFilters:             []*hcm.HttpFilter{{Name: "inner", ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: inner}}},
		})},
	}
}

// noLimit is a message that breaks its own constraints: a buffer of no size.
func noLimit() *buffer.Buffer { return &buffer.Buffer{} }

func TestCheckFindsWhatIsBroken(t *testing.T) {
	for name, c := range map[string]struct {
		kind resource.Type
		item types.Resource
		want string // of the error
	}{
		"a cluster without a name": {resource.ClusterType, &cluster.Cluster{}, "Name"},
		"in a map of a list of an Any": {
			resource.ClusterType, nested(pack(noLimit())), "MaxRequestBytes",
		},
		"bytes that are no message": {
			resource.ClusterType, nested(&anypb.Any{TypeUrl: pack(noLimit()).GetTypeUrl(), Value: []byte{0xFF}}), "proto",
		},
		"a type that nobody knows": {
			resource.ClusterType, nested(&anypb.Any{TypeUrl: "type.googleapis.com/no.such.Type"}), "not found",
		},
		"in a list of lists": {
			resource.ListenerType, &listener.Listener{Name: "l", FilterChains: []*listener.FilterChain{{
				Filters: []*listener.Filter{{Name: "f", ConfigType: &listener.Filter_TypedConfig{TypedConfig: pack(&hcm.HttpConnectionManager{})}}},
			}}}, "StatPrefix",
		},
		"in a route": {
			resource.RouteType, &route.RouteConfiguration{Name: "r", VirtualHosts: []*route.VirtualHost{{
				Name: "h", Domains: []string{"*"},
				TypedPerFilterConfig: map[string]*anypb.Any{"b": pack(&buffer.BufferPerRoute{})},
			}}}, "Override",
		},
		"in an extension": {
			resource.ExtensionConfigType, &core.TypedExtensionConfig{Name: "x", TypedConfig: pack(noLimit())}, "MaxRequestBytes",
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := check(contents{c.kind: {c.item}}.snapshot(t, "1"))
			require.Error(t, err)
			assert.Contains(t, err.Error(), c.want)
			assert.Contains(t, err.Error(), shortType(c.kind), "which resource it was")
		})
	}
}

func TestCheckPassesWhatIsRight(t *testing.T) {
	require.NoError(t, check(contents{resource.ClusterType: {nested(pack(&codec.UpstreamCodec{}))}}.snapshot(t, "1")))
	require.NoError(t, check(contents{resource.ExtensionConfigType: {
		&core.TypedExtensionConfig{Name: "x", TypedConfig: new(anypb.Any)},
	}}.snapshot(t, "1")), "an Any of nothing switches a filter on")
	_, snapshot := compiled(t, twoProviders)
	require.NoError(t, check(snapshot))
}

const twoProviders = `
providers:
  a: {schema: openai, url: "https://a.example/v1", key: "${A_KEY}"}
  b: {schema: openai, url: "https://b.example/v1", key: "${B_KEY}"}
models:
  m: {route: [[{provider: a}, {provider: b}]]}
`
