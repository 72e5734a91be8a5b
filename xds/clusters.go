package xds

import (
	"math"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	upstream "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/wire"
)

const (
	clusterProvider = wire.ClusterProvider // + the provider's name
	clusterAnswer   = "postern-answer"     // HTTP: Postern's own answers
	demoHost        = "demo.postern"       // the Host the built-in model sees
	protocolOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

	// unlimited is far above any real load. A full circuit breaker is never
	// retried and Envoy's default of 3 parallel retries ends failover under
	// load, so neither may be what limits a provider.
	unlimited = math.MaxUint32

	// providerIdle is shorter than what providers and their balancers keep an
	// idle connection, so that Envoy closes it first.
	providerIdle = 55 * time.Second
)

func clusters(in Input) []types.Resource {
	all := []types.Resource{service(clusterAnswer, in.Sockets.Answer), processCluster(in.Sockets.Process), usageCluster(in.Sockets.Usage)}
	chains, used := commonOf(in.Config), guards(in)
	for _, v := range variants(in.Config) {
		all = append(all, guarded(used, provider(in, v, chains), in.Config.Providers[v.provider].Translated())...)
	}
	return all
}

// usable are the providers that can be asked: one without its credential is left
// out, because Envoy would wait for the secret at start and then tell the client
// that *its* key is wrong.
func usable(cfg *config.Config) []string {
	var all []string
	for _, name := range names(cfg.Providers) {
		if cfg.Providers[name].Usable() {
			all = append(all, name)
		}
	}
	return all
}

// service is a cluster of one of Postern's own services on a Unix socket.
func service(name, socket string) *cluster.Cluster {
	return &cluster.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_STATIC},
		ConnectTimeout:       seconds(time.Second),
		CircuitBreakers:      noBreaker(),
		LoadAssignment: &endpoint.ClusterLoadAssignment{
			ClusterName: name,
			Endpoints:   []*endpoint.LocalityLbEndpoints{endpoints(pipe(socket), "postern")},
		},
	}
}

// provider is the cluster of one configured provider: its address, its TLS, and
// the filters that each attempt at it runs.
func provider(in Input, v variant, chains common) *cluster.Cluster {
	p := in.Config.Providers[v.provider]
	c := &cluster.Cluster{
		Name:            v.cluster(),
		ConnectTimeout:  seconds(time.Duration(p.Connect)),
		CircuitBreakers: noBreaker(),
		CommonLbConfig: &cluster.Cluster_CommonLbConfig{
			HealthyPanicThreshold: &typev3.Percent{Value: 0},
		},
		UpstreamConnectionOptions: &cluster.UpstreamConnectionOptions{
			TcpKeepalive: &core.TcpKeepalive{KeepaliveTime: uint32Value(60), KeepaliveInterval: uint32Value(15)},
		},
	}
	options := &upstream.HttpProtocolOptions{
		CommonHttpProtocolOptions: &core.HttpProtocolOptions{IdleTimeout: seconds(providerIdle)},
		HttpFilters:               held(v, upstreamFilters(in, v, chains)),
	}
	there, named := place(in, p)
	c.ClusterDiscoveryType = &cluster.Cluster_Type{Type: cluster.Cluster_STATIC}
	if named {
		c.ClusterDiscoveryType = &cluster.Cluster_ClusterType{ClusterType: &cluster.Cluster_CustomClusterType{
			Name: typeDNS, TypedConfig: pack(byName(p.Resolvers())),
		}}
		c.WaitForWarmOnInit = boolValue(false) // see warm
	}
	c.LoadAssignment = &endpoint.ClusterLoadAssignment{
		ClusterName: c.GetName(),
		Endpoints:   []*endpoint.LocalityLbEndpoints{there},
	}
	switch {
	case p.Translated(): // the body is held, and again in the provider's form, which is longer
		c.PerConnectionBufferLimitBytes = uint32Value(2 * uint32(in.Config.Listen.BodyLimit)) //nolint:gosec // validated
	case v.to != "": // the body is held to write the name into it
		c.PerConnectionBufferLimitBytes = uint32Value(uint32(in.Config.Listen.BodyLimit)) //nolint:gosec // validated
	}
	if u := p.Endpoint(); u != nil && u.Scheme == "https" {
		c.TransportSocket = upstreamTLS(in, p, u)
		options.UpstreamProtocolOptions = &upstream.HttpProtocolOptions_AutoConfig{
			AutoConfig: &upstream.HttpProtocolOptions_AutoHttpConfig{
				Http2ProtocolOptions: &core.Http2ProtocolOptions{
					ConnectionKeepalive: &core.KeepaliveSettings{
						Interval: seconds(30 * time.Second), Timeout: seconds(10 * time.Second),
					},
				},
			},
		}
	} else {
		options.UpstreamProtocolOptions = http1()
	}
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{protocolOptions: pack(options)}
	return c
}

func http1() *upstream.HttpProtocolOptions_ExplicitHttpConfig_ {
	return &upstream.HttpProtocolOptions_ExplicitHttpConfig_{
		ExplicitHttpConfig: &upstream.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &upstream.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
				HttpProtocolOptions: &core.Http1ProtocolOptions{},
			},
		},
	}
}

// place is where a provider is reached; named says that the address is a name for
// the DNS to resolve.
func place(in Input, p *config.Provider) (at *endpoint.LocalityLbEndpoints, named bool) {
	u := p.Endpoint()
	if u == nil {
		return endpoints(pipe(in.Sockets.Demo), demoHost), false
	}
	_, err := netip.ParseAddr(u.Hostname())
	return endpoints(tcp(u.Hostname(), port(u)), authority(u)), err != nil
}

func endpoints(address *core.Address, hostname string) *endpoint.LocalityLbEndpoints {
	return &endpoint.LocalityLbEndpoints{LbEndpoints: []*endpoint.LbEndpoint{{
		HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{
			Address: address, Hostname: hostname,
		}},
	}}}
}

func pipe(path string) *core.Address {
	return &core.Address{Address: &core.Address_Pipe{Pipe: &core.Pipe{Path: path}}}
}

// authority is the Host header a provider expects: with its port only if that
// is not the scheme's own.
func authority(u *url.URL) string {
	if u.Port() == strconv.Itoa(int(defaultPort(u))) {
		return strings.TrimSuffix(u.Host, ":"+u.Port())
	}
	return u.Host
}

func port(u *url.URL) uint32 {
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		return uint32(n)
	}
	return defaultPort(u)
}

func defaultPort(u *url.URL) uint32 {
	if u.Scheme == "https" {
		return 443
	}
	return 80
}

// upstreamTLS checks a provider's certificate against its own name, by static
// SNI and subject: both come from the one URL, whichever host the client named.
func upstreamTLS(in Input, p *config.Provider, u *url.URL) *core.TransportSocket {
	trust := &core.DataSource{Specifier: &core.DataSource_Filename{Filename: in.Trust}}
	if own := p.Authorities(); own != "" {
		trust = inline(own)
	}
	subject := &tls.SubjectAltNameMatcher{SanType: tls.SubjectAltNameMatcher_DNS, Matcher: exact(u.Hostname())}
	context := &tls.UpstreamTlsContext{Sni: u.Hostname()}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		subject.SanType, context.Sni = tls.SubjectAltNameMatcher_IP_ADDRESS, "" // SNI holds names only (RFC 6066)
	}
	context.CommonTlsContext = &tls.CommonTlsContext{
		TlsParams:     &tls.TlsParameters{TlsMinimumProtocolVersion: tls.TlsParameters_TLSv1_2},
		AlpnProtocols: []string{"h2", "http/1.1"},
		ValidationContextType: &tls.CommonTlsContext_ValidationContext{
			ValidationContext: &tls.CertificateValidationContext{
				TrustedCa:                 trust,
				MatchTypedSubjectAltNames: []*tls.SubjectAltNameMatcher{subject},
			},
		},
	}
	return &core.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &core.TransportSocket_TypedConfig{TypedConfig: pack(context)},
	}
}

func noBreaker() *cluster.CircuitBreakers {
	return &cluster.CircuitBreakers{Thresholds: []*cluster.CircuitBreakers_Thresholds{{
		MaxConnections:     uint32Value(unlimited),
		MaxPendingRequests: uint32Value(unlimited),
		MaxRequests:        uint32Value(unlimited),
		MaxRetries:         uint32Value(unlimited),
	}}}
}
