package config

import (
	"errors"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration written as "2s" or "10m".
type Duration time.Duration

// String is the shortest form: "10m", not "10m0s".
func (d Duration) String() string {
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// MarshalText gives String's form, for JSON and YAML.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads "500ms", "2s", "1m30s" or "2h".
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return errors.New("must be a duration with its unit, such as 500ms, 2s, 10m or 1h")
	}
	*d = Duration(parsed)
	return nil
}

// Size is a number of bytes written as "20MiB", "64KiB" or "1048576".
type Size int64

// The units of Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

var sizeForm = regexp.MustCompile(`^([0-9]{1,15})(KiB|MiB|GiB)?$`)

var sizeUnits = map[string]Size{"": 1, "KiB": KiB, "MiB": MiB, "GiB": GiB}

// String is the form with the largest unit that divides the size.
func (s Size) String() string {
	for _, unit := range []string{"GiB", "MiB", "KiB"} {
		if s != 0 && s%sizeUnits[unit] == 0 {
			return strconv.FormatInt(int64(s/sizeUnits[unit]), 10) + unit
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText gives String's form, for JSON and YAML.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a whole number of bytes, KiB, MiB or GiB.
func (s *Size) UnmarshalText(text []byte) error {
	parts := sizeForm.FindSubmatch(text)
	if parts == nil {
		return errors.New("must be a size such as 20MiB, 64KiB or a whole number of bytes")
	}
	n, err := strconv.ParseInt(string(parts[1]), 10, 64)
	unit := sizeUnits[string(parts[2])]
	if err != nil || n > math.MaxInt64/int64(unit) {
		return errors.New("is too large")
	}
	*s = Size(n) * unit
	return nil
}

// Rate is a token bucket's refill: N per Per, N also its capacity.
// It is written as "20/m": n may end in k or M, the unit is s, m, h or d.
type Rate struct {
	N   int
	Per time.Duration
}

// maxRate bounds N: Envoy's token buckets count in 32 bits.
const maxRate = 1_000_000_000

var rateForm = regexp.MustCompile(`^([0-9]{1,10})([kM]?)/([smhd])$`)

var rateUnits = map[string]time.Duration{
	"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
}

// String is the form that UnmarshalText reads.
func (r Rate) String() string {
	count := strconv.Itoa(r.N)
	switch {
	case r.N != 0 && r.N%1_000_000 == 0:
		count = strconv.Itoa(r.N/1_000_000) + "M"
	case r.N != 0 && r.N%1000 == 0:
		count = strconv.Itoa(r.N/1000) + "k"
	}
	for _, unit := range []string{"s", "m", "h", "d"} {
		if rateUnits[unit] == r.Per {
			return count + "/" + unit
		}
	}
	return count + "/" + Duration(r.Per).String()
}

// MarshalText gives String's form, for JSON and YAML.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads "20/m", "5/s", "1k/h" or "2M/d".
func (r *Rate) UnmarshalText(text []byte) error {
	parts := rateForm.FindSubmatch(text)
	if parts == nil {
		return errors.New("must be a rate such as 20/m, 5/s, 1k/h or 2M/d")
	}
	n, err := strconv.Atoi(string(parts[1]))
	if err != nil {
		return errors.New("is too large: at most 1000M")
	}
	switch string(parts[2]) {
	case "k":
		n *= 1000
	case "M":
		n *= 1_000_000
	}
	switch {
	case n < 1:
		return errors.New("must allow at least 1")
	case n > maxRate:
		return errors.New("is too large: at most 1000M")
	}
	*r = Rate{N: n, Per: rateUnits[string(parts[3])]}
	return nil
}
