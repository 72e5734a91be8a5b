// Command bench measures the gate: a mock provider asked directly, through a plain
// Envoy hop, and through Postern, in one run.
//
// The invariant: everything it compares ran on the same machine in the same run, in
// turns; if any request fails there is no report. The mock provider is a process of
// its own ("bench upstream"), so that its processor time can be told from the
// client's.
//
// Everything it starts is stopped before it ends, and by the kernel if it is killed
// (on Linux, the only system whose processes it can measure).
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/postern-proxy/postern/test/load"
)

func main() {
	runtime.LockOSThread() // children are bound to the life of the thread that starts them
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) > 1 && os.Args[1] == "upstream" {
		err = upstream(ctx, os.Args[2:])
	} else {
		err = command(ctx, os.Args[1:])
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

// settings are the flags.
type settings struct {
	warmup, duration   time.Duration
	rounds, requests   int
	together           int
	connections, sizes numbers
	answers, rows      words
	out, postern       string
	skipPostern        bool
}

func parse(arguments []string) (settings, error) {
	s := settings{connections: numbers{1, 16}, sizes: numbers{300}, answers: words{"plain", "streamed"}}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.DurationVar(&s.warmup, "warmup", 500*time.Millisecond, "before each round of each row, not measured")
	flags.DurationVar(&s.duration, "duration", 3*time.Second, "of each round of each row")
	flags.IntVar(&s.rounds, "rounds", 3, "turns of each row in each case")
	flags.IntVar(&s.requests, "requests", 0, "requests of each round, in place of its duration")
	flags.IntVar(&s.together, "together", 1, "events of a stream that the mock provider sends in one write")
	flags.Var(&s.connections, "connections", "numbers of connections to try")
	flags.Var(&s.sizes, "bodies", "sizes of the request's body to try, in bytes")
	flags.Var(&s.answers, "answers", "answers to try: plain, streamed")
	flags.Var(&s.rows, "rows", "rows to measure, by name; all if empty")
	flags.StringVar(&s.out, "out", ".bench", "the folder for bench.md and bench.json")
	flags.StringVar(&s.postern, "postern", "bin/postern", "the postern binary")
	flags.BoolVar(&s.skipPostern, "skip-postern", false, "measure without Postern")
	if err := flags.Parse(arguments); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("%q is not a flag", flags.Arg(0))
	}
	return s, s.check()
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

// cases are all combinations, plain answers first.
func (s settings) cases() []load.Case {
	var cases []load.Case
	for _, stream := range []bool{false, true} {
		if !slices.Contains(s.answers, map[bool]string{false: "plain", true: "streamed"}[stream]) {
			continue
		}
		for _, size := range s.sizes {
			for _, connections := range s.connections {
				cases = append(cases, load.Case{Connections: connections, Stream: stream, BodyBytes: size})
			}
		}
	}
	return cases
}

// upstream is the mock provider's process. It prints its address, and ends when
// its standard input does, that is, with the process that started it.
func upstream(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("bench upstream", flag.ContinueOnError)
	address := flags.String("listen", "127.0.0.1:0", "where to listen")
	together := flags.Int("together", 1, "events in one write")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	server := &load.Upstream{Together: *together}
	defer context.AfterFunc(ctx, server.Close)()
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		server.Close()
	}()
	fmt.Println(listener.Addr())
	err = server.Serve(listener)
	server.Close()
	return err
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
