package config

import (
	"errors"
	"math"
	"strconv"
	"time"
)

// Health is when a provider is held to be down, and how it is asked whether it is. Zero
// values were replaced by the defaults.
type Health struct {
	Breakers     string   `json:"breakers,omitempty" yaml:"breakers,omitempty" jsonschema:"enum=on,enum=off" jsonschema_description:"off: a provider that fails keeps its place in the order of groups, and only Envoy's own breaker leaves it alone. Default on."`
	Probe        Interval `json:"probe,omitempty" yaml:"probe,omitempty" jsonschema_description:"A provider that no request told of for so long is asked for its models; default 15s; off: none is ever asked."`
	ProbeTimeout Duration `json:"probe_timeout,omitempty" yaml:"probe_timeout,omitempty" jsonschema_description:"How long it has to answer that; default 5s."`
	Failures     int      `json:"failures,omitempty" yaml:"failures,omitempty" jsonschema:"minimum=1,maximum=1000" jsonschema_description:"So many failures in a row take a provider out of use; default 5."`
	Ratio        Ratio    `json:"ratio,omitempty" yaml:"ratio,omitempty" jsonschema_description:"Or this share of the attempts within the window; default 0.5."`
	Window       Duration `json:"window,omitempty" yaml:"window,omitempty" jsonschema_description:"How far back that looks; default 10s."`
	Open         Duration `json:"open,omitempty" yaml:"open,omitempty" jsonschema_description:"How long it is out of use the first time, twice as long each time after; default 5s."`
	OpenMax      Duration `json:"open_max,omitempty" yaml:"open_max,omitempty" jsonschema_description:"The longest of that; default 15s."`
	LimitMax     Duration `json:"limit_max,omitempty" yaml:"limit_max,omitempty" jsonschema_description:"The longest that a provider which answers 429, or 503 and Retry-After, is left alone, whatever Retry-After says; default 5m."`
}

// Interval is a time between things that happen again and again, or Never.
type Interval time.Duration

// Never is the Interval that is written as "off".
const Never Interval = -1

// String is Duration's form, or "off".
func (i Interval) String() string {
	if i == Never {
		return "off"
	}
	return Duration(i).String()
}

// MarshalText gives String's form, for JSON and YAML.
func (i Interval) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText reads "15s" or "off".
func (i *Interval) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*i = Never
		return nil
	}
	var d Duration
	if err := d.UnmarshalText(text); err != nil || d < 0 {
		return errors.New("must be a duration with its unit, such as 15s or 1m, or off")
	}
	*i = Interval(d)
	return nil
}

// Ratio is a share, from above 0 to 1.
type Ratio float64

// String is the shortest decimal form.
func (r Ratio) String() string { return strconv.FormatFloat(float64(r), 'f', -1, 64) }

// MarshalText gives String's form, for JSON and YAML.
func (r Ratio) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads "0.5" or "1".
func (r *Ratio) UnmarshalText(text []byte) error {
	share, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.IsNaN(share) || share <= 0 || share > 1 {
		return errors.New("must be a number above 0 and at most 1, such as 0.5")
	}
	*r = Ratio(share)
	return nil
}

// ProbeOff is the Provider.Probe of one that is never asked, and BreakersOff the
// Health.Breakers of an order that does not follow from failures.
const (
	ProbeOff    = "off"
	BreakersOff = "off"
)

// The defaults of health, and its bounds.
const (
	defaultProbe        = Interval(15 * time.Second)
	defaultProbeTimeout = Duration(5 * time.Second)
	defaultFailures     = 5
	defaultRatio        = Ratio(0.5)
	defaultWindow       = Duration(10 * time.Second)
	defaultOpen         = Duration(5 * time.Second)
	defaultOpenMax      = Duration(15 * time.Second)
	defaultLimitMax     = Duration(5 * time.Minute)

	shortest    = Duration(100 * time.Millisecond)
	maxFailures = 1000
)

// health fills in the defaults and holds each time to its bounds: a probe every
// microsecond would be an attack.
func (v *validator) health() {
	h, at := &v.config.Health, path("health")
	for _, d := range []struct {
		key   string
		value *Duration
		usual Duration
	}{
		{"probe_timeout", &h.ProbeTimeout, defaultProbeTimeout},
		{"window", &h.Window, defaultWindow},
		{"open", &h.Open, defaultOpen},
		{"open_max", &h.OpenMax, max(defaultOpenMax, h.Open)},
		{"limit_max", &h.LimitMax, defaultLimitMax},
	} {
		at := at.key(d.key)
		switch {
		case !v.given(at):
			*d.value = d.usual
		case !v.broken(at) && (*d.value < shortest || *d.value > maxTimeout):
			v.problemf(at, "must be from %s to %s", shortest, maxTimeout)
		}
	}
	v.probing(at.key("probe"), h)
	if h.Ratio == 0 {
		h.Ratio = defaultRatio
	}
	if at := at.key("failures"); !v.given(at) {
		h.Failures = defaultFailures
	} else if !v.broken(at) && (h.Failures < 1 || h.Failures > maxFailures) {
		v.problemf(at, "must be from 1 to %d", maxFailures)
	}
	if most := at.key("open_max"); v.given(most) && !v.broken(most) && !v.broken(at.key("open")) && h.OpenMax < h.Open {
		v.problemf(most, "must be at least open (%s)", h.Open)
	}
}

func (v *validator) probing(at path, h *Health) {
	switch {
	case !v.given(at):
		h.Probe = defaultProbe
	case v.broken(at), h.Probe == Never:
	case h.Probe < Interval(shortest) || h.Probe > Interval(maxTimeout):
		v.problemf(at, "must be from %s to %s, or off", shortest, maxTimeout)
	}
}
