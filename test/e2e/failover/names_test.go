package failover_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postern-proxy/postern/test/fake/dns"
	fake "github.com/postern-proxy/postern/test/fake/openai"
	"github.com/postern-proxy/postern/test/gate"
	"github.com/postern-proxy/postern/test/need"
)

// twoName is a provider with an address of x and one of y.
const twoName = "two.postern.test"

// named is a house with a provider that is found by name, at two addresses.
type named struct {
	*house
	names *dns.Server
	x, y  *fake.Server
	port  string
}

// naming starts one. mood is how names are answered from the start.
func naming(t *testing.T, mood dns.Mood) *named {
	t.Helper()
	n := &named{house: &house{a: fake.Start(t), b: fake.Start(t), c: fake.Start(t), client: gate.Client()}, names: dns.Start(t)}
	n.x, n.y, n.port = neighbours(t)
	n.names.Set(twoName, "127.0.0.2", "127.0.0.3")
	n.names.Become(mood)
	n.Gate = gate.Start(t, gate.Settings{Config: n.with("", namedModels)})
	return n
}

// with is the house's document. header stands at the provider b.
func (n *named) with(header, models string) string {
	n.health = fmt.Sprintf("health: {probe: off, breakers: off}\ndns: {resolvers: [%q]}", n.names.Address())
	text := n.document(fmt.Sprintf("  two: {schema: openai, url: \"http://%s:%s/v1\"}", twoName, n.port), models)
	if header == "" {
		return text
	}
	return strings.Replace(text, "  b: {", "  b: {headers: {"+header+": z}, ", 1)
}

// neighbours are two servers on one port of two addresses.
func neighbours(t *testing.T) (x, y *fake.Server, port string) {
	t.Helper()
	for range 20 {
		first, err := net.Listen("tcp", "127.0.0.2:0")
		if err != nil {
			need.Missing(t, "a second address of this machine, 127.0.0.2: "+err.Error())
		}
		_, port, err := net.SplitHostPort(first.Addr().String())
		require.NoError(t, err)
		second, err := net.Listen("tcp", "127.0.0.3:"+port)
		if err != nil {
			first.Close()
			continue
		}
		return fake.Start(t, fake.WithListener(first)), fake.Start(t, fake.WithListener(second)), port
	}
	t.Fatal("no port is free at both addresses")
	return nil, nil, ""
}

const namedModels = `
  pair: {route: [[{provider: two}], [{provider: b}]], timeouts: {first_byte: 2s}}
  alone: {route: [[{provider: two}]], timeouts: {first_byte: 2s}}
`

// TestOneOfTwoAddresses: while one address of a provider fails the other has all its
// requests, and only when both fail does the next provider.
func TestOneOfTwoAddresses(t *testing.T) {
	t.Parallel()
	const ejected = "cluster.provider/two.outlier_detection.ejections_active"
	n := naming(t, dns.Mood{})
	n.x.Always(fake.Status(503))
	require.Eventually(t, func() bool { n.ask(t, "pair"); return n.stat(t, ejected) == 1 }, patience, glance)
	n.x.Reset()
	n.y.Reset()
	assert.Equal(t, map[string]int{"two 200": 500}, n.count(t.Context(), 20, 500, "pair"))
	assert.Zero(t, n.x.Counts().Requests)
	assert.Equal(t, 500, n.y.Counts().Requests)

	n.x.Always(fake.Status(503))
	n.y.Always(fake.Status(503))
	require.Eventually(t, func() bool { n.ask(t, "pair"); return n.stat(t, ejected) == 2 }, patience, glance)
	n.x.Reset()
	n.y.Reset()
	assert.Equal(t, map[string]int{"b 200": 500}, n.count(t.Context(), 20, 500, "pair"))
	assert.Zero(t, n.x.Counts().Requests+n.y.Counts().Requests)
}

// TestBreakerForLong: a provider that is down for long is asked now and then, by few
// requests each time, however many there are.
func TestBreakerForLong(t *testing.T) {
	t.Parallel()
	n := naming(t, dns.Mood{})
	n.x.Always(fake.Status(503))
	n.y.Always(fake.Status(503))
	requests := 0
	for end := time.Now().Add(8 * time.Second); time.Now().Before(end); requests += 300 { // an ejection ends in it
		require.Equal(t, map[string]int{"b 200": 300}, n.count(t.Context(), 30, 300, "pair"))
	}
	asked := n.x.Counts().Requests + n.y.Counts().Requests
	t.Logf("%d requests, of which %d met it", requests, asked)
	assert.Less(t, asked, requests/10)
	assert.Less(t, asked, 300)
}

// TestNamesThatCome: a gate opens without the names of its providers, and has them soon
// when it can.
func TestNamesThatCome(t *testing.T) {
	t.Parallel()
	for name, mood := range map[string]dns.Mood{"failing": {Fail: true}, "silent": {Silent: true}, "slow": {Delay: 3 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := naming(t, mood)
			assert.Equal(t, "b", n.ask(t, "pair").provider)
			got := n.ask(t, "alone")
			assert.Equal(t, http.StatusBadGateway, got.status)
			assert.Contains(t, got.text, `"code":"provider_unreachable"`)
			if mood.Silent {
				return // it takes until Envoy gives the question up
			}
			if mood.Fail {
				n.names.Become(dns.Mood{})
			}
			start := time.Now()
			for _, model := range []string{"pair", "alone"} {
				require.Eventually(t, func() bool { return n.ask(t, model).provider == "two" }, patience, 10*time.Millisecond)
			}
			t.Logf("after %s", time.Since(start))
			assert.Less(t, time.Since(start), 10*time.Second)
		})
	}
}

// TestNamesThatMove: requests follow a name to its new address, and stay where it was
// while nobody tells.
func TestNamesThatMove(t *testing.T) {
	t.Parallel()
	n := naming(t, dns.Mood{})
	n.names.Set(twoName, "127.0.0.2")
	until := func(other *fake.Server) {
		require.Eventually(t, func() bool {
			other.Reset()
			for range 5 {
				for _, model := range []string{"pair", "alone"} {
					require.Equal(t, "two", n.ask(t, model).provider)
				}
			}
			return other.Counts().Requests == 0
		}, patience, 50*time.Millisecond)
	}
	require.Eventually(t, func() bool { return n.ask(t, "pair").provider == "two" }, patience, glance)
	require.Eventually(t, func() bool { return n.ask(t, "alone").provider == "two" }, patience, glance)
	until(n.y)
	n.names.Set(twoName, "127.0.0.3")
	until(n.x)
	n.names.Become(dns.Mood{Fail: true})
	asked := n.names.Asked(twoName)
	require.Eventually(t, func() bool { return n.names.Asked(twoName) > asked+4 }, patience, glance)
	until(n.x)
}

// TestChangeWhileNamesAreSlow: what changes at one provider costs no request of another,
// however long its name takes.
func TestChangeWhileNamesAreSlow(t *testing.T) {
	t.Parallel()
	n := naming(t, dns.Mood{})
	models := []string{"alone", "pair"}
	for _, model := range models {
		require.Eventually(t, func() bool { return n.ask(t, model).provider == "two" }, patience, 10*time.Millisecond)
	}
	n.names.Become(dns.Mood{Delay: 2 * time.Second})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var group sync.WaitGroup
	var mu sync.Mutex
	met := map[string]int{}
	for _, model := range models {
		group.Go(func() {
			for ctx.Err() == nil {
				got := n.post(t.Context(), chat(model))
				mu.Lock()
				met[fmt.Sprint(model, " ", got.provider, " ", got.status)]++
				mu.Unlock()
			}
		})
	}
	warming := func() int { return n.stat(t, "cluster_manager.warming_clusters") }
	for _, header := range []string{"X-One", "X-Two"} {
		n.Write(t, n.with(header, namedModels))
		require.Eventually(t, func() bool { return warming() > 0 }, patience, glance)
		require.Eventually(t, func() bool { return warming() == 0 }, patience, glance)
	}
	stop()
	group.Wait()
	assert.Len(t, met, 2, "%v", met)
	for _, model := range models {
		assert.Positive(t, met[model+" two 200"], "%v", met)
	}
}
