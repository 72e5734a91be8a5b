package load

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Markdown is the report for people: the machine, the command, and one table.
func (r Report) Markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, "Measured on %s: %s.\n\n", r.Started.UTC().Format(time.DateOnly), r.Machine)
	each := fmt.Sprintf("%v each", r.Duration)
	if r.Requests > 0 {
		each = fmt.Sprintf("%d requests each", r.Requests)
	}
	fmt.Fprintf(&out, "Commit %s, %d rounds of %s, rows taking turns; medians over the rounds", r.Commit, r.Rounds, each)
	if r.Baseline != "" {
		fmt.Fprintf(&out, "; ratios are to “%s” in the same round", r.Baseline)
	}
	fmt.Fprintf(&out, ".\nCommand: `%s`\n\n", r.Command)
	roles := r.roles()
	header := []string{"answer", "body", "connections", "row", "requests/s", "median ms", "p99 ms"}
	for _, role := range roles {
		header = append(header, role+" CPU µs/request")
	}
	for _, role := range roles {
		header = append(header, role+" MiB")
	}
	if r.Baseline != "" {
		header = append(header, "× CPU", "× median", "× requests/s")
	}
	table := [][]string{header}
	for _, row := range r.Rows {
		table = append(table, row.cells(roles, r.Baseline != ""))
	}
	writeTable(&out, table, 4)
	return out.String()
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

func (row Row) cells(roles []string, ratios bool) []string {
	cells := []string{
		answerName(row.Stream), sizeName(row.BodyBytes), fmt.Sprint(row.Connections), row.Target,
		fmt.Sprintf("%.0f", row.PerSecond.Median), fmt.Sprintf("%.2f", row.MedianMS.Median), fmt.Sprintf("%.2f", row.P99MS.Median),
	}
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
	if ratios {
		cells = append(cells, row.ratioCells()...)
	}
	return cells
}

func (row Row) ratioCells() []string {
	if row.ToBaseline == nil {
		return []string{nothing, nothing, nothing}
	}
	cpu := nothing
	if row.ToBaseline.GatewayCPU != nil {
		cpu = fmt.Sprintf("%.2f", row.ToBaseline.GatewayCPU.Median)
	}
	return []string{cpu, fmt.Sprintf("%.2f", row.ToBaseline.MedianMS.Median), fmt.Sprintf("%.2f", row.ToBaseline.PerSecond.Median)}
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
