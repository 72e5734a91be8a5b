package envoy

import (
	"encoding/json"
	"errors"
	"fmt"
)

// XDSCluster is the cluster in the bootstrap by which Envoy reaches the control plane.
const XDSCluster = "postern-xds"

// DefaultMaxConnections is how many client connections one Envoy takes. It is far
// above what a machine's file limit allows; it stands here because Envoy warns at
// every start when there is none.
const DefaultMaxConnections = 1_000_000

// BootstrapSettings is what differs between the Envoys of a fleet before the
// control plane has said anything.
type BootstrapSettings struct {
	NodeID         string // this Envoy, as the control plane knows it
	Cluster        string // the fleet it belongs to
	AdminSocket    string // path where Envoy is to serve its admin interface
	XDSSocket      string // path where the control plane serves ADS
	MaxConnections int    // of clients; 0 is DefaultMaxConnections

	// ControlPlane is where ADS comes from in place of XDSSocket, for an Envoy of
	// a fleet.
	ControlPlane *ControlPlane
}

// Bootstrap writes the configuration Envoy starts with, as JSON. It holds no
// secret: those come by SDS. Listeners and clusters come by delta ADS, and Envoy is
// not ready before both have come once.
func Bootstrap(settings BootstrapSettings) ([]byte, error) {
	if err := settings.check(); err != nil {
		return nil, err
	}
	connections := settings.MaxConnections
	if connections == 0 {
		connections = DefaultMaxConnections
	}
	return json.MarshalIndent(object{
		"node":              object{"id": settings.NodeID, "cluster": settings.Cluster},
		"admin":             adminInterface(settings.AdminSocket),
		"dynamic_resources": dynamicResources(),
		"static_resources":  object{"clusters": list{settings.controlPlane()}},
		"stats_config":      statsConfig(),
		"overload_manager":  overloadManager(connections),
		"layered_runtime":   object{"layers": list{object{"name": "postern", "static_layer": Runtime()}}},
	}, "", "  ")
}

// Runtime are the settings that Envoy takes by its runtime only. Compiled
// configurations rely on them, so a validation needs them too.
func Runtime() map[string]any {
	return map[string]any{
		// A route that bounds a name's length is a larger program than the 100
		// that Envoy takes by default.
		"re2.max_program_size.error_level": 1000,
	}
}

// object and list keep the literals below as short as the JSON they stand for.
type (
	object = map[string]any
	list   = []any
)

func (s BootstrapSettings) check() error {
	for name, value := range map[string]string{"NodeID": s.NodeID, "Cluster": s.Cluster} {
		if value == "" {
			return fmt.Errorf("envoy.Bootstrap: %s is empty", name)
		}
	}
	if s.MaxConnections < 0 {
		return errors.New("envoy.Bootstrap: MaxConnections is negative")
	}
	if s.ControlPlane != nil {
		return errors.Join(checkSocketPath(s.AdminSocket), s.ControlPlane.check())
	}
	return errors.Join(checkSocketPath(s.AdminSocket), checkSocketPath(s.XDSSocket))
}

// controlPlane is the cluster that ADS comes from.
func (s BootstrapSettings) controlPlane() object {
	if s.ControlPlane != nil {
		return s.ControlPlane.cluster()
	}
	return xdsCluster(object{"pipe": object{"path": s.XDSSocket}})
}

func adminInterface(socket string) object {
	return object{
		"address": object{"pipe": object{"path": socket, "mode": 0o600}},
		// A gate that is full must still be seen and drained.
		"ignore_global_conn_limit": true,
	}
}

func dynamicResources() object {
	// 0s waits without end: an Envoy that begins without its listeners would call
	// itself ready while it refuses every client.
	fromADS := object{"ads": object{}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
	return object{
		"ads_config": object{
			"api_type":                       "DELTA_GRPC",
			"transport_api_version":          "V3",
			"set_node_on_first_message_only": true,
			"grpc_services": list{object{"envoy_grpc": object{
				"cluster_name": XDSCluster,
				// Envoy's own back-off goes up to 30 s, which is how long a change of
				// configuration would wait after the control plane was restarted.
				"retry_policy": object{"retry_back_off": object{"base_interval": "0.1s", "max_interval": "2s"}},
			}}},
		},
		"lds_config": fromADS,
		"cds_config": fromADS,
	}
}

func xdsCluster(address object) object {
	return object{
		"name":            XDSCluster,
		"type":            "STATIC",
		"connect_timeout": "1s",
		"load_assignment": object{
			"cluster_name": XDSCluster,
			"endpoints": list{object{"lb_endpoints": list{object{
				"endpoint": object{"address": address},
			}}}},
		},
		"typed_extension_protocol_options": object{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": object{
				"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
				"explicit_http_config": object{"http2_protocol_options": object{
					// The pings find a control plane that hangs without closing.
					"connection_keepalive": object{"interval": "30s", "timeout": "10s"},
				}},
			},
		},
	}
}

// statsConfig leaves out the copies Envoy keeps of each upstream response counter
// by origin of the request and by zone: nothing reads them, and they would double
// what each provider cluster costs in memory and in a scrape.
func statsConfig() object {
	copies := `^cluster\..*\.(internal|external|canary|zone)\..*`
	return object{"stats_matcher": object{"exclusion_list": object{
		"patterns": list{object{"safe_regex": object{"regex": copies}}},
	}}}
}

func overloadManager(connections int) object {
	return object{"resource_monitors": list{object{
		"name": "envoy.resource_monitors.global_downstream_max_connections",
		"typed_config": object{
			"@type":                             "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
			"max_active_downstream_connections": connections,
		},
	}}}
}
