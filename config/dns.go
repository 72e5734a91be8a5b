package config

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
)

// DNS is who is asked for the addresses of providers.
type DNS struct {
	// Resolvers are asked in this order; each is an IP address and a port.
	Resolvers []string `json:"resolvers,omitempty" yaml:"resolvers,omitempty" jsonschema:"maxItems=8" jsonschema_description:"Servers that are asked for providers' names, by UDP: 10.0.0.2 or 10.0.0.2:5353. Unset: the system's (/etc/resolv.conf)."`
}

const (
	maxResolvers = 8
	portDNS      = 53
)

// dns puts the resolvers into one form, and has each provider know them.
func (v *validator) dns() {
	at, all := path("dns.resolvers"), v.config.DNS.Resolvers
	if len(all) > maxResolvers {
		v.problemf(at, "has more than %d", maxResolvers)
	}
	for i, text := range all {
		at := at.at(i)
		if v.broken(at) {
			continue
		}
		address, err := normalResolver(text)
		switch {
		case err != nil:
			v.problemf(at, "%s", err)
		case slices.Contains(all[:i], address):
			v.problemf(at, "stands here twice")
		}
		all[i] = address
	}
	for _, p := range v.config.Providers {
		if p != nil {
			p.resolvers = all
		}
	}
}

// normalResolver is a resolver with its port.
func normalResolver(text string) (string, error) {
	if ip, err := netip.ParseAddr(text); err == nil && ip.Zone() == "" {
		return net.JoinHostPort(ip.String(), strconv.Itoa(portDNS)), nil
	}
	at, err := netip.ParseAddrPort(text)
	if err != nil || at.Port() == 0 || at.Addr().Zone() != "" {
		return "", errors.New("must be an IP address, with a port or without, such as 10.0.0.2 or 10.0.0.2:5353")
	}
	return at.String(), nil
}

// Resolvers are the servers that are asked for the provider's name, each an IP address
// and a port; none: the system's.
func (p *Provider) Resolvers() []string { return slices.Clone(p.resolvers) }
