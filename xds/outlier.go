package xds

import (
	"strings"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	groups "github.com/envoyproxy/go-control-plane/envoy/extensions/router/cluster_specifiers/priority_group/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"google.golang.org/protobuf/proto"
)

// A provider that fails again and again is left alone for a while: Envoy ejects its
// hosts, the attempt meets the sink, and the next group answers at once. That is right
// only as long as there is a next one. The last attempt of a request goes to the
// provider whatever was seen of it, because a provider that may fail is better than
// none. So a provider has two clusters: the plain one, which ejects nobody, for last
// attempts, and the guarded one for those before.
const clusterGuarded = "guarded/" // in the place of clusterProvider

// When a host is ejected, and for how long. An ejection lasts the first time times the
// number of times that it happened of late.
const (
	ejectAfterErrors = 10 // answers of 500 and above in a row, 500 and 501 among them
	ejectAfterBroken = 5  // in a row: 502, 503, 504, a reset, no connection, no first byte in time
	ejectFirst       = 5 * time.Second
	ejectLongest     = 10 * time.Second // less than between probes, so that one that is well again is soon asked
	ejectSweep       = time.Second      // how often Envoy looks whose time is over

	// ejectShare leaves one host of a cluster, which is the sink when all others are
	// ejected. Were the sink ejected too, requests would end with a 503 and no next
	// attempt.
	ejectShare = 99
)

// guardAttempts has all attempts but the last go to guarded clusters.
func guardAttempts(attempts []*groups.PriorityGroup) []*groups.PriorityGroup {
	for _, group := range attempts[:max(len(attempts)-1, 0)] {
		for _, c := range group.GetClusters() {
			c.ClusterName = guardedName(c.GetClusterName())
		}
	}
	return attempts
}

func guardedName(name string) string {
	return clusterGuarded + strings.TrimPrefix(name, clusterProvider)
}

// guards are the names of the clusters that have a guarded one beside them: those of all
// routes of more than one attempt. Which attempt is the last does not matter here,
// because it changes with the order of groups, and a cluster that came and went with
// that would forget what it has seen.
func guards(in Input) map[string]bool {
	used := map[string]bool{}
	for name := range in.Config.Models {
		attempts := rotate(members(in.Config, name, in.ordered(name)))
		if len(attempts) < 2 {
			continue
		}
		for _, group := range attempts {
			for _, c := range group.GetClusters() {
				used[c.GetClusterName()] = true
			}
		}
	}
	return used
}

// guarded is a provider's cluster, with the guarded one beside it where it is used.
func guarded(used map[string]bool, plain *cluster.Cluster) []types.Resource {
	if !used[plain.GetName()] {
		return []types.Resource{plain}
	}
	c := proto.CloneOf(plain)
	c.Name = guardedName(plain.GetName())
	c.LoadAssignment.ClusterName = c.GetName()
	// One provider to whoever reads statistics and logs.
	c.AltStatName = plain.GetName()
	c.OutlierDetection = &cluster.OutlierDetection{
		Consecutive_5Xx:                    uint32Value(ejectAfterErrors),
		ConsecutiveGatewayFailure:          uint32Value(ejectAfterBroken),
		EnforcingConsecutiveGatewayFailure: uint32Value(100),
		// Attempts that got no answer count as 503 and 504, in one row with answers of
		// those. Counted apart, the row of stalls would end with each connection that
		// opens, and a provider that takes requests and says nothing never be ejected.
		SplitExternalLocalOriginErrors: false,
		EnforcingSuccessRate:           uint32Value(0),
		MaxEjectionPercent:             uint32Value(ejectShare),
		BaseEjectionTime:               seconds(ejectFirst),
		MaxEjectionTime:                seconds(ejectLongest),
		Interval:                       seconds(ejectSweep),
	}
	return []types.Resource{plain, c}
}
