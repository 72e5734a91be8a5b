package usage

import "github.com/prometheus/client_golang/prometheus"

// mostHandles bounds the remembered series of each kind; all labels come from closed
// sets, so few are ever more.
const mostHandles = 4096

// outcome is all that a request's series are told apart by, but its tenant.
type outcome struct {
	route, provider, model, status string
	lane                           Lane
	blame                          Blame
	endpoint                       Endpoint
}

// handles are the series of one outcome. Each is found or made when it is first counted
// in, as a series that exists is shown.
type handles struct {
	requests, aborts, partial, costUnknown     prometheus.Counter
	duration, firstByte, operation, firstToken prometheus.Observer
	server, perToken                           prometheus.Observer
	tokenUsage                                 [2]prometheus.Observer   // input, output
	tokens                                     [5][3]prometheus.Counter // as counted, by source
	cost                                       [3]prometheus.Counter    // by source
}

// try is all that an attempt's series are told apart by.
type try struct {
	provider, status string
	blame            Blame
}

type tryHandles struct {
	attempts  prometheus.Counter
	firstByte prometheus.Observer
}

// remembered finds or makes what is known under a key.
func remembered[K comparable, V any](known map[K]*V, key K) *V {
	found := known[key]
	if found == nil {
		if len(known) >= mostHandles {
			clear(known)
		}
		found = new(V)
		known[key] = found
	}
	return found
}

// counting is the counter in a place, which is filled if it is empty.
func counting(place *prometheus.Counter, of *prometheus.CounterVec, values ...string) prometheus.Counter {
	if *place == nil {
		*place = of.WithLabelValues(values...)
	}
	return *place
}

// observing is the same for an observer.
func observing(place *prometheus.Observer, of *prometheus.HistogramVec, values ...string) prometheus.Observer {
	if *place == nil {
		*place = of.WithLabelValues(values...)
	}
	return *place
}
