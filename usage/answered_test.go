package usage

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAnswersAreCountedByProviderAndKey(t *testing.T) {
	e := &Envoy{Stats: func(_ context.Context, pattern string) (map[string]int64, error) {
		assert.Equal(t, patternAnswered, pattern)
		return map[string]int64{
			"cluster.provider/a.upstream_rq_2xx": 2, "cluster.provider/a@=x.y_z.upstream_rq_2xx": 3,
			"cluster.provider/a.b#1!=m<m*.upstream_rq_2xx": 4, "cluster.provider/a.b#0.upstream_rq_2xx": -1,
		}, nil
	}}
	answered, err := e.Answered(t.Context())
	require.NoError(t, err)
	assert.Equal(t, map[string]uint64{"a": 5, "a.b#1": 4, "a.b#0": 0}, answered)
}
