package xds

import (
	"fmt"
	"log/slog"
	"strconv"
	"testing"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// clock is a Server whose time a test moves.
type clock struct {
	*Server

	at time.Time
}

func newClock(t *testing.T) *clock {
	t.Helper()
	c := &clock{Server: NewServer(slog.New(slog.DiscardHandler)), at: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	c.now = func() time.Time { return c.at }
	t.Cleanup(c.Stop)
	return c
}

// pass moves the time, and does what the timer would do then.
func (c *clock) pass(t *testing.T, d time.Duration) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
	require.NoError(t, c.publish(t.Context(), c.own))
}

// served are the names of a type that are served now.
func (c *clock) served(t *testing.T, kind resource.Type) []string {
	t.Helper()
	snapshot, err := c.cache.GetSnapshot(own)
	require.NoError(t, err)
	return names(snapshot.GetResources(kind))
}

const keep = time.Minute

func TestAClusterThatLeftStaysForAWhile(t *testing.T) {
	c := newClock(t)
	require.NoError(t, c.Set(t.Context(), snapshotOf(t, "1", "a", "b"), keep))
	require.NoError(t, c.Set(t.Context(), snapshotOf(t, "2", "a"), keep))
	for _, d := range []time.Duration{0, keep - time.Nanosecond} {
		c.pass(t, d)
		assert.Equal(t, []string{"provider/a", "provider/b"}, c.served(t, resource.ClusterType))
		assert.Equal(t, []string{"credential/a", "credential/b"}, c.served(t, resource.SecretType), "its filters wait for its secret")
	}
	c.pass(t, time.Nanosecond)
	assert.Equal(t, []string{"provider/a"}, c.served(t, resource.ClusterType))
	assert.Equal(t, []string{"credential/a"}, c.served(t, resource.SecretType))
	assert.Empty(t, c.own.retired.byType[resource.ClusterType], "what is gone is forgotten")
	assert.Empty(t, c.own.retired.byType[resource.SecretType])
}

func TestAClusterThatCameBackIsNotRetired(t *testing.T) {
	c := newClock(t)
	require.NoError(t, c.Set(t.Context(), snapshotOf(t, "1", "a", "b"), keep))
	require.NoError(t, c.Set(t.Context(), snapshotOf(t, "2", "a"), keep))
	c.pass(t, keep/2)
	require.NoError(t, c.Set(t.Context(), snapshotOf(t, "3", "a", "b"), keep))
	c.pass(t, time.Hour)
	assert.Equal(t, []string{"provider/a", "provider/b"}, c.served(t, resource.ClusterType))
	assert.Equal(t, []string{"credential/a", "credential/b"}, c.served(t, resource.SecretType))

	require.NoError(t, c.Set(t.Context(), snapshotOf(t, "4", "a"), keep))
	c.pass(t, keep-time.Nanosecond)
	assert.Contains(t, c.served(t, resource.ClusterType), "provider/b", "it stays for a whole while again")
	c.pass(t, time.Nanosecond)
	assert.NotContains(t, c.served(t, resource.ClusterType), "provider/b")
}

func TestEachHasItsOwnTime(t *testing.T) {
	c := newClock(t)
	require.NoError(t, c.Set(t.Context(), snapshotOf(t, "1", "a", "b", "c"), keep))
	require.NoError(t, c.Set(t.Context(), snapshotOf(t, "2", "a", "b"), keep)) // c leaves
	c.pass(t, keep/2)
	require.NoError(t, c.Set(t.Context(), snapshotOf(t, "3", "a"), keep)) // b leaves; c is not kept longer for it
	assert.Equal(t, []string{"provider/a", "provider/b", "provider/c"}, c.served(t, resource.ClusterType))
	c.pass(t, keep/2)
	assert.Equal(t, []string{"provider/a", "provider/b"}, c.served(t, resource.ClusterType))
	c.pass(t, keep/2)
	assert.Equal(t, []string{"provider/a"}, c.served(t, resource.ClusterType))
}

// A request of the first version may still retry to a cluster when the third removes it,
// however short the requests of the second are.
func TestAClusterStaysForRequestsOfEarlierVersions(t *testing.T) {
	const long = 10 * time.Minute
	c := newClock(t)
	require.NoError(t, c.Set(t.Context(), snapshotOf(t, "1", "a", "b"), long))
	require.NoError(t, c.Set(t.Context(), snapshotOf(t, "2", "a", "b"), long)) // the first's requests may run so long
	c.pass(t, time.Second)
	require.NoError(t, c.Set(t.Context(), snapshotOf(t, "3", "a"), keep))
	c.pass(t, long-time.Second-time.Nanosecond)
	assert.Contains(t, c.served(t, resource.ClusterType), "provider/b")
	c.pass(t, time.Nanosecond)
	assert.NotContains(t, c.served(t, resource.ClusterType), "provider/b")
}

func TestRetiredIsBounded(t *testing.T) {
	c := newClock(t)
	for i := range 5 { // all but the current ones have left
		var some []string
		for n := range mostRetired / 2 {
			some = append(some, fmt.Sprintf("%d-%d", i, n))
		}
		require.NoError(t, c.Set(t.Context(), snapshotOf(t, strconv.Itoa(i), some...), keep))
		c.pass(t, time.Second)
	}
	served := c.served(t, resource.ClusterType)
	assert.Len(t, served, mostRetired+mostRetired/2)
	assert.Contains(t, served, "provider/2-0")
	assert.NotContains(t, served, "provider/1-0", "the first to be due goes first")
}

func TestMergeTellsWhenTheNextIsDue(t *testing.T) {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	r := newRetired()
	all, some, one := snapshotOf(t, "1", "a", "b", "c"), snapshotOf(t, "2", "a", "b"), snapshotOf(t, "3", "a")
	r.replace(nil, all, start)
	_, next := r.merge(all, start)
	assert.Zero(t, next, "nothing has left")
	r.replace(all, some, start.Add(time.Minute))
	r.replace(some, one, start.Add(time.Hour))
	_, next = r.merge(one, start)
	assert.Equal(t, start.Add(time.Minute), next)
	_, next = r.merge(one, start.Add(time.Minute))
	assert.Equal(t, start.Add(time.Hour), next)
	_, next = r.merge(one, start.Add(time.Hour))
	assert.Zero(t, next)
}

func TestARetiredClusterIsTheOneThatLeft(t *testing.T) {
	of := func(stat string) contents {
		return contents{resource.ClusterType: {&cluster.Cluster{Name: "provider/a", AltStatName: stat}}}
	}
	c := newClock(t)
	require.NoError(t, c.Set(t.Context(), of("old").snapshot(t, "1"), keep))
	require.NoError(t, c.Set(t.Context(), of("new").snapshot(t, "2"), keep))
	served := func() string {
		snapshot, err := c.cache.GetSnapshot(own)
		require.NoError(t, err)
		return snapshot.GetResources(resource.ClusterType)["provider/a"].(*cluster.Cluster).GetAltStatName()
	}
	assert.Equal(t, "new", served(), "one that stays is the new one at once")
	require.NoError(t, c.Set(t.Context(), contents{}.snapshot(t, "3"), keep))
	assert.Equal(t, "new", served(), "and it leaves as it was at last")
}

func TestOnlyClustersAndSecretsStay(t *testing.T) {
	c := newClock(t)
	require.NoError(t, c.Set(t.Context(), snapshotOf(t, "1", "a"), keep))
	require.NoError(t, c.Set(t.Context(), contents{resource.ClusterType: nil, resource.SecretType: nil}.snapshot(t, "2"), keep))
	for _, kind := range []resource.Type{resource.ListenerType, resource.RouteType, resource.ExtensionConfigType} {
		assert.Empty(t, c.served(t, kind), kind)
	}
	assert.Equal(t, []string{"provider/a"}, c.served(t, resource.ClusterType))
	snapshot, err := c.cache.GetSnapshot(own)
	require.NoError(t, err)
	assert.Equal(t, "2", snapshot.GetVersion(resource.ClusterType), "what stays is served under the new version")
}

func TestASnapshotIsNotWrittenTo(t *testing.T) {
	c := newClock(t)
	second := snapshotOf(t, "2", "a")
	require.NoError(t, c.Set(t.Context(), snapshotOf(t, "1", "a", "b"), keep))
	require.NoError(t, c.Set(t.Context(), second, keep))
	assert.Len(t, second.GetResources(resource.ClusterType), 1)
}
