package usage

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Envoy reads Envoy's own statistics from time to time: for the gap, and a selection of
// them as metrics beside Postern's. It is a Counters and a prometheus.Collector.
type Envoy struct {
	// Stats gives the statistics whose whole name matches the pattern, by name.
	Stats func(ctx context.Context, pattern string) (map[string]int64, error)
	// Instance names the running Envoy, see Counted; nil: nobody knows.
	Instance func() string

	mu    sync.Mutex
	last  map[string]int64
	at    time.Time
	ended int64 // requests, as of the last reading
}

var (
	_ Counters             = (*Envoy)(nil)
	_ prometheus.Collector = (*Envoy)(nil)
)

// Envoy's names of what is read. Its own grpc_entries_flushed and _flush_failed are not
// among them: they count entries as sent that went to a reader who was away.
const (
	statWritten  = "access_logs.grpc_access_log.logs_written"
	statDropped  = "access_logs.grpc_access_log.logs_dropped"
	statRecorded = "postern.log_written" // by the native module, in their place
	statMissed   = "postern.log_dropped"
	statTotal    = "http.postern.downstream_rq_total"
	statActive   = "http.postern.downstream_rq_active"
	statUptime   = "server.uptime"
	statPattern  = `postern\.log_(written|dropped)|access_logs\.grpc_access_log\.logs_(written|dropped)` +
		`|http\.postern\.downstream_(rq_total|cx_active)` +
		`|server\.(memory_allocated|uptime|concurrency)|control_plane\.connected_state`
	activePattern = `http\.postern\.downstream_rq_active`
)

// statEnded is ours: requests that ended. Envoy's own rq_completed is none of that, it
// counts answers' headers, those of 100-continue too.
const statEnded = "ended"

// stale is how old a reading may be and still be shown as what is now.
const stale = time.Minute

var selected = []struct {
	stat string
	kind prometheus.ValueType
	desc *prometheus.Desc
}{
	{statWritten, prometheus.CounterValue, envoyDesc("log_written_total", "Access log entries that Envoy wrote.")},
	{statDropped, prometheus.CounterValue, envoyDesc("log_dropped_total", "Access log entries that Envoy dropped.")},
	{statEnded, prometheus.CounterValue, envoyDesc("requests_total", "Requests that ended in Envoy, however they did.")},
	{"http.postern.downstream_cx_active", prometheus.GaugeValue, envoyDesc("connections", "Open connections of clients.")},
	{"server.memory_allocated", prometheus.GaugeValue, envoyDesc("memory_bytes", "Memory that Envoy has allocated.")},
	{statUptime, prometheus.GaugeValue, envoyDesc("uptime_seconds", "Time since Envoy's start.")},
	{"server.concurrency", prometheus.GaugeValue, envoyDesc("workers", "Worker threads of Envoy.")},
	{"control_plane.connected_state", prometheus.GaugeValue, envoyDesc("connected", "1 while Envoy is connected to the control plane.")},
}

func envoyDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("postern_envoy_"+name, help, nil, nil)
}

// Counters reads the statistics once.
func (e *Envoy) Counters(ctx context.Context) (Counted, error) {
	stats, err := e.Stats(ctx, statPattern)
	if err != nil {
		return Counted{}, err
	}
	// Asked for after the total, so that a request that begins meanwhile is never taken
	// for one that ended.
	active, err := e.Stats(ctx, activePattern)
	if err != nil {
		return Counted{}, err
	}
	stats[statActive] = active[statActive]
	for from, to := range map[string]string{statRecorded: statWritten, statMissed: statDropped} {
		stats[to] += stats[from]
		delete(stats, from)
	}
	e.note(stats)
	c := Counted{Written: natural(stats[statWritten]), Dropped: natural(stats[statDropped]), Requests: natural(stats[statEnded])}
	if uptime, ok := stats[statUptime]; ok {
		c.Born = time.Unix(time.Now().Unix()-uptime, 0)
	}
	if e.Instance != nil {
		c.Instance = e.Instance()
	}
	return c, nil
}

// note keeps a reading, and works out how many requests ended: never fewer than before,
// unless it is another Envoy's.
func (e *Envoy) note(stats map[string]int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	ended := max(0, stats[statTotal]-stats[statActive])
	if stats[statTotal] >= e.last[statTotal] {
		ended = max(ended, e.ended)
	}
	stats[statEnded] = ended
	e.last, e.at, e.ended = stats, time.Now(), ended
}

// InFlight is how many requests went on at the last reading; ok is false if that is
// long ago.
func (e *Envoy) InFlight() (requests float64, ok bool) {
	n, ok := e.fresh()[statActive]
	return float64(n), ok
}

func (e *Envoy) fresh() map[string]int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if time.Since(e.at) > stale {
		return nil
	}
	return e.last
}

// Describe describes the selection.
func (*Envoy) Describe(to chan<- *prometheus.Desc) {
	for _, s := range selected {
		to <- s.desc
	}
}

// Collect gives the last reading, unless it is long ago.
func (e *Envoy) Collect(to chan<- prometheus.Metric) {
	stats := e.fresh()
	for _, s := range selected {
		if value, ok := stats[s.stat]; ok {
			to <- prometheus.MustNewConstMetric(s.desc, s.kind, float64(value))
		}
	}
}

func natural(n int64) uint64 { return uint64(max(0, n)) }
