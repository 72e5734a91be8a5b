package usage

import "time"

// Snapshot is the last minute, for people: postern top, postern status, and JSON
// between the two processes. Durations are in nanoseconds in JSON.
type Snapshot struct {
	At        time.Time     `json:"at"`
	Span      time.Duration `json:"span"` // what the numbers cover: a minute, or less after a start
	Total     Row           `json:"total"`
	Routes    []Row         `json:"routes"`    // the busiest first
	Providers []Row         `json:"providers"` // likewise; requests are attempts here

	// What the rest of the gate knows; who serves the snapshot fills it in.
	Version  string `json:"version,omitempty"` // of the configuration
	InFlight int64  `json:"in_flight"`
	Missing  uint64 `json:"missing"` // entries of the access log that never came
}

// Row is a route's or a provider's minute.
type Row struct {
	Name        string        `json:"name"`
	Requests    int64         `json:"requests"`
	Errors      int64         `json:"errors"`
	Client      int64         `json:"client_errors"` // by whose fault they were
	Gateway     int64         `json:"gateway_errors"`
	Provider    int64         `json:"provider_errors"`
	Rate        float64       `json:"requests_per_second"`
	TokenRate   float64       `json:"tokens_per_second"`
	FirstByte50 time.Duration `json:"first_byte_p50"` // 0: there was none
	FirstByte95 time.Duration `json:"first_byte_p95"`
	CostPerHour float64       `json:"usd_per_hour"`
	Unpriced    int64         `json:"unknown_cost_requests"` // not in CostPerHour
}
