package xds

import (
	"strconv"
	"strings"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	match "github.com/envoyproxy/go-control-plane/envoy/config/common/matcher/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	aggregate "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/aggregate/v3"
	groups "github.com/envoyproxy/go-control-plane/envoy/extensions/router/cluster_specifiers/priority_group/v3"
	upstream "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/postern-proxy/postern/wire"
)

// A provider that fails again and again is left alone for a while: Envoy ejects its
// hosts, the attempt meets the sink, and the next group answers at once. That is right
// only as long as there is a next one. The last attempt of a request goes to the
// provider whatever was seen of it, because a provider that may fail is better than
// none. So a provider has two clusters: the plain one, which ejects nobody, for last
// attempts, and the guarded one for those before.
const (
	clusterGuarded = wire.ClusterGuarded // in the place of clusterProvider
	clusterWatched = wire.ClusterWatched // likewise; no route leads there but by the guarded one
	clusterSink    = wire.ClusterSink    // likewise
)

// When a host is ejected, and for how long. An ejection lasts the first time times the
// number of times that it happened of late.
const (
	ejectAfterErrors = 10 // answers in a row that send a request on (failures)
	ejectAfterBroken = 5  // in a row: 502, 503, 504, a reset, no connection, no first byte in time
	ejectFirst       = 5 * time.Second
	ejectLongest     = 10 * time.Second // less than between probes, so that one that is well again is soon asked
	ejectSweep       = time.Second      // how often Envoy looks whose time is over

	// overprovision is enough for a thousand addresses of which one is left, in percent.
	overprovision = 100_000
)

// guardAttempts has all attempts but the last go to guarded clusters.
func guardAttempts(attempts []*groups.PriorityGroup) []*groups.PriorityGroup {
	for _, group := range attempts[:max(len(attempts)-1, 0)] {
		for _, c := range group.GetClusters() {
			c.ClusterName = guardedName(c.GetClusterName())
		}
	}
	return attempts
}

func guardedName(name string) string {
	return clusterGuarded + strings.TrimPrefix(name, clusterProvider)
}

// guards are the names of the clusters that have a guarded one beside them: those of all
// routes of more than one attempt. Which attempt is the last does not matter here,
// because it changes with the order of groups, and a cluster that came and went with
// that would forget what it has seen.
func guards(in Input) map[string]bool {
	used := map[string]bool{}
	for name := range in.Config.Models {
		attempts := rotate(members(in.Config, name, in.ordered(name)))
		if len(attempts) < 2 {
			continue
		}
		for _, group := range attempts {
			for _, c := range group.GetClusters() {
				used[c.GetClusterName()] = true
			}
		}
	}
	return used
}

// guarded is a provider's cluster, with the guarded one beside it where it is used.
//
// The guarded one is two: the watched addresses, and the sink, where attempts are refused
// at once while there is no address that Envoy would try. Were the sink one of the
// watched, it would be ejected too, in the place of an address.
func guarded(used map[string]bool, plain *cluster.Cluster, translated bool) []types.Resource {
	if !used[plain.GetName()] {
		return []types.Resource{plain}
	}
	runs, connects := halves(plain, failures(translated))
	watched, refusing := watch(plain, connects), sink(plain)
	c := &cluster.Cluster{
		Name:        guardedName(plain.GetName()),
		AltStatName: plain.GetName(), // one provider to whoever reads statistics and logs
		ClusterDiscoveryType: &cluster.Cluster_ClusterType{ClusterType: &cluster.Cluster_CustomClusterType{
			Name:        "envoy.clusters.aggregate",
			TypedConfig: pack(&aggregate.ClusterConfig{Clusters: []string{watched.GetName(), refusing.GetName()}}),
		}},
		LbPolicy:                      cluster.Cluster_CLUSTER_PROVIDED,
		ConnectTimeout:                plain.GetConnectTimeout(),
		CircuitBreakers:               noBreaker(),
		CommonLbConfig:                plain.GetCommonLbConfig(),
		PerConnectionBufferLimitBytes: plain.GetPerConnectionBufferLimitBytes(),
		TypedExtensionProtocolOptions: runs,
	}
	notesBusy(c)
	return []types.Resource{plain, watched, refusing, c}
}

// watch is a provider's addresses alone, of which those that fail are ejected.
func watch(plain *cluster.Cluster, connects map[string]*anypb.Any) *cluster.Cluster {
	c := proto.CloneOf(plain)
	c.Name = clusterWatched + strings.TrimPrefix(plain.GetName(), clusterProvider)
	c.AltStatName = plain.GetName()
	c.LoadAssignment.ClusterName = c.GetName()
	c.TypedExtensionProtocolOptions = connects
	// Envoy gathers the ejections of a second, and sends requests on meanwhile.
	c.CommonLbConfig.UpdateMergeWindow = seconds(0)
	// All load stays here until the last address is ejected. By default Envoy sends
	// some of it on when three of ten are.
	c.LoadAssignment.Policy = &endpoint.ClusterLoadAssignment_Policy{OverprovisioningFactor: uint32Value(overprovision)}
	c.OutlierDetection = &cluster.OutlierDetection{
		Consecutive_5Xx:                    uint32Value(ejectAfterErrors),
		ConsecutiveGatewayFailure:          uint32Value(ejectAfterBroken),
		EnforcingConsecutiveGatewayFailure: uint32Value(100),
		// Attempts that got no answer count as 503 and 504, in one row with answers of
		// those. Counted apart, the row of stalls would end with each connection that
		// opens, and a provider that takes requests and says nothing never be ejected.
		SplitExternalLocalOriginErrors: false,
		EnforcingSuccessRate:           uint32Value(0),
		MaxEjectionPercent:             uint32Value(100),
		BaseEjectionTime:               seconds(ejectFirst),
		MaxEjectionTime:                seconds(ejectLongest),
		Interval:                       seconds(ejectSweep),
	}
	return c
}

// halves are a cluster's options for the guarded cluster, which runs the filters of
// attempts, and for the watched one, which has the connections. So what is known of
// addresses outlives a change of filters.
func halves(plain *cluster.Cluster, failed *upstream.HttpProtocolOptions_OutlierDetection) (guarded, watched map[string]*anypb.Any) {
	options := new(upstream.HttpProtocolOptions)
	if plain.GetTypedExtensionProtocolOptions()[protocolOptions].UnmarshalTo(options) != nil {
		options = &upstream.HttpProtocolOptions{} // packed by provider: cannot be
	}
	runs := &upstream.HttpProtocolOptions{HttpFilters: options.GetHttpFilters(), OutlierDetection: failed}
	runs.UpstreamProtocolOptions = http1() // unused, and needed
	options.HttpFilters = nil
	return map[string]*anypb.Any{protocolOptions: pack(runs)}, map[string]*anypb.Any{protocolOptions: pack(options)}
}

// failures says which answers count as a failure of the address that gave them: those that
// send a request to the next group.
func failures(translated bool) *upstream.HttpProtocolOptions_OutlierDetection {
	statuses := []string{`5\d\d`}
	for _, status := range retried(translated) {
		statuses = append(statuses, strconv.Itoa(int(status)))
	}
	return &upstream.HttpProtocolOptions_OutlierDetection{ErrorMatcher: &match.MatchPredicate{
		Rule: &match.MatchPredicate_HttpResponseHeadersMatch{HttpResponseHeadersMatch: &match.HttpHeadersMatch{
			Headers: []*route.HeaderMatcher{headerIs(":status", regex(strings.Join(statuses, "|")))},
		}},
	}}
}

// sink is an address that refuses at once. Without it a provider whose name does not
// resolve, or whose addresses are all ejected, ends the request with a 503; with it the
// attempt fails like any other and the next group answers. Each provider has its own,
// because the access log has the name of the cluster that an attempt went to in the end.
func sink(plain *cluster.Cluster) *cluster.Cluster {
	name := clusterSink + strings.TrimPrefix(plain.GetName(), clusterProvider)
	return &cluster.Cluster{
		Name:                 name,
		AltStatName:          plain.GetName(),
		ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_STATIC},
		ConnectTimeout:       seconds(time.Second),
		CircuitBreakers:      noBreaker(),
		LoadAssignment: &endpoint.ClusterLoadAssignment{
			ClusterName: name,
			Endpoints:   []*endpoint.LocalityLbEndpoints{endpoints(tcp(wire.SinkAddress, wire.SinkPort), "sink.postern")},
		},
	}
}
