package xds

import (
	"encoding/json"
	"fmt"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Static writes what in compiles to as one configuration file (JSON), with
// everything that would come by discovery put in its place, so that Envoy's own
// validation (envoy --mode validate) sees all of it. Providers' keys are replaced by
// a word; the listener's certificate and key are in it. It is for validation, not
// for serving. runtime are the settings that the bootstrap has by its runtime.
func Static(in Input, runtime map[string]any) ([]byte, error) {
	in.alone = true
	snapshot, err := Build(in)
	if err != nil {
		return nil, err
	}
	listeners := sorted(snapshot, resource.ListenerType)
	for i, l := range listeners {
		if listeners[i], err = standing(snapshot, l.(*listener.Listener)); err != nil { //nolint:forcetypeassert // the type's own resources
			return nil, fmt.Errorf("xds.Static: %w", err)
		}
	}
	all := map[string]any{}
	for name, resources := range map[string][]types.Resource{
		"listeners": listeners,
		"clusters":  sorted(snapshot, resource.ClusterType),
		"secrets":   redacted(sorted(snapshot, resource.SecretType)),
	} {
		if all[name], err = asJSON(resources); err != nil {
			return nil, fmt.Errorf("xds.Static: %w", err)
		}
	}
	return json.Marshal(map[string]any{
		"layered_runtime":  map[string]any{"layers": []any{map[string]any{"name": "postern", "static_layer": runtime}}},
		"node":             map[string]string{"id": "validate", "cluster": "validate"},
		"static_resources": all,
	})
}

// redacted has another word in the place of each provider's key.
func redacted(secrets []types.Resource) []types.Resource {
	for i, s := range secrets {
		secret := s.(*tls.Secret) //nolint:forcetypeassert // the type's own resources
		if secret.GetGenericSecret() != nil {
			secrets[i] = &tls.Secret{Name: secret.GetName(), Type: &tls.Secret_GenericSecret{
				GenericSecret: &tls.GenericSecret{Secret: inline("redacted")},
			}}
		}
	}
	return secrets
}

// standing is a listener with its routes and discovered filters inside.
func standing(snapshot *cache.Snapshot, l *listener.Listener) (*listener.Listener, error) {
	l = proto.Clone(l).(*listener.Listener) //nolint:forcetypeassert // a clone's type
	for _, chain := range l.GetFilterChains() {
		for _, f := range chain.GetFilters() {
			manager := new(hcm.HttpConnectionManager)
			if err := f.GetTypedConfig().UnmarshalTo(manager); err != nil {
				return nil, err
			}
			table := snapshot.GetResources(resource.RouteType)[manager.GetRds().GetRouteConfigName()]
			//nolint:forcetypeassert // the types' own resources
			manager.RouteSpecifier = &hcm.HttpConnectionManager_RouteConfig{
				RouteConfig: table.(*route.RouteConfiguration),
			}
			for _, h := range manager.GetHttpFilters() {
				if h.GetConfigDiscovery() == nil {
					continue
				}
				found := snapshot.GetResources(resource.ExtensionConfigType)[h.GetName()]
				//nolint:forcetypeassert // likewise
				h.ConfigType = &hcm.HttpFilter_TypedConfig{
					TypedConfig: found.(*core.TypedExtensionConfig).GetTypedConfig(),
				}
			}
			f.ConfigType = &listener.Filter_TypedConfig{TypedConfig: pack(manager)}
		}
	}
	return l, nil
}

// sorted are a type's resources by name.
func sorted(snapshot *cache.Snapshot, kind resource.Type) []types.Resource {
	byName := snapshot.GetResources(kind)
	all := make([]types.Resource, 0, len(byName))
	for _, name := range names(byName) {
		all = append(all, byName[name])
	}
	return all
}

func asJSON(resources []types.Resource) ([]json.RawMessage, error) {
	all := make([]json.RawMessage, 0, len(resources))
	for _, r := range resources {
		text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(r)
		if err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, nil
}
