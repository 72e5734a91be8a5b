package xds

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// How long a test waits for what another goroutine does, and how often it looks.
const (
	waitFor = 10 * time.Second
	tick    = 5 * time.Millisecond
)

// listening is a Server on a Unix socket, and the socket. It is stopped with the
// test.
func listening(t *testing.T) (s *Server, socket string) {
	t.Helper()
	s = NewServer(slog.New(slog.DiscardHandler))
	socket = filepath.Join(t.TempDir(), "ads.sock")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	t.Cleanup(func() {
		s.Stop()
		require.NoError(t, <-served, "Serve gives nil after Stop")
	})
	return s, socket
}

// envoy is a client as an Envoy is one: incremental ADS, one stream.
type envoy struct {
	stream discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	came   chan *discovery.DeltaDiscoveryResponse
	node   *core.Node
	leave  context.CancelFunc // ends the stream
}

func connect(t *testing.T, socket, name string) *envoy {
	t.Helper()
	connection, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, connection.Close()) })
	return converse(t, connection, name)
}

// converse begins a stream on a connection.
func converse(t *testing.T, connection *grpc.ClientConn, name string) *envoy {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(connection).DeltaAggregatedResources(ctx)
	require.NoError(t, err)
	e := &envoy{stream: stream, came: make(chan *discovery.DeltaDiscoveryResponse, 100), node: &core.Node{Id: name}, leave: cancel}
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(e.came)
		for {
			response, err := stream.Recv()
			if err != nil {
				return
			}
			e.came <- response
		}
	})
	t.Cleanup(func() {
		cancel()
		reader.Wait()
	})
	return e
}

// subscribe asks for names of a type; for all of them where there is none.
func (e *envoy) subscribe(t *testing.T, kind resource.Type, names ...string) {
	t.Helper()
	if len(names) == 0 {
		names = []string{"*"}
	}
	require.NoError(t, e.stream.Send(&discovery.DeltaDiscoveryRequest{
		Node: e.node, TypeUrl: kind, ResourceNamesSubscribe: names,
	}))
}

// next waits for a response and does not answer it.
func (e *envoy) next(t *testing.T) *discovery.DeltaDiscoveryResponse {
	t.Helper()
	select {
	case response, open := <-e.came:
		require.True(t, open, "the stream ended")
		return response
	case <-time.After(waitFor):
		require.Fail(t, "no response came")
		return nil
	}
}

// take waits for a response, acknowledges it and gives it.
func (e *envoy) take(t *testing.T) change {
	t.Helper()
	response := e.next(t)
	require.NoError(t, e.stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: response.GetTypeUrl(), ResponseNonce: response.GetNonce()}))
	c := change{kind: response.GetTypeUrl(), version: response.GetSystemVersionInfo(), removed: response.GetRemovedResources()}
	for _, r := range response.GetResources() {
		c.changed = append(c.changed, r.GetName())
	}
	slices.Sort(c.changed)
	slices.Sort(c.removed)
	return c
}

// change is a response, readable.
type change struct {
	kind             resource.Type
	version          string
	changed, removed []string
}

// everything is all of a snapshotOf version 1 with providers.
func everything(providers ...string) map[resource.Type]change {
	const version = "1"
	all := map[resource.Type]change{
		resource.ListenerType:        {kind: resource.ListenerType, version: version, changed: []string{"postern"}},
		resource.RouteType:           {kind: resource.RouteType, version: version, changed: []string{"postern"}},
		resource.ExtensionConfigType: {kind: resource.ExtensionConfigType, version: version, changed: []string{"postern.keys"}},
	}
	clusters, secrets := change{kind: resource.ClusterType, version: version}, change{kind: resource.SecretType, version: version}
	for _, name := range providers {
		clusters.changed = append(clusters.changed, "provider/"+name)
		secrets.changed = append(secrets.changed, secretOf(name))
	}
	all[resource.ClusterType], all[resource.SecretType] = clusters, secrets
	return all
}

// start subscribes to every type and takes what comes first.
func (e *envoy) start(t *testing.T) map[resource.Type]change {
	t.Helper()
	e.subscribe(t, resource.ClusterType)
	e.subscribe(t, resource.ListenerType)
	e.subscribe(t, resource.SecretType, secretOf("a"), secretOf("b"))
	e.subscribe(t, resource.RouteType, "postern")
	e.subscribe(t, resource.ExtensionConfigType, "postern.keys")
	all := map[resource.Type]change{}
	for range everyKind() {
		c := e.take(t)
		require.NotContains(t, all, c.kind, "a type came twice")
		all[c.kind] = c
	}
	return all
}

func TestAnEnvoyGetsEveryType(t *testing.T) {
	s, socket := listening(t)
	require.NoError(t, s.Set(t.Context(), snapshotOf(t, "1", "a", "b"), time.Hour))
	e := connect(t, socket, "envoy-1")
	assert.Equal(t, everything("a", "b"), e.start(t))

	require.Eventually(t, func() bool {
		all := s.Status().Envoys
		return len(all) == 1 && len(all[0].Accepted) == len(everyKind())
	}, waitFor, tick)
	status := s.Status()
	assert.Equal(t, "1", status.Offered)
	assert.Equal(t, "envoy-1", status.Envoys[0].Node)
	for kind, version := range status.Envoys[0].Accepted {
		assert.Equal(t, "1", version, kind)
	}
	assert.NoError(t, status.Refused())
}

func TestAnEnvoyThatWasEarlyGetsTheFirstSnapshot(t *testing.T) {
	s, socket := listening(t)
	e := connect(t, socket, "early")
	e.subscribe(t, resource.ClusterType)
	require.Eventually(t, func() bool { return len(s.Status().Envoys) == 1 }, waitFor, tick)
	require.NoError(t, s.Set(t.Context(), snapshotOf(t, "1", "a"), time.Hour))
	assert.Equal(t, everything("a")[resource.ClusterType], e.take(t))
}

// The clusters that come next are those of the third snapshot: the second, in which
// none changed, had sent none.
func TestAnUpdateSendsOnlyWhatChanged(t *testing.T) {
	s, socket := listening(t)
	require.NoError(t, s.Set(t.Context(), snapshotOf(t, "1", "a"), time.Hour))
	e := connect(t, socket, "envoy-1")
	e.start(t)

	second := contents{}
	for _, kind := range everyKind() {
		for _, r := range snapshotOf(t, "2", "a").GetResources(kind) {
			second[kind] = append(second[kind], r)
		}
	}
	second[resource.ExtensionConfigType][0].(*core.TypedExtensionConfig).TypedConfig = pack(&core.Node{Id: "another"})
	require.NoError(t, s.Set(t.Context(), second.snapshot(t, "2"), time.Hour))
	assert.Equal(t, change{kind: resource.ExtensionConfigType, version: "2", changed: []string{"postern.keys"}}, e.take(t))

	for _, r := range snapshotOf(t, "3", "b").GetResources(resource.ClusterType) {
		second[resource.ClusterType] = append(second[resource.ClusterType], r)
	}
	require.NoError(t, s.Set(t.Context(), second.snapshot(t, "3"), time.Hour))
	assert.Equal(t, change{kind: resource.ClusterType, version: "3", changed: []string{"provider/b"}}, e.take(t))
}

func TestAClusterIsRemovedAfterItsTime(t *testing.T) {
	const keep = 200 * time.Millisecond
	s, socket := listening(t)
	require.NoError(t, s.Set(t.Context(), snapshotOf(t, "1", "a", "b"), keep))
	e := connect(t, socket, "envoy-1")
	e.start(t)
	begun := time.Now()
	require.NoError(t, s.Set(t.Context(), snapshotOf(t, "2", "a"), keep))
	removed := map[resource.Type][]string{}
	for range 2 {
		c := e.take(t)
		assert.GreaterOrEqual(t, time.Since(begun), keep, "%s left too early", c.kind)
		assert.Empty(t, c.changed)
		removed[c.kind] = c.removed
	}
	assert.Equal(t, map[resource.Type][]string{
		resource.ClusterType: {"provider/b"}, resource.SecretType: {"credential/b"},
	}, removed)
}

func TestTwoEnvoysGetTheSame(t *testing.T) {
	s, socket := listening(t)
	require.NoError(t, s.Set(t.Context(), snapshotOf(t, "1", "a"), time.Hour))
	one, two := connect(t, socket, "one"), connect(t, socket, "two")
	assert.Equal(t, everything("a"), one.start(t))
	assert.Equal(t, everything("a"), two.start(t))
	require.NoError(t, s.Set(t.Context(), snapshotOf(t, "2", "a", "b"), time.Hour))
	for _, e := range []*envoy{one, two} {
		got := map[resource.Type][]string{}
		for range 2 {
			c := e.take(t)
			got[c.kind] = c.changed
		}
		assert.Equal(t, map[resource.Type][]string{
			resource.ClusterType: {"provider/b"}, resource.SecretType: {"credential/b"},
		}, got)
	}
	require.Eventually(t, func() bool { return len(s.Status().Envoys) == 2 }, waitFor, tick)
}

func TestARefusalIsSeenAndHealed(t *testing.T) {
	s, socket := listening(t)
	require.NoError(t, s.Set(t.Context(), snapshotOf(t, "1", "a"), time.Hour))
	e := connect(t, socket, "envoy-1")
	e.subscribe(t, resource.ClusterType)
	response := e.next(t)
	require.NoError(t, e.stream.Send(&discovery.DeltaDiscoveryRequest{
		TypeUrl: resource.ClusterType, ResponseNonce: response.GetNonce(),
		ErrorDetail: &rpc.Status{Code: 3, Message: "no such filter"},
	}))
	require.Eventually(t, func() bool { return s.Status().Refused() != nil }, waitFor, tick)
	assert.Contains(t, s.Status().Refused().Error(), "no such filter")

	// Another cluster comes and is taken: that says nothing of the one that was refused.
	require.NoError(t, s.Set(t.Context(), snapshotOf(t, "2", "a", "b"), time.Hour))
	e.take(t)
	require.Eventually(t, func() bool { return s.Status().Envoys[0].Accepted["Cluster"] == "2" }, waitFor, tick)
	require.Error(t, s.Status().Refused())
	assert.Equal(t, []string{"provider/a"}, s.Status().Envoys[0].Refused[0].Resources)

	mended := contents{resource.ClusterType: {&cluster.Cluster{Name: "provider/a", AltStatName: "mended"}}}
	require.NoError(t, s.Set(t.Context(), mended.snapshot(t, "3"), time.Hour))
	e.take(t)
	require.Eventually(t, func() bool { return s.Status().Refused() == nil }, waitFor, tick)
}

func TestAnEnvoyThatGoesIsForgotten(t *testing.T) {
	s, socket := listening(t)
	require.NoError(t, s.Set(t.Context(), snapshotOf(t, "1", "a"), time.Hour))
	e := connect(t, socket, "envoy-1")
	e.start(t)
	require.NoError(t, e.stream.CloseSend())
	require.Eventually(t, func() bool { return len(s.Status().Envoys) == 0 }, waitFor, tick)
	require.Len(t, s.Status().Gone, 1, "but not at once")
	assert.Equal(t, "envoy-1", s.Status().Gone[0].Node)
	assert.False(t, s.Status().Gone[0].Until.IsZero())
	again := connect(t, socket, "envoy-1")
	again.start(t)
	assert.Empty(t, s.Status().Gone, "one that came back is not gone")
}

func TestStopEndsTheStreamsAndMayBeCalledTwice(t *testing.T) {
	s, socket := listening(t)
	require.NoError(t, s.Set(t.Context(), snapshotOf(t, "1", "a", "b"), time.Hour))
	require.NoError(t, s.Set(t.Context(), snapshotOf(t, "2", "a"), time.Hour)) // a timer runs
	e := connect(t, socket, "envoy-1")
	e.start(t)
	var all sync.WaitGroup
	for range 3 {
		all.Go(s.Stop)
	}
	all.Wait()
	s.Stop()
	select {
	case _, open := <-e.came:
		assert.False(t, open, "a response after Stop")
	case <-time.After(waitFor):
		assert.Fail(t, "the stream did not end")
	}
}

func TestStopWithoutServe(*testing.T) {
	s := NewServer(slog.New(slog.DiscardHandler))
	s.Stop()
	s.Stop()
}

func TestServeAndSetAfterStop(t *testing.T) {
	s := NewServer(slog.New(slog.DiscardHandler))
	s.Stop()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "ads.sock"))
	require.NoError(t, err)
	require.NoError(t, s.Serve(l))
	require.NoError(t, s.Set(t.Context(), snapshotOf(t, "1", "a"), time.Hour))
	require.NoError(t, s.Set(t.Context(), snapshotOf(t, "2"), time.Hour))
	assert.Nil(t, s.own.timer, "nothing comes back after Stop")
}

// Snapshots come while Envoys do: for the race detector.
func TestSetWhileEnvoysComeAndGo(t *testing.T) {
	s, socket := listening(t)
	require.NoError(t, s.Set(t.Context(), snapshotOf(t, "0", "a"), time.Hour))
	stop := make(chan struct{})
	var setter sync.WaitGroup
	setter.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			providers := []string{"a", "b"}[:1+i%2]
			if err := s.Set(t.Context(), snapshotOf(t, time.Duration(i).String(), providers...), time.Millisecond); err != nil {
				t.Error(err)
			}
			_ = s.Status()
		}
	})
	for range 5 {
		e := connect(t, socket, "envoy")
		e.subscribe(t, resource.ClusterType)
		e.take(t)
		e.subscribe(t, resource.SecretType, secretOf("a"))
		e.take(t)
		require.NoError(t, e.stream.CloseSend())
	}
	close(stop)
	setter.Wait()
}
