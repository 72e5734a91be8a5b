package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postern-proxy/postern/test/load"
)

// settings are the flags.
type settings struct {
	warmup, duration   time.Duration
	rounds, requests   int
	together           int
	connections, sizes numbers
	answers, rows      words
	out, postern       string
	skipPostern        bool
	quick, threshold   bool

	chosen map[string]bool // the flags that were given
}

// What is measured if no flag says otherwise. The full run is bounded by a person's
// patience: every size at both numbers of connections with plain answers, and of
// streams, whose own cost does not depend on the request's body, two sizes.
var (
	allConnections = numbers{1, 16}
	allSizes       = numbers{300, 4_000, 30_000, 200_000}
	streamSizes    = numbers{300, 30_000}
	curveSizes     = numbers{1_000, 2_000, 4_000, 6_000, 8_000, 12_000, 16_000, 24_000, 32_000, 48_000, 64_000, 100_000}
)

const (
	streamConnections = 16
	curveConnections  = 4
	quickSize         = 300
)

func parse(arguments []string) (settings, error) {
	s := settings{connections: allConnections, sizes: allSizes, answers: words{"plain", "streamed"}, chosen: map[string]bool{}}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.DurationVar(&s.warmup, "warmup", 400*time.Millisecond, "before each round of each row, not measured")
	flags.DurationVar(&s.duration, "duration", 1500*time.Millisecond, "of each round of each row")
	flags.IntVar(&s.rounds, "rounds", 3, "turns of each row in each case")
	flags.IntVar(&s.requests, "requests", 0, "requests of each round, in place of its duration")
	flags.IntVar(&s.together, "together", 1, "events of a stream that the mock provider sends in one write")
	flags.Var(&s.connections, "connections", "numbers of connections to try, each with all bodies and answers")
	flags.Var(&s.sizes, "bodies", "sizes of the request's body to try, in bytes, each with all connections and answers")
	flags.Var(&s.answers, "answers", "answers to try: plain, streamed; each with all connections and bodies")
	flags.Var(&s.rows, "rows", "rows to measure, by name: "+strings.Join(rowNames(), ", "))
	flags.StringVar(&s.out, "out", ".bench", "the folder for the report: bench.md and bench.json, or threshold.md and threshold.json")
	flags.StringVar(&s.postern, "postern", "bin/postern", "the postern binary")
	flags.BoolVar(&s.skipPostern, "skip-postern", false, "measure without Postern")
	flags.BoolVar(&s.quick, "quick", false, "measure small bodies only, and for a shorter time")
	flags.BoolVar(&s.threshold, "threshold", false, "find the size from which on Go reads bodies cheaper than Envoy")
	if err := flags.Parse(arguments); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("%q is not a flag", flags.Arg(0))
	}
	flags.Visit(func(f *flag.Flag) { s.chosen[f.Name] = true })
	s = s.preset()
	return s, errors.Join(s.check(), s.checkMode())
}

// preset gives flags that were not given the values of a quick or a threshold run.
func (s settings) preset() settings {
	switch {
	case s.quick:
		preset(s, "bodies", &s.sizes, numbers{quickSize})
		preset(s, "duration", &s.duration, time.Second)
		preset(s, "warmup", &s.warmup, 300*time.Millisecond)
	case s.threshold:
		preset(s, "bodies", &s.sizes, curveSizes)
		preset(s, "connections", &s.connections, numbers{curveConnections})
		preset(s, "answers", &s.answers, words{"plain"})
		preset(s, "rows", &s.rows, words{rowEnvoyReads, rowGoReads})
	}
	return s
}

func preset[T any](s settings, name string, into *T, value T) {
	if !s.chosen[name] {
		*into = value
	}
}

func (s settings) check() error {
	switch {
	case s.rounds < 1:
		return fmt.Errorf("--rounds must be at least 1")
	case s.requests < 0, s.requests == 0 && s.duration <= 0:
		return fmt.Errorf("--duration or --requests must be positive")
	case len(s.connections) == 0 || slices.Min(s.connections) < 1:
		return fmt.Errorf("--connections must be positive numbers")
	case len(s.sizes) == 0 || slices.Min(s.sizes) < load.SmallestBody:
		return fmt.Errorf("--bodies must be at least %d", load.SmallestBody)
	case len(s.answers) == 0:
		return fmt.Errorf("--answers must be plain, streamed or both")
	}
	for _, answer := range s.answers {
		if answer != "plain" && answer != "streamed" {
			return fmt.Errorf("--answers: %q is neither plain nor streamed", answer)
		}
	}
	return nil
}

// checkMode is about flags that do not go together.
func (s settings) checkMode() error {
	switch {
	case s.quick && s.threshold:
		return fmt.Errorf("--quick and --threshold are two different runs")
	case s.threshold && (len(s.connections) != 1 || len(s.answers) != 1):
		return fmt.Errorf("--threshold needs one number of connections and one kind of answer")
	case s.threshold && (s.skipPostern || s.chosen["rows"]):
		return fmt.Errorf("--threshold has its own two rows, and needs Postern for them")
	}
	return nil
}

// cases are what to measure, plain answers first: all combinations of the flags, or,
// if none of them was given, a choice that does not take too long.
func (s settings) cases() []load.Case {
	var cases []load.Case
	chosen := s.threshold || s.chosen["connections"] || s.chosen["bodies"] || s.chosen["answers"]
	for _, stream := range []bool{false, true} {
		if !slices.Contains(s.answers, map[bool]string{false: "plain", true: "streamed"}[stream]) {
			continue
		}
		for _, size := range s.sizes {
			for _, connections := range s.connections {
				if stream && !chosen && (connections != streamConnections || !slices.Contains(streamSizes, size)) {
					continue
				}
				cases = append(cases, load.Case{Connections: connections, Stream: stream, BodyBytes: size})
			}
		}
	}
	return cases
}

// numbers and words are flags of values with commas between them.
type (
	numbers []int
	words   []string
)

func (n *numbers) String() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(*n), " ", ","), "[]")
}

func (n *numbers) Set(text string) error {
	*n = nil
	for word := range strings.SplitSeq(text, ",") {
		number, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil {
			return fmt.Errorf("%q is not a number", word)
		}
		*n = append(*n, number)
	}
	return nil
}

func (w *words) String() string { return strings.Join(*w, ",") }

func (w *words) Set(text string) error {
	*w = nil
	for word := range strings.SplitSeq(text, ",") {
		*w = append(*w, strings.TrimSpace(word))
	}
	return nil
}
