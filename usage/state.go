package usage

import "github.com/prometheus/client_golang/prometheus"

// State is a prometheus.Collector of how the access log itself is: what came, what
// waits, what is missing. Its fields do not change once it is registered; each may be
// nil, and then its metrics are absent.
type State struct {
	Service *Service
	Gap     *GapMeter
	Ledger  *Ledger
	Journal *Journal
	// InFlight is the requests that go on now (Envoy's downstream_rq_active); ok is
	// false while nobody knows.
	InFlight func() (requests float64, ok bool)
}

var _ prometheus.Collector = (*State)(nil)

var (
	descEntries = prometheus.NewDesc("postern_log_entries_total",
		"Entries of the access log that came, by log.", []string{"log"}, nil)
	descOdd = prometheus.NewDesc("postern_log_odd_entries_total",
		"Entries of the access log that came and are no part of a record: duplicates, attempts without their request, others.",
		[]string{"why"}, nil)
	descPending = prometheus.NewDesc("postern_log_pending_entries",
		"Entries of the access log that wait for their other half.", nil, nil)
	descStreams = prometheus.NewDesc("postern_log_streams",
		"Open access log streams of Envoy's workers.", nil, nil)
	descMissing = prometheus.NewDesc("postern_log_missing_entries",
		"Entries of the access log that Envoy wrote or dropped and that never came, since the ledger was begun.", nil, nil)
	descMissingRequests = prometheus.NewDesc("postern_log_missing_requests",
		"Requests that Envoy completed and that are in no record, since the ledger was begun.", nil, nil)
	descWrites = prometheus.NewDesc("postern_log_write_failures_total",
		"Writes of the ledger or the usage log (file) that failed.", []string{"file"}, nil)
	descLost = prometheus.NewDesc("postern_usage_log_lost_lines_total",
		"Lines of the usage log that could not be written and are lost.", nil, nil)
	descInFlight = prometheus.NewDesc("postern_requests_in_flight",
		"Requests that go on now.", nil, nil)
)

// Describe describes all metrics, also those that are absent now.
func (s *State) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descEntries, descOdd, descPending, descStreams, descMissing, descMissingRequests, descWrites, descLost, descInFlight,
	} {
		to <- d
	}
}

// Collect gives the metrics as they are now.
func (s *State) Collect(to chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, n float64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, n)
	}
	if s.Service != nil {
		stats := s.Service.Stats()
		counter(descEntries, stats.Requests, "request")
		counter(descEntries, stats.Attempts, "attempt")
		counter(descOdd, stats.Duplicates, "duplicate")
		counter(descOdd, stats.Orphans, "orphan")
		counter(descOdd, stats.Skipped, "skipped")
		gauge(descPending, float64(stats.Pending))
		gauge(descStreams, float64(stats.Streams))
	}
	if s.Gap != nil {
		if gap := s.Gap.Gap(); !gap.At.IsZero() { // nothing is known before a reading
			gauge(descMissing, float64(gap.Missing))
			gauge(descMissingRequests, float64(gap.Requests))
		}
	}
	if s.Ledger != nil {
		failures, _ := s.Ledger.Trouble()
		counter(descWrites, failures, "ledger")
	}
	if s.Journal != nil {
		failures, lost, _ := s.Journal.Trouble()
		counter(descWrites, failures, "usage_log")
		counter(descLost, lost)
	}
	if s.InFlight != nil {
		if active, ok := s.InFlight(); ok {
			gauge(descInFlight, active)
		}
	}
}
