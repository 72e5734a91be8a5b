//go:build !race

package xds

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMemoryOfPushes(t *testing.T) {
	f := newFleet(t)
	push := func(i int) {
		version := strconv.Itoa(i)
		all := contents{resource.RouteType: {&route.RouteConfiguration{
			Name: "postern", VirtualHosts: []*route.VirtualHost{{Name: version + strings.Repeat("x", 20_000)}},
		}}}
		for n := range 20 { // one comes and one goes with each push
			all[resource.ClusterType] = append(all[resource.ClusterType], &cluster.Cluster{Name: fmt.Sprintf("provider/%d", i+n)})
		}
		require.NoError(t, f.SetFleet(t.Context(), everybody(all.snapshot(t, version)), 10*time.Millisecond))
	}
	push(0)
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel()
	for i := range 5 {
		e := f.sidecar(t, strconv.Itoa(i), fmt.Sprintf("cluster-%d", i))
		e.subscribe(t, resource.RouteType, "postern")
		e.subscribe(t, resource.ClusterType)
		readers.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case r, open := <-e.came:
					if !open {
						return
					}
					_ = e.stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()})
				}
			}
		})
	}
	for i := range 300 {
		push(i + 1)
	}
	before := resident(t)
	for i := range 1000 {
		push(i + 1000)
	}
	after := resident(t)
	t.Logf("resident memory: %d KiB, after 1,000 pushes %d KiB", before>>10, after>>10)
	assert.Less(t, float64(after), 1.1*float64(before))
}

// resident is the process's memory after a collection, in bytes.
func resident(t *testing.T) int64 {
	t.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("this system does not say how much memory a process has")
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	require.NoError(t, err)
	return pages * int64(os.Getpagesize())
}
