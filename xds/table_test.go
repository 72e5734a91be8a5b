package xds

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestTheTableIsForPeople(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 10, 0, 0, time.UTC)
	since := now.Add(-5 * time.Minute)
	taken := map[string]string{routeKind: "v2"}
	s := Status{Offered: "v2", Envoys: []Envoy{
		{Node: "one", Cluster: "edge", Since: since, Accepted: taken},
		{Node: "two", Cluster: "edge", Since: since, Accepted: map[string]string{routeKind: "v1"}},
		{Node: "three\x1b[2J", Since: since, Accepted: taken, Waiting: []string{"Cluster"}},
		{Node: "four", Since: since, Accepted: taken, Refused: []Refusal{
			{Type: "Cluster", Version: "v2", Resources: []string{"provider/a"}, Reason: "no such filter"},
		}},
	}, Gone: []Envoy{{Node: "five", Cluster: "core", Since: since, Until: now.Add(-time.Minute), Accepted: taken}}}
	assert.Equal(t, `ENVOY      CLUSTER  CONNECTED  VERSION  STATE
one        edge     5m0s       v2       current
two        edge     5m0s       v1       behind
three?[2J  -        5m0s       v2       has not answered: Cluster
four       -        5m0s       v2       refused Cluster
five       core     4m0s       v2       gone 1m0s
four refused Cluster v2 (provider/a): no such filter
`, s.Table(now))
	assert.Empty(t, Status{}.Table(now))
}
