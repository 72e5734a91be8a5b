package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/test/load"
	"github.com/postern-proxy/postern/wire"
)

// The ways a request's body may go, as the ends of the names of Envoy's counters.
const (
	throughEnvoy      = "http_transform.rq_transformed"
	throughNoop       = "ext_proc.noop.streams_started"
	throughFind       = "ext_proc." + wire.LaneFind + ".streams_started"
	throughUnderstand = "ext_proc." + wire.LaneUnderstand + ".streams_started"
)

// way is what a row's requests must count in its Envoy, and that nothing else does.
type way struct {
	admin  string                       // Envoy's socket
	passes func(bodyBytes int) []string // the ways that one request takes, each once
}

// always are the same ways whatever the body's size.
func always(ways ...string) func(int) []string {
	return func(int) []string { return ways }
}

// check sends one request and sees which way it went.
func (w way) check(ctx context.Context, c load.Case, ask func() error) error {
	before, err := w.counters(ctx)
	if err != nil {
		return err
	}
	if err := ask(); err != nil {
		return err
	}
	after, err := w.counters(ctx)
	if err != nil {
		return err
	}
	went := map[string]int64{}
	for name, count := range after {
		if moved := count - before[name]; moved != 0 {
			went[name] = moved
		}
	}
	wanted := map[string]int64{}
	for _, name := range w.passes(c.BodyBytes) {
		wanted[name] = 1
	}
	if !maps.Equal(went, wanted) {
		return fmt.Errorf("a request went another way than this row's: Envoy counted %s, not %s", inWords(went), inWords(wanted))
	}
	return nil
}

// counters are those of the ways, by the ends of their names.
func (w way) counters(ctx context.Context) (map[string]int64, error) {
	all, err := envoy.Admin{Socket: w.admin}.Stats(ctx, `.*\.(http_transform\.rq_transformed|ext_proc\..*streams_started)`)
	if err != nil {
		return nil, err
	}
	counts := map[string]int64{}
	for name, count := range all {
		if _, end, ok := strings.Cut(name, ".ext_proc."); ok {
			counts["ext_proc."+end] += count
		} else {
			counts[throughEnvoy] += count
		}
	}
	return counts, nil
}

func inWords(counts map[string]int64) string {
	if len(counts) == 0 {
		return "nothing"
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return strings.Join(words, " and ")
}
