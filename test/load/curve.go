package load

import (
	"fmt"
	"slices"
	"strings"
)

// Curve compares two rows over the body's size: one that is cheap for small bodies,
// and one that is cheap for large ones.
type Curve struct {
	Report
	Small  string       `json:"small"` // the rows' names
	Large  string       `json:"large"`
	Points []CurvePoint `json:"points"` // by size
	CPU    Crossing     `json:"cpu_crossing"`
	Median Crossing     `json:"median_crossing"`
}

// CurvePoint is both rows at one size.
type CurvePoint struct {
	Case
	SmallCPU float64 `json:"small_cpu_us_per_request"` // of all of the gateway's processes
	LargeCPU float64 `json:"large_cpu_us_per_request"`
	SmallMS  float64 `json:"small_median_ms"`
	LargeMS  float64 `json:"large_median_ms"`
}

// Crossing is the size from which on the row for large bodies is not the dearer
// one at any measured size.
type Crossing struct {
	Bytes  float64 `json:"bytes,omitempty"`  // between two sizes, by straight lines
	Always bool    `json:"always,omitempty"` // at the smallest size already
	Never  bool    `json:"never,omitempty"`  // not at the largest size either
}

// NewCurve takes the rows of a report apart: those of its cases in which both rows
// were measured.
func NewCurve(report Report, small, large string) Curve {
	curve := Curve{Report: report, Small: small, Large: large}
	for _, s := range report.Rows {
		for _, l := range report.Rows {
			if s.Target == small && l.Target == large && s.Case == l.Case {
				curve.Points = append(curve.Points, CurvePoint{
					Case:     s.Case,
					SmallCPU: s.GatewayCPU.Median, LargeCPU: l.GatewayCPU.Median,
					SmallMS: s.MedianMS.Median, LargeMS: l.MedianMS.Median,
				})
			}
		}
	}
	slices.SortStableFunc(curve.Points, func(a, b CurvePoint) int { return a.BodyBytes - b.BodyBytes })
	curve.CPU = crossing(curve.Points, func(p CurvePoint) float64 { return p.LargeCPU - p.SmallCPU })
	curve.Median = crossing(curve.Points, func(p CurvePoint) float64 { return p.LargeMS - p.SmallMS })
	return curve
}

// crossing is behind the last point at which the row for large bodies is dearer:
// before it the order may change more than once, by chance.
func crossing(points []CurvePoint, dearer func(CurvePoint) float64) Crossing {
	for i, p := range slices.Backward(points) {
		here := dearer(p)
		switch {
		case here <= 0:
			continue
		case i == len(points)-1:
			return Crossing{Never: true}
		}
		next := points[i+1]
		share := here / (here - dearer(next))
		return Crossing{Bytes: float64(p.BodyBytes) + share*float64(next.BodyBytes-p.BodyBytes)}
	}
	return Crossing{Always: len(points) > 0}
}

// String is the crossing in words.
func (c Crossing) String() string {
	switch {
	case c.Always:
		return "below the smallest size"
	case c.Never:
		return "above the largest size"
	case c.Bytes == 0:
		return "unknown"
	default:
		return sizeName(int(c.Bytes))
	}
}

// Markdown is the curve for people.
func (c Curve) Markdown() string {
	var out strings.Builder
	c.writeFacts(&out)
	fmt.Fprintf(&out, "“%s” costs no more than “%s” from here on: CPU %s, median latency %s.\n\n", c.Large, c.Small, c.CPU, c.Median)
	if len(c.Points) > 0 {
		fmt.Fprintf(&out, "Each row had %s; CPU is that of all of a gateway's processes.\n\n", c.Points[0].load())
	}
	table := [][]string{{
		"body", c.Small + ": CPU µs/request", c.Large + ": CPU µs/request", "× CPU",
		c.Small + ": median ms", c.Large + ": median ms", "× median",
	}}
	for _, p := range c.Points {
		table = append(table, []string{
			sizeName(p.BodyBytes),
			fmt.Sprintf("%.0f", p.SmallCPU), fmt.Sprintf("%.0f", p.LargeCPU), quotient(p.LargeCPU, p.SmallCPU),
			fmt.Sprintf("%.2f", p.SmallMS), fmt.Sprintf("%.2f", p.LargeMS), quotient(p.LargeMS, p.SmallMS),
		})
	}
	writeTable(&out, table, 1)
	return out.String()
}

func quotient(a, b float64) string {
	if b == 0 {
		return nothing
	}
	return fmt.Sprintf("%.2f", a/b)
}

// Write puts the curve into a folder, as Report.Write does.
func (c Curve) Write(folder, name string) error { return write(folder, name, c) }
