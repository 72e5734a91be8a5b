package xds

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

// retired holds the clusters, and the secrets they use, that the current
// snapshot no longer names. A cluster that leaves together with its last route
// fails the requests that are between two attempts; so it leaves later.
// Not safe for concurrent use: the Server's lock guards it.
type retired struct {
	byType map[resource.Type]map[string]leaving
}

// leaving is a resource and when it may go.
type leaving struct {
	resource types.Resource
	until    time.Time
}

// keptTypes are the types whose resources leave late.
func keptTypes() []resource.Type { return []resource.Type{resource.ClusterType, resource.SecretType} }

// mostRetired is how many of a type are kept: who renames a thousand clusters within the
// time that a request may run has them leave a little early, and not the gate grow.
const mostRetired = 1000

func newRetired() *retired {
	r := &retired{byType: map[resource.Type]map[string]leaving{}}
	for _, kind := range keptTypes() {
		r.byType[kind] = map[string]leaving{}
	}
	return r
}

// replace notes what old names and next does not, until the given time, and
// forgets what next names again. Of more than mostRetired of a type those that are due
// first are dropped, which it counts.
func (r *retired) replace(old, next *cache.Snapshot, until time.Time) (dropped int) {
	for kind, gone := range r.byType {
		present := next.GetResources(kind)
		if old != nil {
			for name, item := range old.GetResources(kind) {
				gone[name] = leaving{resource: item, until: until}
			}
		}
		for name := range present {
			delete(gone, name)
		}
		dropped += dropFirst(gone, len(gone)-mostRetired)
	}
	return dropped
}

// dropFirst drops the n that are due first.
func dropFirst(gone map[string]leaving, n int) int {
	if n <= 0 {
		return 0
	}
	all := slices.SortedFunc(maps.Keys(gone), func(a, b string) int {
		return cmp.Or(gone[a].until.Compare(gone[b].until), cmp.Compare(a, b))
	})
	for _, name := range all[:n] {
		delete(gone, name)
	}
	return n
}

// merge is snapshot with the retired resources that are not due at now, and the
// time when the next of them is due: zero if none is left. What is due is
// forgotten.
func (r *retired) merge(snapshot *cache.Snapshot, now time.Time) (*cache.Snapshot, time.Time) {
	merged := &cache.Snapshot{Resources: snapshot.Resources}
	var next time.Time
	for kind, gone := range r.byType {
		all := make([]types.Resource, 0, len(gone))
		for name, item := range gone {
			if !now.Before(item.until) {
				delete(gone, name)
				continue
			}
			all = append(all, item.resource)
			if next.IsZero() || item.until.Before(next) {
				next = item.until
			}
		}
		if len(all) == 0 {
			continue
		}
		for _, item := range snapshot.GetResources(kind) {
			all = append(all, item)
		}
		merged.Resources[cache.GetResponseType(kind)] = cache.NewResources(snapshot.GetVersion(kind), all)
	}
	return merged, next
}
