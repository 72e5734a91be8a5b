package xds

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	certs "github.com/postern-proxy/postern/test/authority"
)

// fleet is a Server with the address of its fleet and the authority of both ends.
type fleet struct {
	*Server

	authority *certs.Authority
	files     certs.Files
	address   string
	log       *lockedText
}

// lockedText is what a logger has written.
type lockedText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	a := certs.New(t)
	f := &fleet{authority: a, files: a.Write(t, t.TempDir(), "127.0.0.1"), log: new(lockedText)}
	f.serve(t, "127.0.0.1:0")
	return f
}

// serve runs a new Server at an address.
func (f *fleet) serve(t *testing.T, address string) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(f.log, nil))
	f.Server = NewServer(log)
	identity, err := Identity{Certificate: f.files.Certificate, Key: f.files.Key, Authorities: f.files.Authorities, Log: log}.TLS()
	require.NoError(t, err)
	l, err := net.Listen("tcp", address)
	require.NoError(t, err)
	f.address = l.Addr().String()
	s, served := f.Server, make(chan error, 1)
	go func() { served <- s.ServeFleet(l, identity) }()
	t.Cleanup(func() {
		s.Stop()
		require.NoError(t, <-served, "ServeFleet gives nil after Stop")
	})
}

// dial connects with a certificate for the names, if there is one.
func (f *fleet) dial(t *testing.T, names ...string) *grpc.ClientConn {
	t.Helper()
	return dialWith(t, f.address, f.authority.Client(t, names...))
}

func dialWith(t *testing.T, address string, identity *tls.Config) *grpc.ClientConn {
	t.Helper()
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(identity)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	return connection
}

// sidecar is an Envoy of the fleet.
func (f *fleet) sidecar(t *testing.T, id, cluster string) *envoy {
	t.Helper()
	e := converse(t, f.dial(t, "sidecar.example"), id)
	e.node.Cluster = cluster
	return e
}

// routesOf are more than what may be on its way to somebody who does not read: who
// would wait for that one would wait.
func routesOf(t *testing.T, version string) *cache.Snapshot {
	t.Helper()
	const window = 64 << 10
	return contents{resource.RouteType: {&route.RouteConfiguration{
		Name: "postern", VirtualHosts: []*route.VirtualHost{{Name: version + strings.Repeat("x", 2*window)}},
	}}}.snapshot(t, version)
}

func everybody(s *cache.Snapshot) map[string]View { return map[string]View{DefaultView: {Snapshot: s}} }

func TestEachClusterGetsItsView(t *testing.T) {
	f := newFleet(t)
	early := f.sidecar(t, "early", "edge") // it waits for the first configuration
	early.subscribe(t, resource.ClusterType)
	require.Eventually(t, func() bool { return len(f.Status().Envoys) == 1 }, waitFor, tick)
	require.NoError(t, f.SetFleet(t.Context(), map[string]View{
		DefaultView: {Snapshot: snapshotOf(t, "1", "a", "b")},
		"edge":      {Snapshot: snapshotOf(t, "1", "a")},
	}, time.Hour))
	assert.Equal(t, []string{"provider/a"}, early.take(t).changed)
	for name, want := range map[string][]string{"edge": {"provider/a"}, "core": {"provider/a", "provider/b"}} {
		e := f.sidecar(t, "envoy-"+name, name)
		e.subscribe(t, resource.ClusterType)
		assert.Equal(t, want, e.take(t).changed, name)
	}

	// A view comes, changes and goes while its Envoys are connected.
	core := f.sidecar(t, "core-2", "core")
	core.subscribe(t, resource.ClusterType)
	core.take(t)
	require.NoError(t, f.SetFleet(t.Context(), map[string]View{
		DefaultView: {Snapshot: snapshotOf(t, "2", "a", "b")},
		"core":      {Snapshot: snapshotOf(t, "2", "c")},
	}, time.Millisecond))
	assert.Equal(t, []string{"provider/c"}, core.take(t).changed)
	assert.Equal(t, []string{"provider/a", "provider/b"}, core.take(t).removed, "later, as with any other")
	assert.Equal(t, []string{"provider/b"}, early.take(t).changed, "without its view it gets the default one")
}

func TestAnEnvoyCannotTakeAnotherClustersView(t *testing.T) {
	f := newFleet(t)
	views := map[string]View{
		DefaultView: {Snapshot: snapshotOf(t, "1", "a")},
		"edge":      {Snapshot: snapshotOf(t, "1", "b"), Clients: []string{"spiffe://fleet/edge", "edge.example"}},
	}
	require.NoError(t, f.SetFleet(t.Context(), views, time.Hour))
	for _, name := range []string{"spiffe://fleet/edge", "edge.example"} {
		right := converse(t, f.dial(t, "x", name), "right")
		right.node.Cluster = "edge"
		right.subscribe(t, resource.ClusterType)
		assert.Equal(t, []string{"provider/b"}, right.take(t).changed)
	}
	wrong := f.sidecar(t, "wrong", "edge")
	wrong.subscribe(t, resource.ClusterType)
	_, open := <-wrong.came
	assert.False(t, open, "it got something")
	assert.Contains(t, f.log.String(), "may not have the view")

	sly := f.sidecar(t, "sly", "core")
	sly.subscribe(t, resource.ClusterType)
	sly.take(t)
	sly.node.Cluster = "edge"
	sly.subscribe(t, resource.SecretType, secretOf("b"))
	_, open = <-sly.came
	assert.False(t, open, "a stream stays with its cluster")

	nobody := f.sidecar(t, "nobody", "")
	nobody.subscribe(t, resource.ClusterType)
	_, open = <-nobody.came
	assert.False(t, open)
}

// A configuration that takes a right away may change what it protected in the same
// push: who lost the right does not hear of it.
func TestWhoLosesARightGetsNothingOfThatPush(t *testing.T) {
	f := newFleet(t)
	right := []string{"edge.example"}
	require.NoError(t, f.SetFleet(t.Context(), map[string]View{
		DefaultView: {Snapshot: snapshotOf(t, "1", "a")},
		"edge":      {Snapshot: snapshotOf(t, "1", "b"), Clients: right},
	}, time.Hour))
	late := converse(t, f.dial(t, right...), "late")
	late.node.Cluster = "edge"
	late.subscribe(t, resource.ClusterType)
	late.take(t)
	other := f.sidecar(t, "other", "core")
	other.subscribe(t, resource.ClusterType)
	other.take(t)
	require.NoError(t, f.SetFleet(t.Context(), map[string]View{
		DefaultView: {Snapshot: snapshotOf(t, "2", "a", "c")},
		"edge":      {Snapshot: snapshotOf(t, "2", "b", "d"), Clients: []string{"another.example"}},
	}, time.Hour))
	r, open := <-late.came
	assert.False(t, open, "it got %v", r)
	assert.Contains(t, f.log.String(), "turned away")
	assert.Equal(t, []string{"provider/c"}, other.take(t).changed, "nobody else is cut off")

	again := converse(t, f.dial(t, right...), "late")
	again.node.Cluster = "edge"
	again.subscribe(t, resource.ClusterType)
	_, open = <-again.came
	assert.False(t, open, "and it does not come in again")
}

// Before the first configuration nobody knows who may have what.
func TestARightIsJudgedByTheFirstConfiguration(t *testing.T) {
	f := newFleet(t)
	thief, right := f.sidecar(t, "thief", "edge"), converse(t, f.dial(t, "edge.example"), "right")
	right.node.Cluster = "edge"
	for _, e := range []*envoy{thief, right} {
		e.subscribe(t, resource.SecretType, secretOf("b"))
	}
	require.Eventually(t, func() bool {
		all := f.Status().Envoys
		return len(all) == 2 && all[0].Node != "" && all[1].Node != ""
	}, waitFor, tick)
	require.NoError(t, f.SetFleet(t.Context(), map[string]View{
		DefaultView: {Snapshot: snapshotOf(t, "1", "a")},
		"edge":      {Snapshot: snapshotOf(t, "1", "b"), Clients: []string{"edge.example"}},
	}, time.Hour))
	r, open := <-thief.came
	assert.False(t, open, "it got %v", r)
	assert.Equal(t, []string{secretOf("b")}, right.take(t).changed)
}

// Who goes before there is a configuration is not waited with.
func TestAnEnvoyThatCannotWaitIsLetGo(t *testing.T) {
	f := newFleet(t)
	e := f.sidecar(t, "early", "edge")
	e.subscribe(t, resource.ClusterType)
	require.Eventually(t, func() bool { return len(f.Status().Envoys) == 1 }, waitFor, tick)
	e.leave()
	require.Eventually(t, func() bool { return len(f.Status().Envoys) == 0 }, waitFor, tick)
}

func TestWithoutAGoodCertificateNobodyGetsAnything(t *testing.T) {
	f := newFleet(t)
	require.NoError(t, f.SetFleet(t.Context(), everybody(snapshotOf(t, "1", "a")), time.Hour))
	stranger := certs.New(t)
	foreign := stranger.Client(t, "sidecar.example")
	foreign.RootCAs = f.authority.Client(t).RootCAs
	old := f.authority.Client(t, "sidecar.example")
	old.MaxVersion = tls.VersionTLS12
	for name, identity := range map[string]*tls.Config{"none": f.authority.Client(t), "another authority's": foreign, "TLS 1.2": old} {
		stream, err := discovery.NewAggregatedDiscoveryServiceClient(dialWith(t, f.address, identity)).DeltaAggregatedResources(t.Context())
		if err == nil {
			_ = stream.Send(&discovery.DeltaDiscoveryRequest{Node: &core.Node{Id: "x", Cluster: "edge"}, TypeUrl: resource.SecretType, ResourceNamesSubscribe: []string{"*"}})
			var got *discovery.DeltaDiscoveryResponse
			got, err = stream.Recv()
			assert.Nil(t, got, name)
		}
		require.Error(t, err, name)
	}
	plain, err := net.Dial("tcp", f.address)
	require.NoError(t, err)
	defer plain.Close()
	_, _ = plain.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	require.NoError(t, plain.SetDeadline(time.Now().Add(waitFor)))
	answer := make([]byte, 100)
	n, _ := plain.Read(answer)
	assert.NotContains(t, string(answer[:n]), "provider")

	assert.Empty(t, f.Status().Envoys)
	assert.Contains(t, f.log.String(), "was turned away")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	assert.Error(t, f.ServeFleet(l, &tls.Config{}), "a door without a lock is not opened")
}

// inTime holds pushes to two seconds; a busy machine may be late now and then.
func inTime(t *testing.T, took []time.Duration) {
	t.Helper()
	sorted := slices.Sorted(slices.Values(took))
	assert.Less(t, sorted[len(sorted)/2], 2*time.Second, "%v", took)
}

// crowd is how many Envoys one control plane has in these tests.
const crowd = 50

// Fifty Envoys get a push within two seconds, though one of them refuses everything,
// one never answers, and one does not even read.
func TestAPushReachesAllInTime(t *testing.T) {
	f := newFleet(t)
	require.NoError(t, f.SetFleet(t.Context(), everybody(routesOf(t, "0")), time.Hour))
	connection := f.dial(t, "sidecar.example")
	all := make([]*envoy, crowd)
	for i := range all {
		c := connection
		if i%10 == 0 { // as many connections as a fleet has would say no more
			connection = f.dial(t, "sidecar.example")
			c = connection
		}
		all[i] = converse(t, c, fmt.Sprintf("envoy-%d", i))
		all[i].node.Cluster = "edge"
		all[i].subscribe(t, resource.RouteType, "postern")
		all[i].take(t)
	}
	silent := f.sidecar(t, "silent", "edge")
	silent.subscribe(t, resource.RouteType, "postern")
	silent.next(t)
	deaf := f.deaf(t)
	refusing := f.sidecar(t, "refusing", "edge")
	refusing.subscribe(t, resource.RouteType, "postern")
	refusing.refuse(t, "unable to parse")

	var took []time.Duration
	for push := 1; push <= 5; push++ {
		version := strconv.Itoa(push)
		begin := time.Now()
		require.NoError(t, f.SetFleet(t.Context(), everybody(routesOf(t, version)), time.Hour))
		for _, e := range all {
			require.Equal(t, version, e.take(t).version)
		}
		took = append(took, time.Since(begin))
		refusing.refuse(t, "unable to parse")
	}
	require.NotNil(t, deaf)
	inTime(t, took)

	state := func(node string) string {
		s := f.Status()
		for _, e := range s.Envoys {
			if e.Node == node {
				return e.State(s.Offered, time.Now())
			}
		}
		return ""
	}
	require.Eventually(t, func() bool {
		current := 0
		for i := range all {
			if state(all[i].node.GetId()) == "current" {
				current++
			}
		}
		return current == crowd
	}, waitFor, tick)
	require.Eventually(t, func() bool { return state("refusing") == "refused RouteConfiguration" }, waitFor, tick)
	assert.Equal(t, "has not answered: RouteConfiguration", state("silent"))
	assert.ErrorContains(t, f.Status().Refused(), "unable to parse")
}

// member is an Envoy of the fleet that takes all it gets, as one does: a new cluster has it
// ask for the cluster's secret. It tells of the versions of its routes.
func (f *fleet) member(t *testing.T, connection *grpc.ClientConn, id string) (routes <-chan string) {
	t.Helper()
	e := converse(t, connection, id)
	e.node.Cluster = "edge"
	e.subscribe(t, resource.ClusterType)
	e.subscribe(t, resource.RouteType, "postern")
	versions := make(chan string, 100)
	var reader sync.WaitGroup
	reader.Go(func() {
		for r := range e.came {
			answer := &discovery.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()}
			if e.stream.Send(answer) != nil {
				return
			}
			switch r.GetTypeUrl() {
			case resource.RouteType:
				versions <- r.GetSystemVersionInfo()
			case resource.ClusterType:
				ask := &discovery.DeltaDiscoveryRequest{TypeUrl: resource.SecretType}
				for _, c := range r.GetResources() {
					ask.ResourceNamesSubscribe = append(ask.ResourceNamesSubscribe, secretOf(strings.TrimPrefix(c.GetName(), clusterProvider)))
				}
				if len(ask.GetResourceNamesSubscribe()) > 0 && e.stream.Send(ask) != nil {
					return
				}
			}
		}
	})
	t.Cleanup(func() {
		e.leave()
		reader.Wait()
	})
	return versions
}

// Each version brings a provider, its secret and routes that lead there: what one member
// does not say or does not want keeps none of the fifty from it for longer than two seconds.
func TestAPushOfProvidersReachesAllInTime(t *testing.T) {
	f := newFleet(t)
	push := func(version int) {
		require.NoError(t, f.SetFleet(t.Context(), everybody(staged(t, strconv.Itoa(version), fmt.Sprintf("p%d", version))), time.Hour))
	}
	push(0)
	all := make([]<-chan string, crowd)
	arrive := func(version int) {
		for _, routes := range all {
			select {
			case got := <-routes:
				require.Equal(t, strconv.Itoa(version), got)
			case <-time.After(waitFor):
				require.Fail(t, "no routes came")
			}
		}
	}
	var connection *grpc.ClientConn
	for i := range all {
		if i%10 == 0 { // a connection takes no more than sixteen
			connection = f.dial(t, "sidecar.example")
		}
		all[i] = f.member(t, connection, fmt.Sprintf("envoy-%d", i))
	}
	arrive(0)
	silent, refusing := f.sidecar(t, "silent", "edge"), f.sidecar(t, "refusing", "edge")
	for _, e := range []*envoy{silent, refusing} {
		e.subscribe(t, resource.ClusterType)
		e.take(t)
	}
	var took []time.Duration
	for version := 1; version <= 5; version++ {
		begin := time.Now()
		push(version)
		refusing.refuse(t, "unable to parse")
		arrive(version)
		took = append(took, time.Since(begin))
	}
	inTime(t, took)
	require.Eventually(t, func() bool {
		s := f.Status()
		current := 0
		for _, e := range s.Envoys {
			switch state := e.State(s.Offered, time.Now()); e.Node {
			case "silent":
				assert.Equal(t, "has not answered: Cluster", state)
			case "refusing":
				assert.Equal(t, "refused Cluster", state)
			default:
				if state == "current" {
					current++
				}
			}
		}
		return current == crowd
	}, waitFor, tick)
}

// deaf is an Envoy that asks for a lot, again and again, and reads nothing.
func (f *fleet) deaf(t *testing.T) grpc.ClientStream {
	t.Helper()
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(f.dial(t, "sidecar.example")).DeltaAggregatedResources(t.Context())
	require.NoError(t, err)
	for range 1000 {
		require.NoError(t, stream.Send(&discovery.DeltaDiscoveryRequest{
			Node: &core.Node{Id: "deaf", Cluster: "edge"}, TypeUrl: resource.RouteType,
			ResourceNamesSubscribe: []string{"postern"}, ResourceNamesUnsubscribe: []string{"x"},
		}))
	}
	return stream
}

// refuse waits for a response and does not take it.
func (e *envoy) refuse(t *testing.T, why string) {
	t.Helper()
	response := e.next(t)
	require.NoError(t, e.stream.Send(&discovery.DeltaDiscoveryRequest{
		TypeUrl: response.GetTypeUrl(), ResponseNonce: response.GetNonce(), ErrorDetail: &rpc.Status{Code: 3, Message: why},
	}))
}

// What an Envoy has, it says when it comes again, and nothing of it is sent twice.
func TestARestartDisturbsNobody(t *testing.T) {
	f := newFleet(t)
	require.NoError(t, f.SetFleet(t.Context(), everybody(snapshotOf(t, "1", "a", "b")), time.Hour))
	e := f.sidecar(t, "envoy-1", "edge")
	e.subscribe(t, resource.ClusterType)
	first := e.next(t)
	has := map[string]string{}
	for _, r := range first.GetResources() {
		has[r.GetName()] = r.GetVersion()
	}
	require.Len(t, has, 2)
	e.subscribe(t, resource.RouteType, "postern")
	routes := e.next(t).GetResources()[0]
	f.Stop()
	_, open := <-e.came
	require.False(t, open)

	f.serve(t, f.address)
	again := f.sidecar(t, "envoy-1", "edge") // before the control plane knows anything
	require.NoError(t, again.stream.Send(&discovery.DeltaDiscoveryRequest{
		Node: again.node, TypeUrl: resource.ClusterType, ResourceNamesSubscribe: []string{"*"}, InitialResourceVersions: has,
	}))
	require.Eventually(t, func() bool { return len(f.Status().Envoys) == 1 }, waitFor, tick)
	require.NoError(t, f.SetFleet(t.Context(), everybody(snapshotOf(t, "1", "a", "b")), time.Hour))
	c := again.take(t)
	assert.Empty(t, c.changed)
	assert.Empty(t, c.removed)
	require.NoError(t, again.stream.Send(&discovery.DeltaDiscoveryRequest{
		TypeUrl: resource.RouteType, ResourceNamesSubscribe: []string{"postern"},
		InitialResourceVersions: map[string]string{"postern": routes.GetVersion()},
	}))
	require.Eventually(t, func() bool {
		s := f.Status()
		return len(s.Envoys) == 1 && s.Envoys[0].State(s.Offered, time.Now()) == "current"
	}, waitFor, tick, "what need not be sent is accepted too")

	// It changed while the Envoy was away.
	require.NoError(t, f.SetFleet(t.Context(), everybody(snapshotOf(t, "2", "a", "b", "c")), time.Hour))
	assert.Equal(t, []string{"provider/c"}, again.take(t).changed)
}

func TestCertificatesAreReadAgain(t *testing.T) {
	f := newFleet(t)
	require.NoError(t, f.SetFleet(t.Context(), everybody(snapshotOf(t, "1", "a")), time.Hour))
	works := func(a *certs.Authority) bool {
		c, err := tls.Dial("tcp", f.address, nextProtos(a.Client(t, "sidecar.example")))
		if err != nil {
			return false
		}
		defer c.Close()
		require.NoError(t, c.SetReadDeadline(time.Now().Add(waitFor)))
		_, err = c.Read(make([]byte, 1)) // TLS 1.3: a certificate is refused after the handshake
		return err == nil
	}
	require.True(t, works(f.authority))

	require.NoError(t, os.WriteFile(f.files.Key, []byte("half of a file"), 0o600))
	require.True(t, works(f.authority), "the last good ones stay")
	require.Contains(t, f.log.String(), "those before stay in use")
	assert.NotContains(t, f.log.String(), "half of a file")

	next := certs.New(t)
	next.Write(t, folderOf(f.files), "127.0.0.1")
	assert.True(t, works(next))
	assert.False(t, works(f.authority), "the authority before is not trusted any more")
}

func nextProtos(c *tls.Config) *tls.Config {
	c.NextProtos = []string{"h2"}
	return c
}

func folderOf(f certs.Files) string { return f.Key[:strings.LastIndexByte(f.Key, '/')] }

func TestAnIdentityThatCannotBeIsAnError(t *testing.T) {
	a := certs.New(t)
	files := a.Write(t, t.TempDir(), "127.0.0.1")
	other := a.Write(t, t.TempDir(), "127.0.0.1")
	for name, i := range map[string]Identity{
		"no file":        {Certificate: "none", Key: files.Key, Authorities: files.Authorities},
		"another key":    {Certificate: files.Certificate, Key: other.Key, Authorities: files.Authorities},
		"no bundle":      {Certificate: files.Certificate, Key: files.Key, Authorities: files.Key},
		"no authorities": {Certificate: files.Certificate, Key: files.Key, Authorities: "none"},
	} {
		_, err := i.TLS()
		assert.Error(t, err, name)
	}
}

func TestAFleetNeedsADefaultView(t *testing.T) {
	f := newFleet(t)
	require.Error(t, f.SetFleet(t.Context(), map[string]View{"edge": {Snapshot: snapshotOf(t, "1", "a")}}, time.Hour))
}

// later moves a Server's time.
func (f *fleet) later(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.now().Add(d)
	f.now = func() time.Time { return at }
}

func (f *fleet) held() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.shelves)
}

func TestAClusterThatNobodyHasIsForgotten(t *testing.T) {
	f := newFleet(t)
	require.NoError(t, f.SetFleet(t.Context(), everybody(snapshotOf(t, "1", "a")), time.Hour))
	e := f.sidecar(t, "envoy-1", "edge")
	e.subscribe(t, resource.ClusterType)
	e.take(t)
	e.leave()
	require.Eventually(t, func() bool { return len(f.Status().Gone) == 1 }, waitFor, tick)
	f.later(absence)
	require.Eventually(t, func() bool {
		require.NoError(t, f.SetFleet(t.Context(), everybody(snapshotOf(t, "2", "a")), time.Hour))
		return f.held() == 0
	}, waitFor, tick)
	again := f.sidecar(t, "envoy-1", "edge")
	again.subscribe(t, resource.ClusterType)
	assert.Equal(t, "2", again.take(t).version)
}

// The only Envoy of a cluster is away for a moment: what was retired for it stays.
func TestAClusterOutlivesAShortAbsence(t *testing.T) {
	f := newFleet(t)
	require.NoError(t, f.SetFleet(t.Context(), everybody(snapshotOf(t, "1", "a", "b")), time.Hour))
	e := f.sidecar(t, "envoy-1", "edge")
	e.subscribe(t, resource.ClusterType)
	e.take(t)
	require.NoError(t, f.SetFleet(t.Context(), everybody(snapshotOf(t, "2", "a")), time.Hour))
	e.leave()
	require.Eventually(t, func() bool { return len(f.Status().Gone) == 1 }, waitFor, tick)
	require.NoError(t, f.SetFleet(t.Context(), everybody(snapshotOf(t, "3", "a")), time.Hour))
	assert.Equal(t, 1, f.held())
	again := f.sidecar(t, "envoy-1", "edge")
	again.subscribe(t, resource.ClusterType)
	assert.Equal(t, []string{"provider/a", "provider/b"}, again.take(t).changed)
}
