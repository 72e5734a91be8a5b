package xds

import (
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/wire"
)

// stick has requests of one user, key or header drawn alike: Envoy hashes the header and
// takes that for the random number. Requests without it are drawn as any other.
func stick(m *config.Model, a *route.RouteAction) {
	header := m.Sticks()
	switch m.Sticky {
	case config.StickyUser:
		header = wire.HeaderUser
	case config.StickyKey:
		header = wire.HeaderKey
	}
	if header == "" {
		return
	}
	a.HashPolicy = []*route.RouteAction_HashPolicy{{
		PolicySpecifier: &route.RouteAction_HashPolicy_Header_{
			Header: &route.RouteAction_HashPolicy_Header{HeaderName: header},
		},
	}}
}
