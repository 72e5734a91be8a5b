package xds

import (
	"maps"
	"slices"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/proto"
)

// typeDNS is the type of clusters whose addresses are found by name.
const typeDNS = "envoy.clusters.dns"

// A cluster that is found by name is in use at once, with no address until its name is
// found: an Envoy that starts would else open its door only when the last name of all is
// found, or given up. Where it takes the place of one with the same addresses that is
// true the other way round: that one does well until the new one has them too.

// warm is next with its clusters told apart by that, for Envoys that are served some now.
// What did not change stays as it was served, since to say it another way would be a change.
func warm(next *cache.Snapshot, served map[string]types.Resource) *cache.Snapshot {
	all := next.GetResources(resource.ClusterType)
	settled := maps.Clone(all)
	for name, item := range all {
		its, _ := item.(*cluster.Cluster)
		before, _ := served[name].(*cluster.Cluster)
		if found(its) && found(before) {
			settled[name] = inPlaceOf(before, its)
		}
	}
	warmed := &cache.Snapshot{Resources: next.Resources}
	warmed.Resources[cache.GetResponseType(resource.ClusterType)] =
		cache.NewResources(next.GetVersion(resource.ClusterType), slices.Collect(maps.Values(settled)))
	return warmed
}

// found says that a cluster's addresses are found by name.
func found(c *cluster.Cluster) bool { return c.GetClusterType().GetName() == typeDNS }

// inPlaceOf is a cluster as it replaces the one before. One with another address must not
// wait: until it came requests would go to the old address, with what is meant for the new.
func inPlaceOf(before, next *cluster.Cluster) *cluster.Cluster {
	if !proto.Equal(before.GetLoadAssignment(), next.GetLoadAssignment()) {
		return next
	}
	waiting := proto.CloneOf(next)
	waiting.WaitForWarmOnInit = before.GetWaitForWarmOnInit()
	if !proto.Equal(waiting, before) {
		waiting.WaitForWarmOnInit = boolValue(true)
	}
	return waiting
}
