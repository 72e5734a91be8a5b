//go:build !race

package usage

import (
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A million requests, each with two attempts, some of whose halves never come: what is
// held at the end is what was held near the begin.
func TestMemoryIsFlatOverAMillionRequests(t *testing.T) {
	c := newClock()
	j := joiner(c, 20_000)
	recent, window := NewRecent(RecentSettings{Requests: 1000, Keys: 1000}), NewWindow(WindowSettings{Now: c.Now})
	metrics := NewMetrics(MetricsSettings{Tenants: 10})
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	emitted := 0
	emit := func(done []*Request) {
		emitted += len(done)
		for _, r := range done {
			recent.Consume(r)
			window.Consume(r)
			metrics.Consume(r)
		}
	}
	var early uint64
	const all = 1_000_000
	for i := range all {
		id := "request-" + strconv.Itoa(i)
		c.pass(time.Millisecond)
		r := req(id, 2, 0)
		r.Key, r.Route, r.Tenant, r.Model, r.Provider = "key-"+id, "route-"+id, "tenant-"+id, "model-"+id, "p"
		if i%10 != 0 {
			emit(j.AddAttempts([]Attempt{att(id, 0)}))
		}
		emit(j.AddRequests([]*Request{r}))
		if i%7 != 0 {
			emit(j.AddAttempts([]Attempt{att(id, time.Millisecond)}))
		}
		if i%1000 == 0 {
			emit(j.Expire())
		}
		if i == all/5 {
			early = heap()
		}
	}
	late := heap()
	assert.Less(t, late, early+4<<20, "at a fifth: %d bytes", early)
	emit(j.Drain())
	assert.Equal(t, all, emitted)
	runtime.KeepAlive(recent)
	runtime.KeepAlive(window)
	runtime.KeepAlive(metrics)
}
