package xds

import (
	"fmt"
	"net"
	"strconv"
	"time"

	rules "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	early "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	uuid "github.com/envoyproxy/go-control-plane/envoy/extensions/request_id/uuid/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"

	"github.com/postern-proxy/postern/wire"
)

// Names that stand in more than one resource.
const (
	// StatPrefix is the prefix of the connection manager's statistics:
	// http.postern.downstream_rq_active and so on.
	StatPrefix = "postern"

	routeTable        = "postern"
	listenerName      = "postern"
	listenerTLSSecret = "listen/tls"
)

// Times at the door. They bound what a silent client can hold.
const (
	headersTimeout = 15 * time.Second // to send the request's headers
	requestTimeout = 5 * time.Minute  // to send the whole request
	clientIdle     = 10 * time.Minute // a kept connection without a request
	streamIdle     = 5 * time.Minute  // a stream without a byte, where no route says otherwise
)

// listeners is the one listener: a skeleton that does not depend on models,
// providers or tiers. Only `listen:` itself changes it.
func listeners(in Input) ([]types.Resource, error) {
	address, err := socketAddress(in.Config.Listen.Address)
	if err != nil {
		return nil, err
	}
	chain := &listener.FilterChain{Filters: []*listener.Filter{{
		Name:       "envoy.filters.network.http_connection_manager",
		ConfigType: &listener.Filter_TypedConfig{TypedConfig: pack(connectionManager(in))},
	}}}
	if in.Config.Listen.TLS != nil {
		chain.TransportSocket = downstreamTLS(in)
	}
	return []types.Resource{&listener.Listener{
		Name:         listenerName,
		Address:      address,
		FilterChains: []*listener.FilterChain{chain},
	}}, nil
}

func socketAddress(address string) (*core.Address, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen.address: %w", err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("listen.address: port %q: %w", port, err)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	if host == "localhost" { // Envoy's listeners take literals only
		host = "127.0.0.1"
	}
	return tcp(host, uint32(number)), nil
}

func tcp(host string, port uint32) *core.Address {
	return &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
		Address:       host,
		PortSpecifier: &core.SocketAddress_PortValue{PortValue: port},
	}}}
}

func downstreamTLS(in Input) *core.TransportSocket {
	return &core.TransportSocket{
		Name: "envoy.transport_sockets.tls",
		ConfigType: &core.TransportSocket_TypedConfig{TypedConfig: pack(&tls.DownstreamTlsContext{
			CommonTlsContext: &tls.CommonTlsContext{
				TlsParams:                      &tls.TlsParameters{TlsMinimumProtocolVersion: tls.TlsParameters_TLSv1_2},
				AlpnProtocols:                  []string{"h2", "http/1.1"},
				TlsCertificateSdsSecretConfigs: []*tls.SdsSecretConfig{in.secret(listenerTLSSecret)},
			},
		})},
	}
}

func connectionManager(in Input) *hcm.HttpConnectionManager {
	return &hcm.HttpConnectionManager{
		StatPrefix: StatPrefix,
		RouteSpecifier: &hcm.HttpConnectionManager_Rds{Rds: &hcm.Rds{
			ConfigSource: ads(), RouteConfigName: routeTable,
		}},
		HttpFilters: filters(in),
		CommonHttpProtocolOptions: &core.HttpProtocolOptions{
			IdleTimeout: seconds(clientIdle),
		},
		Http2ProtocolOptions: &core.Http2ProtocolOptions{
			MaxConcurrentStreams: uint32Value(1000),
		},
		ServerName:            "postern",
		RequestHeadersTimeout: seconds(headersTimeout),
		RequestTimeout:        seconds(requestTimeout),
		StreamIdleTimeout:     seconds(streamIdle),
		AccessLog:             accessLogs(in),
		// The client's address is the connection's own: a forged
		// x-forwarded-for changes nothing, and none is passed on.
		UseRemoteAddress: boolValue(true),
		SkipXffAppend:    true,
		// An id that the application made is kept, else one is made; both are
		// in the answer, so that a log line can be found from either side.
		PreserveExternalRequestId:    true,
		AlwaysSetRequestIdInResponse: true,
		RequestIdExtension: &hcm.RequestIDExtension{TypedConfig: pack(&uuid.UuidRequestIdConfig{
			PackTraceReason: boolValue(false),
		})},
		EarlyHeaderMutationExtensions: []*core.TypedExtensionConfig{
			extension("postern.drop_forged", &early.HeaderMutation{
				Mutations: []*rules.HeaderMutation{removeMatching(prefix(wire.HeaderPrefix))},
			}),
		},
		// A path that a provider might read as another one is made that one
		// before any route sees it.
		PathWithEscapedSlashesAction: hcm.HttpConnectionManager_UNESCAPE_AND_FORWARD,

		NormalizePath:    boolValue(true),
		MergeSlashes:     true,
		LocalReplyConfig: localReplies(),
	}
}
