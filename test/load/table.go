package load

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Markdown is the report for people: the machine, the command, a table of all rows
// with their ratios to the first baseline, a small one for each further baseline, and
// one of the targets.
func (r Report) Markdown() string {
	var out strings.Builder
	r.writeFacts(&out)
	first := r.baseline()
	roles := r.roles()
	header := []string{"answer", "body", "connections", "row", "requests/s", "median ms", "p99 ms"}
	for _, role := range roles {
		header = append(header, role+" CPU µs/request")
	}
	for _, role := range roles {
		header = append(header, role+" MiB")
	}
	if first != "" {
		header = append(header, ratioHeader...)
	}
	table := [][]string{header}
	for _, row := range r.Rows {
		table = append(table, row.cells(roles, first))
	}
	writeTable(&out, table, 4)
	for _, note := range r.Notes {
		fmt.Fprintf(&out, "\n%s\n", note)
	}
	for _, b := range r.Baselines[min(1, len(r.Baselines)):] {
		r.writeComparison(&out, b.Name)
	}
	r.writeChunks(&out)
	writeVerdicts(&out, r.Verdicts)
	return out.String()
}

// writeFacts are the sentences above the tables.
func (r Report) writeFacts(out *strings.Builder) {
	fmt.Fprintf(out, "Measured on %s: %s.\n\n", r.Started.UTC().Format(time.DateOnly), r.Machine)
	each := fmt.Sprintf("%v each", r.Duration)
	if r.Requests > 0 {
		each = fmt.Sprintf("%d requests each", r.Requests)
	}
	fmt.Fprintf(out, "Commit %s, %d rounds of %s, rows taking turns; medians over the rounds", r.Commit, r.Rounds, each)
	if first := r.baseline(); first != "" {
		fmt.Fprintf(out, "; ratios are to “%s” in the same round, × CPU that of all of a gateway's processes", first)
	}
	fmt.Fprintf(out, ".\nCommand: `%s`\n\n", r.Command)
}

// baseline is the one of the large table; "" if there is none.
func (r Report) baseline() string {
	if len(r.Baselines) == 0 {
		return ""
	}
	return r.Baselines[0].Name
}

var ratioHeader = []string{"× CPU", "× median", "× requests/s"}

// writeComparison is the table of the rows that are compared with one more baseline.
func (r Report) writeComparison(out *strings.Builder, baseline string) {
	table := [][]string{append([]string{"answer", "body", "connections", "row"}, ratioHeader...)}
	for _, row := range r.Rows {
		if _, compared := row.To[baseline]; compared && row.Target != baseline {
			table = append(table, append(row.place(), row.ratioCells(baseline)...))
		}
	}
	if len(table) == 1 {
		return
	}
	fmt.Fprintf(out, "\nCompared with “%s” in the same round:\n\n", baseline)
	writeTable(out, table, 4)
}

// roles are the gateway's, in order of name.
func (r Report) roles() []string {
	var roles []string
	for _, row := range r.Rows {
		for role := range row.CPU {
			if role != RoleClient && role != RoleUpstream && !slices.Contains(roles, role) {
				roles = append(roles, role)
			}
		}
	}
	slices.Sort(roles)
	return roles
}

const nothing = "–"

// place is where a row stands: its case and its name.
func (row Row) place() []string {
	return []string{answerName(row.Stream), sizeName(row.BodyBytes), fmt.Sprint(row.Connections), row.Target}
}

func (row Row) cells(roles []string, baseline string) []string {
	cells := append(row.place(), fmt.Sprintf("%.0f", row.PerSecond.Median),
		fmt.Sprintf("%.2f", row.MedianMS.Median), fmt.Sprintf("%.2f", row.P99MS.Median))
	for _, role := range roles {
		if used, ok := row.CPU[role]; ok {
			cells = append(cells, fmt.Sprintf("%.0f", used.Median))
		} else {
			cells = append(cells, nothing)
		}
	}
	for _, role := range roles {
		if held, ok := row.Memory[role]; ok {
			cells = append(cells, fmt.Sprintf("%.0f", held.Resident.Median))
		} else {
			cells = append(cells, nothing)
		}
	}
	if baseline != "" {
		cells = append(cells, row.ratioCells(baseline)...)
	}
	return cells
}

func (row Row) ratioCells(baseline string) []string {
	ratios, compared := row.To[baseline]
	if !compared {
		return []string{nothing, nothing, nothing}
	}
	cpu := nothing
	if ratios.GatewayCPU != nil {
		cpu = fmt.Sprintf("%.2f", ratios.GatewayCPU.Median)
	}
	return []string{cpu, fmt.Sprintf("%.2f", ratios.MedianMS.Median), fmt.Sprintf("%.2f", ratios.PerSecond.Median)}
}

// writeTable aligns the columns, the first ones to the left, numbers to the right.
func writeTable(out *strings.Builder, table [][]string, left int) {
	widths := make([]int, len(table[0]))
	for _, cells := range table {
		for i, cell := range cells {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for n, cells := range table {
		for i, cell := range cells {
			space := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			if i < left {
				fmt.Fprintf(out, "| %s%s ", cell, space)
			} else {
				fmt.Fprintf(out, "| %s%s ", space, cell)
			}
		}
		out.WriteString("|\n")
		if n > 0 {
			continue
		}
		for i, width := range widths {
			if i < left {
				out.WriteString("|" + strings.Repeat("-", width+2))
			} else {
				out.WriteString("|" + strings.Repeat("-", width+1) + ":")
			}
		}
		out.WriteString("|\n")
	}
}
