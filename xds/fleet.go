package xds

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	rpcstatus "google.golang.org/grpc/status"
)

// DefaultView is the name of the view of the clusters that have none of their own.
const DefaultView = "default"

const (
	// maxClusters bounds what Envoys can make the control plane keep by the names
	// they give themselves.
	maxClusters    = 1000
	maxClusterName = 256

	// streamAge is how long a connection of the fleet may last. Then the Envoy
	// connects again, which costs it nothing (it says what it has), and its
	// certificate is judged again: one that ran out, or whose authority left, is
	// out within this time.
	streamAge = time.Hour

	// absence is how long a cluster without an Envoy is remembered, with what left
	// its view lately: its only one may just be connecting again.
	absence = time.Minute
)

// View is what the Envoys of one cluster of a fleet get.
type View struct {
	Snapshot *cache.Snapshot
	// Clients are the names of certificates that may ask for it; none: every
	// certificate that the fleet's authority signed.
	Clients []string
}

// allows says that a certificate with these names may have the view.
func (v View) allows(names []string) bool {
	if len(v.Clients) == 0 {
		return true
	}
	return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(v.Clients, name) })
}

// SetFleet makes views, by their names, the ones that are served to the fleet: an
// Envoy gets the view of its node.cluster, or else DefaultView, which is needed.
// What a view no longer names stays for another keep, as with Set. Every view is
// tried, whatever became of the others. An Envoy that these views give no right to its
// cluster's any more is cut off first: it gets nothing of them.
func (s *Server) SetFleet(ctx context.Context, views map[string]View, keep time.Duration) error {
	if views[DefaultView].Snapshot == nil {
		return errors.New("xds.SetFleet: there is no default view")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.views, s.keep = views, keep
	// Before anything of these views is on its way to them.
	s.fleet.withdraw(s.mayHave)
	s.fleet.offer(views[DefaultView].Snapshot)
	var failed []error
	s.sweep()
	for cluster, on := range s.shelves {
		if err := s.set(ctx, on, s.viewOf(cluster).Snapshot, keep); err != nil {
			failed = append(failed, fmt.Errorf("cluster %s: %w", cluster, err))
		}
	}
	s.fleetReadyOnce.Do(func() { close(s.fleetReady) })
	return errors.Join(failed...)
}

// sweep forgets the clusters that nobody has come from lately. The caller holds s.mu.
func (s *Server) sweep() {
	for cluster, on := range s.shelves {
		if on.users == 0 && s.now().Sub(on.left) >= absence {
			on.drop()
			delete(s.shelves, cluster)
		}
	}
}

func (s *Server) viewOf(cluster string) View {
	if v, ok := s.views[cluster]; ok {
		return v
	}
	return s.views[DefaultView]
}

// enter lets a stream of the fleet in, and puts its cluster's snapshot where it will
// look for it. Before the first SetFleet nobody knows who may have what: it waits for
// that, until ctx ends.
func (s *Server) enter(ctx context.Context, cluster string, names []string) error {
	if cluster == "" || len(cluster) > maxClusterName {
		return rpcstatus.Error(codes.InvalidArgument, "node.cluster must have from 1 to 256 bytes")
	}
	select {
	case <-s.fleetReady:
	case <-s.life.Done():
		return rpcstatus.Error(codes.Unavailable, "the control plane stops")
	case <-ctx.Done():
		return rpcstatus.FromContextError(ctx.Err()).Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mayHave(cluster, names); err != nil {
		return err
	}
	on := s.shelves[cluster]
	if on == nil {
		s.sweep()
		if len(s.shelves) >= maxClusters {
			return rpcstatus.Error(codes.ResourceExhausted, "there are too many clusters")
		}
		on = newShelf(s.fleetCache, s.fleet, cluster)
		s.shelves[cluster] = on
	}
	if on.current == nil {
		if err := s.set(s.life, on, s.viewOf(cluster).Snapshot, s.keep); err != nil { //nolint:contextcheck // what is served outlives who asked
			return err
		}
	}
	on.users++
	return nil
}

// allowed is asked at each word of a stream: a configuration may have taken the
// right away.
func (s *Server) allowed(cluster string, names []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mayHave(cluster, names)
}

// mayHave says that a certificate with these names may have what a cluster gets. The
// caller holds s.mu.
func (s *Server) mayHave(cluster string, names []string) error {
	if s.views == nil || !s.viewOf(cluster).allows(names) {
		return rpcstatus.Error(codes.PermissionDenied, "this certificate may not have the view of this cluster")
	}
	return nil
}

func (s *Server) leave(cluster string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on := s.shelves[cluster]; on != nil {
		on.users--
		on.left = s.now()
	}
}

// ServeFleet answers the Envoys of a fleet on l until Stop, and then gives nil.
// identity demands and checks their certificates (see Identity): who has none that
// is good gets nothing.
func (s *Server) ServeFleet(l net.Listener, identity *tls.Config) error {
	if identity.ClientAuth != tls.RequireAndVerifyClientCert {
		return errors.New("xds.ServeFleet: without certificates of clients everybody would get the configuration")
	}
	server := grpc.NewServer(
		grpc.Creds(&door{TransportCredentials: credentialsOf(identity), log: s.log, now: time.Now}),
		patience(),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: 30 * time.Second, Timeout: 10 * time.Second, // finds hosts that vanished
			MaxConnectionAge: streamAge, MaxConnectionAgeGrace: 5 * time.Second,
		}),
		grpc.MaxConcurrentStreams(16),
	)
	register(server, s.fleetADS)
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return l.Close()
	}
	s.servers = append(s.servers, server)
	s.mu.Unlock()
	if err := server.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("xds.ServeFleet: %w", err)
	}
	return nil
}
