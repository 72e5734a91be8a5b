package health

import "github.com/prometheus/client_golang/prometheus"

// Collector gives a Tracker's views as metrics. All labels are closed: providers, models
// and keys are the configured ones (a provider itself has no model, and only one of
// several keys is named), states and results are this package's words.
type Collector struct {
	tracker *Tracker

	state, limited, firstByte, perToken, outcomes *prometheus.Desc
}

var _ prometheus.Collector = (*Collector)(nil)

// NewCollector makes the metrics of a Tracker; they are served once they are registered.
func NewCollector(t *Tracker) *Collector {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"provider", "model", "key"}, labels...), nil)
	}
	return &Collector{
		tracker: t,
		state: describe("postern_provider_state",
			"1 for the state of the breaker of a provider, or of one of its models; 0 for the other states.", "state"),
		limited: describe("postern_provider_limited",
			"1 while the provider asked to be left alone."),
		firstByte: describe("postern_provider_first_byte_seconds",
			"Moving average of the time to the first byte of an answer."),
		perToken: describe("postern_provider_output_token_seconds",
			"Moving average of an attempt's duration per output token."),
		outcomes: describe("postern_provider_recent_attempts",
			"Attempts in the breaker's window, by result.", "result"),
	}
}

// Describe describes all metrics.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.state, c.limited, c.firstByte, c.perToken, c.outcomes} {
		to <- desc
	}
}

// Collect gives all metrics. An average that is not known is left out.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	now := c.tracker.settings.Now()
	for _, v := range c.tracker.Views() {
		gauge := func(desc *prometheus.Desc, value float64, label ...string) {
			to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, append([]string{v.Provider, v.Model, v.Key}, label...)...)
		}
		for _, s := range states {
			gauge(c.state, truth(v.State == s), string(s))
		}
		gauge(c.limited, truth(v.Limit(now)))
		if v.Key != "" { // of the outcomes, a key's own would be some of its provider's
			continue
		}
		gauge(c.outcomes, float64(v.Good), Good.String())
		gauge(c.outcomes, float64(v.Failed), Failed.String())
		gauge(c.outcomes, float64(v.Limited), Limited.String())
		if v.FirstByte > 0 {
			gauge(c.firstByte, v.FirstByte.Seconds())
		}
		if v.PerToken > 0 {
			gauge(c.perToken, v.PerToken.Seconds())
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
