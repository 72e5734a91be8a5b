package load

import (
	"fmt"
	"strings"
)

// Chunks compares two rows whose streams differ in their number of events alone, to say
// what one event costs.
type Chunks struct {
	Short  string  `json:"short"`
	Long   string  `json:"long"`
	Events int     `json:"events"`            // that the long stream has more
	AtMost float64 `json:"at_most,omitempty"` // µs of the gateway's processor time; 0: not stated
}

// ChunkCost is what an event costs in one case, in µs of processor time by role and of
// all of the gateway's processes.
type ChunkCost struct {
	Chunks
	Case    Case               `json:"case"`
	CPU     map[string]float64 `json:"cpu_us"`
	Gateway float64            `json:"gateway_cpu_us"`
}

// Met says that the cost is not above what it may be.
func (c ChunkCost) Met() bool { return c.Gateway <= c.AtMost }

// PerChunk gives the cost for each pair of rows that were measured in one case, by the
// medians of their rounds.
func PerChunk(pairs []Chunks, rows []Row) []ChunkCost {
	var costs []ChunkCost
	for _, pair := range pairs {
		for _, long := range rows {
			for _, short := range rows {
				if long.Target != pair.Long || short.Target != pair.Short || long.Case != short.Case || !long.Stream {
					continue
				}
				cost := ChunkCost{Chunks: pair, Case: long.Case, CPU: map[string]float64{}}
				for role, used := range long.CPU {
					cost.CPU[role] = (used.Median - short.CPU[role].Median) / float64(pair.Events)
				}
				cost.Gateway = (long.GatewayCPU.Median - short.GatewayCPU.Median) / float64(pair.Events)
				costs = append(costs, cost)
			}
		}
	}
	return costs
}

// writeChunks is the table of what an event costs.
func (r Report) writeChunks(out *strings.Builder) {
	if len(r.Chunks) == 0 {
		return
	}
	header := []string{"row", "body", "connections"}
	roles := r.roles()
	for _, role := range roles {
		header = append(header, role+" CPU µs/chunk")
	}
	table := [][]string{append(header, "together", "at most", "")}
	for _, c := range r.Chunks {
		cells := []string{c.Short, sizeName(c.Case.BodyBytes), fmt.Sprint(c.Case.Connections)}
		for _, role := range roles {
			cells = append(cells, fmt.Sprintf("%.1f", c.CPU[role]))
		}
		cells = append(cells, fmt.Sprintf("%.1f", c.Gateway))
		switch {
		case c.AtMost == 0:
			cells = append(cells, nothing, nothing)
		case c.Met():
			cells = append(cells, fmt.Sprintf("%.0f", c.AtMost), "met")
		default:
			cells = append(cells, fmt.Sprintf("%.0f", c.AtMost), "not met")
		}
		table = append(table, cells)
	}
	out.WriteString("\nWhat a chunk of a stream costs, by a stream that has more of them in the same round:\n\n")
	writeTable(out, table, 3)
}
