package load

import (
	"fmt"
	"slices"
	"strings"
)

// Goal is how dear a row may be, as ratios to another row of the same round.
type Goal struct {
	Row    string  `json:"row"`
	Base   string  `json:"base"`
	Stream bool    `json:"stream"` // of streamed answers; else of plain ones
	CPU    float64 `json:"cpu"`    // of all of the gateway's processes, at most; 0: not stated
	Median float64 `json:"median"` // latency, at most; 0: not stated
}

// Verdict is what became of a goal in one case.
type Verdict struct {
	Goal   Goal `json:"goal"`
	Case   Case `json:"case"`
	CPU    Part `json:"cpu"`
	Median Part `json:"median"`
}

// Part is one number of a goal; the zero Part if the goal states none.
type Part struct {
	Measured float64 `json:"measured,omitempty"`
	AtMost   float64 `json:"at_most,omitempty"`
	Met      bool    `json:"met,omitempty"`
}

// Judge gives a verdict for each row that has a goal and was measured together
// with the goal's base.
func Judge(goals []Goal, rows []Row) []Verdict {
	var verdicts []Verdict
	for _, goal := range goals {
		for _, row := range rows {
			ratios, measured := row.To[goal.Base]
			if row.Target != goal.Row || row.Stream != goal.Stream || !measured {
				continue
			}
			var cpu float64
			if ratios.GatewayCPU != nil {
				cpu = ratios.GatewayCPU.Median
			}
			verdicts = append(verdicts, Verdict{
				Goal: goal, Case: row.Case, CPU: part(cpu, goal.CPU), Median: part(ratios.MedianMS.Median, goal.Median),
			})
		}
	}
	return verdicts
}

// part is one number; measured 0 says that it could not be, which is not met.
func part(measured, most float64) Part {
	if most == 0 {
		return Part{}
	}
	return Part{Measured: measured, AtMost: most, Met: measured > 0 && measured <= most}
}

// writeVerdicts is the table of targets: what was wanted and what became of it.
func writeVerdicts(out *strings.Builder, verdicts []Verdict) {
	if len(verdicts) == 0 {
		return
	}
	var met, all int
	table := [][]string{{"row", "compared with", "answer", "body", "connections", "× CPU", "at most", "", "× median", "at most", ""}}
	for _, v := range verdicts {
		cells := []string{v.Goal.Row, v.Goal.Base, answerName(v.Case.Stream), sizeName(v.Case.BodyBytes), fmt.Sprint(v.Case.Connections)}
		table = append(table, slices.Concat(cells, v.CPU.cells(), v.Median.cells()))
		for _, p := range []Part{v.CPU, v.Median} {
			if p.AtMost > 0 {
				all++
			}
			if p.Met {
				met++
			}
		}
	}
	fmt.Fprintf(out, "\nTargets: %d of %d are met.\n\n", met, all)
	writeTable(out, table, 5)
}

func (p Part) cells() []string {
	if p.AtMost == 0 {
		return []string{nothing, nothing, nothing}
	}
	measured, verdict := nothing, "not met"
	if p.Measured > 0 {
		measured = fmt.Sprintf("%.2f", p.Measured)
	}
	if p.Met {
		verdict = "met"
	}
	return []string{measured, fmt.Sprintf("%.2f", p.AtMost), verdict}
}
