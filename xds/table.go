package xds

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// routeKind is the type whose version is the Envoy's: every version changes it.
const routeKind = "RouteConfiguration"

// Routing is the version that an Envoy routes by, which is not the last one if it refused
// that; empty: it has none.
func (e Envoy) Routing() string { return e.Accepted[routeKind] }

// State says in a few words how an Envoy stands to the version that is offered:
// "current", "refused …", "waits: …", "behind" or "gone …".
func (e Envoy) State(offered string, now time.Time) string {
	switch {
	case !e.Until.IsZero():
		return "gone " + now.Sub(e.Until).Round(time.Second).String()
	case len(e.Refused) > 0:
		kinds := make([]string, 0, len(e.Refused))
		for _, r := range e.Refused {
			kinds = append(kinds, r.Type)
		}
		return "refused " + strings.Join(kinds, ", ")
	case len(e.Waiting) > 0:
		return "has not answered: " + strings.Join(e.Waiting, ", ")
	case e.Accepted[routeKind] != offered:
		return "behind"
	}
	return "current"
}

// Table is the status as people read it: a line an Envoy, with what it refused below.
// It is empty where no Envoy is known.
func (s Status) Table(now time.Time) string {
	if len(s.Envoys)+len(s.Gone) == 0 {
		return ""
	}
	var out strings.Builder
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ENVOY\tCLUSTER\tCONNECTED\tVERSION\tSTATE")
	for _, e := range append(append([]Envoy(nil), s.Envoys...), s.Gone...) {
		until := now
		if !e.Until.IsZero() {
			until = e.Until
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", dash(e.Node), dash(e.Cluster),
			until.Sub(e.Since).Round(time.Second), dash(e.Accepted[routeKind]), e.State(s.Offered, now))
	}
	_ = table.Flush() // a strings.Builder takes everything
	for _, e := range s.Envoys {
		for _, r := range e.Refused {
			fmt.Fprintf(&out, "%s refused %s %s (%s): %s\n", dash(e.Node), r.Type, r.Version, strings.Join(r.Resources, ", "), r.Reason)
		}
	}
	return out.String()
}

// dash stands where there is nothing. What Envoys call themselves is their own, so
// that nothing in it may move the cursor.
func dash(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, text)
	if text == "" {
		return "-"
	}
	return text
}
