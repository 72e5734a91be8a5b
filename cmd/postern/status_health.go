package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/health"
	"github.com/postern-proxy/postern/usage"
)

// providerReport is the health of a provider, of one of its models, of one of its keys,
// or of a model with one of the keys.
type providerReport struct {
	Provider string `json:"provider"`
	Key      string `json:"key,omitempty"`   // which of its keys, from "0", where it has several; empty: all
	Model    string `json:"model,omitempty"` // empty: the provider itself

	State        health.State `json:"state"`
	Since        time.Time    `json:"since,omitzero"`
	Until        time.Time    `json:"until,omitzero"`         // when one that is open is tried again
	LimitedUntil time.Time    `json:"limited_until,omitzero"` // until when it wants to be left alone (429)
	Error        health.Class `json:"error,omitempty"`        // why it failed last
	ErrorAt      time.Time    `json:"error_at,omitzero"`
	GoodAt       time.Time    `json:"good_at,omitzero"`              // when it answered last, a client or a probe
	FirstByte    float64      `json:"first_byte_ms,omitempty"`       // average, in milliseconds
	PerToken     float64      `json:"ms_per_output_token,omitempty"` // likewise
	Probe        *probeReport `json:"probe,omitempty"`               // of a provider itself; missing: it was not asked
}

// probeReport is how a provider answered when it was asked last.
type probeReport struct {
	At     time.Time    `json:"at"`
	Result string       `json:"result"`          // good or failed
	Error  health.Class `json:"error,omitempty"` // why it is not good
	Took   float64      `json:"took_ms"`
}

// logReport is how much of the access log never came.
type logReport struct {
	Entries  uint64    `json:"missing_entries"`
	Requests uint64    `json:"missing_requests"`
	At       time.Time `json:"at,omitzero"`       // when Envoy answered last; missing: it has not yet
	Failure  string    `json:"failure,omitempty"` // why it did not when it was asked last
	Trouble  string    `json:"trouble,omitempty"` // why what came is not on the disk
}

func logReportOf(gap usage.Gap, trouble string) logReport {
	return logReport{Entries: gap.Missing, Requests: gap.Requests, At: gap.At, Failure: gap.Failure, Trouble: trouble}
}

// reportProviders tells of each provider; asked is how they answered to probes.
func (m *meters) reportProviders(asked map[string]health.Outcome) []providerReport {
	views := m.tracker.Views()
	reports := make([]providerReport, 0, len(views))
	for _, v := range views {
		one := providerReport{
			Provider: v.Provider, Key: v.Key, Model: v.Model, State: v.State, Since: v.Since, Until: v.Until, LimitedUntil: v.LimitedUntil,
			Error: v.Class, ErrorAt: v.ErrorAt, GoodAt: v.GoodAt,
			FirstByte: milliseconds(v.FirstByte), PerToken: milliseconds(v.PerToken),
		}
		if o, known := asked[v.Provider]; known && v.Model == "" && v.Key == "" {
			one.Probe = &probeReport{At: o.At, Result: o.Result.String(), Error: o.Class, Took: milliseconds(o.Duration)}
		}
		reports = append(reports, one)
	}
	return reports
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}

// reportOrder names the providers of each group, for the models whose groups are in
// another order than configured.
func (g *gate) reportOrder(cfg *config.Config) map[string][]string {
	g.changing.Lock()
	order := g.plan.Order // never changed, only replaced
	g.changing.Unlock()
	named := map[string][]string{}
	for entry, places := range order {
		if cfg.Models[entry] == nil {
			continue
		}
		route := cfg.Models[entry].UsableRoute(cfg.Providers)
		for _, place := range places {
			if place < len(route) {
				named[entry] = append(named[entry], providersOf(route[place]))
			}
		}
	}
	return named
}

// providersOf names the providers of a group.
func providersOf(group []config.Target) string {
	var names []string
	for _, target := range group {
		if !slices.Contains(names, target.Provider) {
			names = append(names, target.Provider)
		}
	}
	return strings.Join(names, ", ")
}

func printMetrics(out io.Writer, r report, now time.Time) {
	if r.Metrics != "" {
		fmt.Fprintf(out, "metrics        http://%s/metrics\n", r.Metrics)
	}
	if said := r.Log.words(now); said != "" {
		fmt.Fprintf(out, "access log     %s\n", said)
	}
	if r.Log.Trouble != "" {
		fmt.Fprintf(out, "access log     %s\n", r.Log.Trouble)
	}
}

// words say how complete the log is; empty if nobody knows yet.
func (l *logReport) words(now time.Time) string {
	said := "complete"
	if l.Entries > 0 || l.Requests > 0 {
		said = fmt.Sprintf("never came: %d entries, %d of them requests", l.Entries, l.Requests)
	}
	switch {
	case l.Failure == "" && l.At.IsZero():
		return ""
	case l.Failure == "":
		return said
	case l.At.IsZero():
		return "not known, Envoy's counters cannot be read: " + l.Failure
	}
	return fmt.Sprintf("%s as of %s ago, Envoy's counters cannot be read since: %s", said, ago(l.At, now), l.Failure)
}

// The widths of the table, which fits into 80 columns.
const (
	widestName = 28
	widthState = 9
	widthSince = 6
	widthByte  = 10
	widthNotes = 80 - widestName - widthState - widthSince - widthByte - 4
)

// printProviders prints a line for each provider and model. What is said of one and has
// no room goes on below.
func printProviders(out io.Writer, r report, now time.Time) {
	shown := slices.DeleteFunc(slices.Clone(r.Providers), func(p providerReport) bool { return p.unremarkable(now) })
	if len(shown) == 0 {
		return
	}
	names := make([]string, len(shown))
	width := len("provider")
	for i, p := range shown {
		names[i] = p.name()
		width = max(width, len([]rune(names[i])))
	}
	fmt.Fprintln(out)
	row := func(name, state, since, first, note string) {
		line := fmt.Sprintf("%-*s %-*s %-*s %*s %s", width, name, widthState, state, widthSince, since, widthByte, first, note)
		fmt.Fprintln(out, strings.TrimRight(line, " "))
	}
	row("PROVIDER", "STATE", "SINCE", "FIRST BYTE", "LAST")
	for i, p := range shown {
		notes := wrapped(p.notes(now), widthNotes+widestName-width)
		row(names[i], p.word(now), ago(p.Since, now), shortTime(p.FirstByte), notes[0])
		for _, more := range notes[1:] {
			row("", "", "", "", more)
		}
	}
	for _, entry := range slices.Sorted(maps.Keys(r.Order)) {
		fmt.Fprintf(out, "order of %s: %s\n", clip(entry, widestName), strings.Join(r.Order[entry], " > "))
	}
}

// name is what stands in the table: a model and a key stand below their provider.
func (p *providerReport) name() string {
	key := ""
	if p.Key != "" {
		key = "#" + p.Key
	}
	switch {
	case p.Model == "" && key == "":
		return clip(p.Provider, widestName)
	case p.Model == "":
		return "  " + key
	case key == "":
		return "  " + clip(p.Model, widestName-2)
	}
	return "  " + clip(p.Model, widestName-3-len(key)) + " " + key
}

// unremarkable says that it is a model with one key that is as all the others are.
func (p *providerReport) unremarkable(now time.Time) bool {
	return p.Key != "" && p.Model != "" && p.State == health.Closed && !p.LimitedUntil.After(now)
}

// word is the state as people say it.
func (p *providerReport) word(now time.Time) string {
	if p.State != health.Open && p.LimitedUntil.After(now) {
		return "limited"
	}
	return string(p.State)
}

// notes are what is said of a provider beside its state.
func (p *providerReport) notes(now time.Time) []string {
	var notes []string
	if p.Error != "" {
		notes = append(notes, fmt.Sprintf("%s %s ago", p.Error, ago(p.ErrorAt, now)))
	}
	if p.State == health.Open && p.Until.After(now) {
		notes = append(notes, "retry in "+shortSpan(p.Until.Sub(now)))
	}
	if p.LimitedUntil.After(now) {
		notes = append(notes, "limited for "+shortSpan(p.LimitedUntil.Sub(now)))
	}
	if p.Probe != nil {
		word := p.Probe.Result
		if p.Probe.Error != "" {
			word = string(p.Probe.Error)
		}
		notes = append(notes, fmt.Sprintf("probe %s %s ago", word, ago(p.Probe.At, now)))
	}
	return notes
}

// wrapped puts notes into lines of a width; there is at least one.
func wrapped(notes []string, width int) []string {
	lines := []string{""}
	for _, note := range notes {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = note
		case len(*last)+2+len(note) <= width:
			*last += ", " + note
		default:
			lines = append(lines, note)
		}
	}
	return lines
}

// clip is a text of at most so many letters. Names are printable: a configuration holds
// no others.
func clip(text string, most int) string {
	letters := []rune(text)
	if len(letters) > most {
		letters = append(letters[:most-1], '…')
	}
	return string(letters)
}

func ago(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return shortSpan(max(0, now.Sub(t)))
}

// shortSpan is a time in its largest unit.
func shortSpan(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// shortTime is milliseconds, or seconds where those are many; empty: not known.
func shortTime(ms float64) string {
	switch {
	case ms == 0:
		return ""
	case ms < 10:
		return fmt.Sprintf("%.1fms", ms)
	case ms < 10_000:
		return fmt.Sprintf("%.0fms", ms)
	}
	return fmt.Sprintf("%.1fs", ms/1000)
}
