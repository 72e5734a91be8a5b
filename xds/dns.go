package xds

import (
	"net/netip"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	dnscommon "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/common/dns/v3"
	dns "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	cares "github.com/envoyproxy/go-control-plane/envoy/extensions/network/dns_resolver/cares/v3"
)

const (
	// dnsRefresh is for answers that do not say how long they are good.
	dnsRefresh = 30 * time.Second
	// After a lookup that failed the next one is soon, and then later each time.
	dnsAgainFirst = time.Second
	dnsAgainLast  = 10 * time.Second
)

// byName has a cluster find its addresses by name.
func byName(resolvers []string) *dns.DnsCluster {
	found := &dns.DnsCluster{
		DnsRefreshRate:        seconds(dnsRefresh),
		DnsFailureRefreshRate: &dns.DnsCluster_RefreshRate{BaseInterval: seconds(dnsAgainFirst), MaxInterval: seconds(dnsAgainLast)},
		RespectDnsTtl:         true,
		DnsLookupFamily:       dnscommon.DnsLookupFamily_V4_PREFERRED,
	}
	if len(resolvers) > 0 {
		found.TypedDnsResolverConfig = extension("envoy.network.dns_resolver.cares", askThose(resolvers))
	}
	return found
}

// askThose asks resolvers in place of the system's, in their order.
func askThose(resolvers []string) *cares.CaresDnsResolverConfig {
	asks := &cares.CaresDnsResolverConfig{}
	for _, text := range resolvers {
		at, err := netip.ParseAddrPort(text)
		if err != nil {
			continue // validated
		}
		asks.Resolvers = append(asks.Resolvers, udp(at))
	}
	return asks
}

func udp(at netip.AddrPort) *core.Address {
	return &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
		Protocol: core.SocketAddress_UDP, Address: at.Addr().String(),
		PortSpecifier: &core.SocketAddress_PortValue{PortValue: uint32(at.Port())},
	}}}
}
