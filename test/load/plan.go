package load

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"time"
)

// Roles whose processes are not the gateway's.
const (
	RoleClient   = "client"   // this process
	RoleUpstream = "upstream" // the mock provider
)

// Target is one thing to measure: a row of the table.
type Target struct {
	Name   string
	URL    string            // of its chat completions
	Header map[string]string // such as the credential
	Model  string            // the name in the body, which may choose a lane
	Roles  map[string][]int  // processes by role; the client's own is added

	// ChunkedUpTo is the largest body, in bytes, that is sent in chunks, without
	// its length before it, which may choose a lane too. 0: none is.
	ChunkedUpTo int
	// Events are those of its streamed answer, [DONE] among them. 0: StreamEvents.
	Events int
	// Largest is the largest body, in bytes, that this row is for. 0: any.
	Largest int

	// Check, if set, says before the rounds of a case whether a request goes the
	// way that the row is named for; ask sends one.
	Check func(ctx context.Context, c Case, ask func() error) error
}

// Baseline is a row that others are compared with.
type Baseline struct {
	Name string   `json:"name"`
	Rows []string `json:"rows,omitempty"` // the rows that are compared with it; all if empty
}

// Case is one way to ask.
type Case struct {
	Connections int  `json:"connections"`
	Stream      bool `json:"stream"`
	BodyBytes   int  `json:"body_bytes"`
}

// Plan is what to measure. In each round of a case every target has its turn.
type Plan struct {
	Targets  []Target
	Cases    []Case
	Rounds   int
	Warmup   time.Duration
	Duration time.Duration
	Requests int // in place of Duration, if positive

	Baselines []Baseline

	Processes Processes
	Progress  func(line string) // nil: silence
}

// round is what one target did in one round of one case.
type round struct {
	requests  int
	perSecond float64
	median    float64 // ms
	p99       float64 // ms
	first     float64 // ms, median
	cpu       map[string]float64
	gateway   float64 // µs a request, of all roles that are the gateway's
	memory    map[string]Memory
}

// Run measures everything, and gives the rows in order of cases, then targets. The
// first failed request ends it, and so does one that goes another way than its
// row's.
func (p Plan) Run(ctx context.Context) ([]Row, error) {
	var rows []Row
	for number, c := range p.Cases {
		targets := p.fitting(c)
		if err := check(ctx, targets, c); err != nil {
			return nil, err
		}
		rounds := map[string][]round{} // by the target's name
		for r := range p.Rounds {
			for _, target := range targets {
				p.sayf("case %d of %d (%s), round %d of %d: %s", number+1, len(p.Cases), c, r+1, p.Rounds, target.Name)
				one, err := p.measure(ctx, target, c)
				if err != nil {
					return nil, fmt.Errorf("%s, %s: %w", target.Name, c, err)
				}
				rounds[target.Name] = append(rounds[target.Name], one)
			}
		}
		for _, target := range targets {
			rows = append(rows, newRow(target.Name, c, rounds, p.Baselines))
		}
	}
	return rows, nil
}

// fitting are the targets that a case's body is not too large for.
func (p Plan) fitting(c Case) []Target {
	var fitting []Target
	for _, target := range p.Targets {
		if target.Largest == 0 || c.BodyBytes <= target.Largest {
			fitting = append(fitting, target)
		}
	}
	return fitting
}

func check(ctx context.Context, targets []Target, c Case) error {
	for _, target := range targets {
		if target.Check == nil {
			continue
		}
		ask, err := target.ask(c)
		if err != nil {
			return err
		}
		if err := target.Check(ctx, c, func() error { return ask.Once(ctx) }); err != nil {
			return fmt.Errorf("%s, %s: %w", target.Name, c, err)
		}
	}
	return nil
}

func (t Target) ask(c Case) (Ask, error) {
	body, err := Conversation(t.Model, c.BodyBytes, c.Stream)
	if err != nil {
		return Ask{}, err
	}
	ask := Ask{URL: t.URL, Header: t.Header, Body: body, Chunked: c.BodyBytes <= t.ChunkedUpTo, Bytes: PlainBytes}
	if c.Stream {
		ask.Events = cmp.Or(t.Events, StreamEvents)
	}
	return ask, nil
}

func (p Plan) sayf(format string, arguments ...any) {
	if p.Progress != nil {
		p.Progress(fmt.Sprintf(format, arguments...))
	}
}

func (p Plan) measure(ctx context.Context, target Target, c Case) (round, error) {
	ask, err := target.ask(c)
	if err != nil {
		return round{}, err
	}
	roles := map[string][]int{RoleClient: {os.Getpid()}}
	maps.Copy(roles, target.Roles)
	var before, after map[string]time.Duration
	var memory map[string]Memory
	load := Load{Connections: c.Connections, Warmup: p.Warmup, Duration: p.Duration, Requests: p.Requests}
	sample, err := load.Run(ctx, ask, func() (err error) {
		before, err = p.processors(roles)
		return err
	}, func() (err error) {
		if after, err = p.processors(roles); err != nil {
			return err
		}
		memory, err = p.memories(roles)
		return err
	})
	if err != nil {
		return round{}, err
	}
	return newRound(sample, before, after, memory), nil
}

func newRound(sample Sample, before, after map[string]time.Duration, memory map[string]Memory) round {
	n := float64(len(sample.Total))
	one := round{
		requests:  len(sample.Total),
		perSecond: n / sample.Elapsed.Seconds(),
		median:    milliseconds(Quantile(sample.Total, 0.5)),
		p99:       milliseconds(Quantile(sample.Total, 0.99)),
		first:     milliseconds(Quantile(sample.First, 0.5)),
		cpu:       map[string]float64{},
		memory:    memory,
	}
	for role := range after {
		one.cpu[role] = microseconds(after[role]-before[role]) / n
		if role != RoleClient && role != RoleUpstream {
			one.gateway += one.cpu[role]
		}
	}
	return one
}

func (p Plan) processors(roles map[string][]int) (map[string]time.Duration, error) {
	times := map[string]time.Duration{}
	for role, pids := range roles {
		used, err := p.Processes.CPU(pids)
		if err != nil {
			return nil, fmt.Errorf("processor time of %s: %w", role, err)
		}
		times[role] = used
	}
	return times, nil
}

func (p Plan) memories(roles map[string][]int) (map[string]Memory, error) {
	memories := map[string]Memory{}
	for role, pids := range roles {
		held, err := p.Processes.Memory(pids)
		if err != nil {
			return nil, fmt.Errorf("memory of %s: %w", role, err)
		}
		memories[role] = held
	}
	return memories, nil
}

// String is the case in words: "16 connections, streamed, 4 KB".
func (c Case) String() string { return c.load() + ", " + sizeName(c.BodyBytes) }

// load is all of the case but its size: "16 connections, streamed".
func (c Case) load() string {
	connections := fmt.Sprintf("%d connections", c.Connections)
	if c.Connections == 1 {
		connections = "1 connection"
	}
	return connections + ", " + answerName(c.Stream)
}

func answerName(stream bool) string {
	if stream {
		return "streamed"
	}
	return "plain"
}

func sizeName(n int) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.4g KB", float64(n)/1000)
}
