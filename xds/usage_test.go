package xds

import (
	"testing"

	modulefilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/dynamic_modules/v3"
	lua "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whoever reads the answers has the same name, so that routes need not know who it is.
func TestAnswersAreReadByTheModuleWhereThereIsOne(t *testing.T) {
	script, native := usageFilter(""), usageFilter("/opt/envoy/postern-usage.so")
	assert.Equal(t, filterUsage, script.GetName())
	assert.Equal(t, filterUsage, native.GetName())
	require.NoError(t, script.GetTypedConfig().UnmarshalTo(new(lua.Lua)))
	var its modulefilter.DynamicModuleFilter
	require.NoError(t, native.GetTypedConfig().UnmarshalTo(&its))
	assert.Equal(t, "/opt/envoy/postern-usage.so", its.GetDynamicModuleConfig().GetModule().GetLocal().GetFilename())
	require.NoError(t, checkMessage(native))
}
