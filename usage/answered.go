package usage

import (
	"context"
	"strings"
)

// patternAnswered are Envoy's counts of answers of status 2xx, by cluster. It counts one
// when it begins, with its headers, where the log tells of it when it has ended.
const patternAnswered = `cluster\.provider/.*\.upstream_rq_2xx`

// Answered is how many answers of status 2xx each provider has begun since Envoy's start:
// by the provider's name, with # and which of its keys where it has several.
func (e *Envoy) Answered(ctx context.Context) (map[string]uint64, error) {
	stats, err := e.Stats(ctx, patternAnswered)
	if err != nil {
		return nil, err
	}
	answered := make(map[string]uint64, len(stats))
	for name, n := range stats {
		name = strings.TrimSuffix(strings.TrimPrefix(name, "cluster."), ".upstream_rq_2xx")
		aimed := target(name)
		if aimed.account != "" {
			aimed.provider += "#" + aimed.account
		}
		answered[aimed.provider] += natural(n)
	}
	return answered, nil
}
