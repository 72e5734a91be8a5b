// Package xds compiles one configuration version into Envoy's own terms and
// serves it.
//
// The invariant: Build is a pure function. The same input gives the same
// snapshot, byte for byte, and nothing is decided here per request. What changes
// at run time comes by the discovery service that hurts nobody: routes by RDS,
// keys, tiers and buckets by ECDS, credentials by SDS, providers by CDS. The
// listener is one constant skeleton (listener.go), because a change of it cuts
// running streams.
//
// Build may be called from any goroutine; Server has its own lock.
package xds

import (
	"errors"
	"fmt"

	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/wire"
)

// Input is all that a snapshot is made of.
type Input struct {
	Config *config.Config
	// JWKS is the public half of the keys that sign API keys (RFC 7517).
	JWKS []byte
	// Trust is the PEM bundle of the authorities that providers' certificates
	// are checked against, unless a provider names its own.
	Trust string
	// Order is the order of groups by which models are tried: for an entry, each index
	// of its usable groups (config.Model.UsableRoute) once. An entry that has none, or
	// what is not such an order, is tried in the order of the configuration.
	Order map[string][]int
	// Rest are the members of groups that come after the others of their group: by entry,
	// or "" for what names no model. A group of which all would is used as configured.
	Rest map[string][]config.Member
	// Stands is how the usable groups of an entry stand, in the order of the configuration,
	// where that is for each request to know (config.Model.Arranges). Without it all can be
	// used.
	Stands map[string][]wire.Standing
	// Sockets are the Unix sockets of Postern's own services.
	Sockets Sockets

	// Unmetered leaves out what tells of requests afterwards: the access log and the
	// reading of tokens. It is for measuring what they cost.
	Unmetered bool
	// Module is the path of the native reader of answers (package reader), as Envoy
	// sees it; empty: a script reads them, which costs more. A change of it is a change
	// of the listener.
	Module string

	// alone: secrets stand in the same file and do not come by ADS.
	alone bool
}

// Sockets are paths of Unix sockets.
type Sockets struct {
	Answer string // HTTP: answers that Postern gives itself
	Demo   string // HTTP: the built-in model
	Usage  string // gRPC: the access log service

	// Records is where the native module writes the access log, in place of Usage.
	Records string

	Process []string // gRPC: the replicas of the ext_proc service, at least one
}

// Build compiles in into a snapshot that go-control-plane calls consistent.
func Build(in Input) (*cache.Snapshot, error) {
	if in.Config == nil {
		return nil, errors.New("xds.Build: no configuration")
	}
	listeners, err := listeners(in)
	if err != nil {
		return nil, fmt.Errorf("xds.Build: %w", err)
	}
	snapshot, err := cache.NewSnapshot(in.Config.Version, map[resource.Type][]types.Resource{
		resource.ListenerType:        listeners,
		resource.RouteType:           {routes(in)},
		resource.ClusterType:         clusters(in),
		resource.SecretType:          secrets(in.Config),
		resource.ExtensionConfigType: {keys(in.JWKS), tiers(in.Config), buckets(in.Config)},
	})
	if err != nil {
		return nil, fmt.Errorf("xds.Build: %w", err)
	}
	if err := snapshot.Consistent(); err != nil {
		return nil, fmt.Errorf("xds.Build: %w", err)
	}
	if err := check(snapshot); err != nil {
		return nil, fmt.Errorf("xds.Build: %w", err)
	}
	return snapshot, nil
}
