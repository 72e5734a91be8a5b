//go:build !race

package extproc_test

import (
	"testing"

	pb "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"

	"github.com/postern-proxy/postern/extproc"
	"github.com/postern-proxy/postern/wire"
)

// The ceilings are what was measured and two more, for another version of gRPC's
// metadata: an allocation for each message would be a thousand.
func TestAllocationsOfTheLanes(t *testing.T) {
	large := messages(1000)
	require.Greater(t, len(large), 200_000)
	n, out := allocations(t, large, wire.MetaLane, wire.LaneFind)
	require.Equal(t, "m", string(out.GetRequestBody().GetResponse().GetHeaderMutation().GetSetHeaders()[0].GetHeader().GetRawValue()))
	assert.LessOrEqual(t, n, float64(findCeiling), "find, 200 KB")

	small := messages(18)
	require.InDelta(t, 4096, len(small), 300)
	n, out = allocations(t, small, wire.MetaLane, wire.LaneUnderstand)
	require.NotEmpty(t, out.GetRequestBody().GetResponse().GetBodyMutation().GetBody())
	assert.LessOrEqual(t, n, float64(understandCeiling), "understand with every stage, 4 KB")

	n, out = allocations(t, large, wire.MetaLane, wire.LaneUnderstand)
	require.NotEmpty(t, out.GetRequestBody().GetResponse().GetBodyMutation().GetBody())
	assert.LessOrEqual(t, n, float64(understandCeiling), "the number does not grow with the body")
}

const (
	findCeiling       = 29
	understandCeiling = 38
	pickCeiling       = 45
	reorderCeiling    = 109
)

// allocations are those of one whole stream on a lane, gRPC left out.
func allocations(t *testing.T, text string, meta ...string) (float64, *pb.ProcessingResponse) {
	t.Helper()
	return allocationsOf(t, everyStage, text, meta...)
}

// allocationsOf are the same with another configuration.
func allocationsOf(t *testing.T, configuration, text string, meta ...string) (float64, *pb.ProcessingResponse) {
	t.Helper()
	plan := extproc.NewPlan(parse(t, configuration), prices(t))
	s := service(t, plan)
	meta = append(meta, wire.MetaConfig, plan.Version(), wire.MetaEntry, "m", wire.MetaPath, "/v1/chat/completions", wire.MetaLength, "1")
	c := &conversation{
		ctx: metadata.NewIncomingContext(t.Context(), metadata.Pairs(meta...)),
		in:  []*pb.ProcessingRequest{headers(false), body([]byte(text))},
	}
	n := testing.AllocsPerRun(50, func() {
		c.at = 0
		require.NoError(t, s.Process(c))
	})
	return n, c.out
}

// What each request is given its own order of groups by is ready before it comes.
func TestAllocationsOfPicks(t *testing.T) {
	const configuration = `
providers:
  wordy: {schema: openai, url: https://wordy.example.com/v1, key: "${OPENAI_API_KEY}"}
  brief: {schema: openai, url: https://brief.example.com/v1, key: "${OPENAI_API_KEY}"}
models:
  m: {prefer: cost, route: [[{provider: wordy, model: gpt, context: 1000000}], [{provider: brief, model: gpt, context: 1000000}]]}
`
	meta := func(first, second string) []string {
		return []string{wire.MetaLane, wire.LaneUnderstand, wire.MetaGroups, `[[{"cluster":"provider/` + first + `","weight":1,"provider":"` + first + `","model":"gpt"}],` +
			`[{"cluster":"provider/` + second + `","weight":1,"provider":"` + second + `","model":"gpt"}]]`}
	}
	for _, text := range []string{messages(60), messages(1000)} {
		n, out := allocationsOf(t, configuration, text, meta("wordy", "brief")...)
		require.Nil(t, out.GetDynamicMetadata(), "long questions are cheaper there")
		assert.LessOrEqual(t, n, float64(pickCeiling), "in the route's own order")
		n, out = allocationsOf(t, configuration, text, meta("brief", "wordy")...)
		require.NotNil(t, out.GetDynamicMetadata().GetFields()[wire.MetadataGroups])
		assert.LessOrEqual(t, n, float64(reorderCeiling), "in another")
	}
}
