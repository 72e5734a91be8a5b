package usage

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// The size of a terminal that everybody has.
const (
	TopWidth  = 80
	TopHeight = 24
)

// Top draws a snapshot as at most height lines of at most width columns; below 60 × 8
// it is drawn as if it were that large. Routes and providers share the room: each gets
// at least a third of it if it needs it, and says how many it left out.
func Top(s Snapshot, width, height int) string {
	width, height = max(width, 60), max(height, 8)
	s.Total.Name = "total"
	lines := []string{headline(s), ""}
	room := height - len(lines) - 4 // two headings, an empty line, the total
	third := max(1, room/3)
	providers := min(len(s.Providers), max(third, room-len(s.Routes)))
	routes := min(len(s.Routes), room-providers)
	lines = append(lines, heading("ROUTE", "req/s", width))
	lines = append(lines, rows(s.Routes, routes, width)...)
	lines = append(lines, row(s.Total, width), "", heading("PROVIDER", "att/s", width))
	lines = append(lines, rows(s.Providers, providers, width)...)
	for i, line := range lines {
		lines[i] = strings.TrimRight(fit(line, width), " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

func headline(s Snapshot) string {
	text := fmt.Sprintf("postern  %s  config %s  in flight %d  last %s",
		s.At.Format("15:04:05"), first(clean(s.Version, 16), "-"), s.InFlight, s.Span.Round(time.Second))
	if s.Missing > 0 {
		text += "  LOG GAP " + short(float64(s.Missing))
	}
	return text
}

// numbers is the width of all columns but the name.
const numbers = 54

func heading(what, rate string, width int) string {
	return fmt.Sprintf("%-*s %7s %8s %8s %7s %9s %5s %4s", width-numbers-1, what, rate, "p50", "p95", "tok/s", "USD/h", "err", "%")
}

// rows draws the first so many rows; the last of them says what is left out.
func rows(all []Row, most, width int) []string {
	lines := make([]string, 0, most)
	for i, r := range all {
		if i == most-1 && len(all) > most {
			return append(lines, fmt.Sprintf("… and %d more", len(all)-i))
		}
		if i == most {
			break
		}
		lines = append(lines, row(r, width))
	}
	return lines
}

func row(r Row, width int) string {
	percent := "-"
	if r.Requests > 0 {
		percent = fmt.Sprintf("%.0f", math.Ceil(100*float64(r.Errors)/float64(r.Requests)))
	}
	cost := amount(r.CostPerHour)
	if r.Unpriced > 0 {
		cost += "+?" // and something whose price is not known
	}
	name := width - numbers - 1
	return fmt.Sprintf("%s %7s %8s %8s %7s %9s %5s %4s", pad(clean(r.Name, maxName), name),
		short(r.Rate), took(r.FirstByte50), took(r.FirstByte95), short(r.TokenRate), cost, short(float64(r.Errors)), percent)
}

// took is a duration in three digits.
func took(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1fms", d.Seconds()*1000)
	case d < time.Second:
		return fmt.Sprintf("%.0fms", d.Seconds()*1000)
	case d < 100*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return fmt.Sprintf("%.0fs", d.Seconds())
}

// short is a number in at most six characters: 0.4, 37, 12.3k, 4.5M.
func short(n float64) string {
	switch {
	case math.IsNaN(n) || n <= 0:
		return "0"
	case n < 0.05:
		return "<0.1"
	case n < 9.95:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", n), ".0")
	case n < 9999.5:
		return fmt.Sprintf("%.0f", n)
	case n < 999_950:
		return fmt.Sprintf("%.1fk", n/1e3)
	case n < 999_950_000:
		return fmt.Sprintf("%.1fM", n/1e6)
	}
	return fmt.Sprintf("%.0fG", min(n/1e9, 99999))
}

// amount is dollars: small ones must not look like nothing.
func amount(n float64) string {
	switch {
	case math.IsNaN(n) || n <= 0:
		return "0"
	case n < 0.01:
		return "<0.01"
	case n < 1000:
		return fmt.Sprintf("%.2f", n)
	}
	return short(n)
}

// pad makes a text exactly so wide, in characters. Names are cleaned before, so each
// character is one column except in scripts that take two.
func pad(text string, width int) string {
	text = fit(text, width)
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

func fit(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	runes := []rune(text)
	return string(runes[:width-1]) + "…"
}
