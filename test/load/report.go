package load

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Row is one target in one case, over all rounds.
type Row struct {
	Target string `json:"target"`
	Case
	Requests   int                  `json:"requests"` // of all rounds
	PerSecond  Spread               `json:"requests_per_second"`
	MedianMS   Spread               `json:"median_ms"`
	P99MS      Spread               `json:"p99_ms"`
	FirstMS    Spread               `json:"first_byte_of_body_median_ms"`
	CPU        map[string]Spread    `json:"cpu_us_per_request"` // by role
	GatewayCPU Spread               `json:"gateway_cpu_us_per_request"`
	Memory     map[string]MemoryRow `json:"memory_mib"`   // by role
	To         map[string]Ratios    `json:"to,omitempty"` // by the baseline's name; nil if it has none
}

// MemoryRow is a role's resident memory in MiB: at the end of the rounds, and the
// highest since its processes began.
type MemoryRow struct {
	Resident Spread  `json:"resident"`
	Peak     float64 `json:"peak"`
}

// Ratios compare a row with the baseline's in the same case, round by round.
type Ratios struct {
	PerSecond  Spread  `json:"requests_per_second"`
	MedianMS   Spread  `json:"median_ms"`
	P99MS      Spread  `json:"p99_ms"`
	GatewayCPU *Spread `json:"gateway_cpu,omitempty"` // if both have a gateway
}

// Report is one run of the bench.
type Report struct {
	Machine  Machine       `json:"machine"`
	Started  time.Time     `json:"started"`
	Took     time.Duration `json:"took_ns"`
	Command  string        `json:"command"`
	Commit   string        `json:"commit"`
	Rounds   int           `json:"rounds"`
	Duration time.Duration `json:"round_ns"`
	Requests int           `json:"round_requests,omitempty"`

	Baselines []Baseline  `json:"baselines"`
	Rows      []Row       `json:"rows"`
	Verdicts  []Verdict   `json:"verdicts,omitempty"`
	Chunks    []ChunkCost `json:"chunks,omitempty"`
	Notes     []string    `json:"notes,omitempty"` // sentences below the large table
}

func spread(rounds []round, value func(round) float64) Spread {
	values := make([]float64, len(rounds))
	for i, one := range rounds {
		values[i] = value(one)
	}
	return SpreadOf(values)
}

// newRow is a target's row; all are the rounds of the case, by the target's name.
func newRow(target string, c Case, all map[string][]round, baselines []Baseline) Row {
	rounds := all[target]
	row := Row{
		Target: target, Case: c,
		PerSecond:  spread(rounds, func(r round) float64 { return r.perSecond }),
		MedianMS:   spread(rounds, func(r round) float64 { return r.median }),
		P99MS:      spread(rounds, func(r round) float64 { return r.p99 }),
		FirstMS:    spread(rounds, func(r round) float64 { return r.first }),
		GatewayCPU: spread(rounds, func(r round) float64 { return r.gateway }),
		CPU:        map[string]Spread{},
		Memory:     map[string]MemoryRow{},
	}
	if len(rounds) == 0 {
		return row
	}
	for _, one := range rounds {
		row.Requests += one.requests
	}
	for role := range rounds[0].cpu {
		row.CPU[role] = spread(rounds, func(r round) float64 { return r.cpu[role] })
		row.Memory[role] = MemoryRow{
			Resident: spread(rounds, func(r round) float64 { return mebibytes(r.memory[role].Resident) }),
			Peak:     spread(rounds, func(r round) float64 { return mebibytes(r.memory[role].Peak) }).Max,
		}
	}
	for _, b := range baselines {
		if len(b.Rows) > 0 && !slices.Contains(b.Rows, target) {
			continue
		}
		if ratios := newRatios(rounds, all[b.Name]); ratios != nil {
			if row.To == nil {
				row.To = map[string]Ratios{}
			}
			row.To[b.Name] = *ratios
		}
	}
	return row
}

func newRatios(rounds, baseline []round) *Ratios {
	if len(baseline) != len(rounds) {
		return nil
	}
	ratio := func(value func(round) float64) *Spread {
		var values []float64
		for i := range rounds {
			if below := value(baseline[i]); below > 0 && value(rounds[i]) > 0 {
				values = append(values, value(rounds[i])/below)
			}
		}
		if len(values) == 0 {
			return nil
		}
		s := SpreadOf(values)
		return &s
	}
	perSecond, median, p99 := ratio(func(r round) float64 { return r.perSecond }),
		ratio(func(r round) float64 { return r.median }), ratio(func(r round) float64 { return r.p99 })
	if perSecond == nil || median == nil || p99 == nil {
		return nil
	}
	return &Ratios{PerSecond: *perSecond, MedianMS: *median, P99MS: *p99, GatewayCPU: ratio(func(r round) float64 { return r.gateway })}
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

// Write puts the report into a folder, which is made if need be: name.json and
// name.md.
func (r Report) Write(folder, name string) error { return write(folder, name, r) }

func write(folder, name string, report interface{ Markdown() string }) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, name+".json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, name+".md"), []byte(report.Markdown()), 0o644)
}
