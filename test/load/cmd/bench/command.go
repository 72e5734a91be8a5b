package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/test/load"
)

// The rows.
const (
	rowDirect     = "direct"
	rowEnvoy      = "Envoy alone"
	rowNoop       = "no-op ext_proc"
	rowNative     = "Postern native"
	rowUnmetered  = "Postern native without usage"
	rowBeside     = "Postern native beside understood"
	rowRefused    = "failover: first refuses"
	rowFailing    = "failover: first says 503"
	rowSilent     = "failover: first stalls"
	rowFound      = "Postern found"
	rowUnderstood = "Postern understood"

	rowPlain       = "native beside Bedrock"
	rowPlainLong   = "native beside Bedrock 100 chunks"
	rowOneStream   = "understood beside Bedrock"
	rowMixed       = "OpenAI on a mixed route"
	rowBedrock     = "Bedrock"
	rowBedrockLong = "Bedrock 100 chunks"

	// Measured only if asked for: native where no C compiler was at hand, and lanes that
	// Postern does not have, to see at which size it changes from one to the other.
	rowScript     = "Postern native with the script"
	rowEnvoyReads = "Envoy reads any size"
	rowGoReads    = "Go reads any size"
)

// Roles of a gateway's processes.
const (
	roleEnvoy = "envoy"
	roleGo    = "go"
)

// baselines are the floor under everything, the one under what asks an ext_proc
// service, and what knowing of requests afterwards is compared with.
var baselines = []load.Baseline{
	{Name: rowEnvoy},
	{Name: rowUnmetered, Rows: []string{rowNative, rowScript}},
	{Name: rowNative, Rows: []string{rowRefused, rowFailing, rowSilent}},
	{Name: rowNoop, Rows: []string{rowNoop, rowFound, rowUnderstood}},
	{Name: rowPlain, Rows: []string{rowOneStream, rowMixed, rowBedrock}},
	{Name: rowPlainLong, Rows: []string{rowBedrockLong}},
	{Name: rowOneStream, Rows: []string{rowMixed, rowBedrock}},
}

// chunks are the pairs that say what a chunk of a stream costs. 60 µs is what Bedrock's
// may, translation and all.
var chunks = []load.Chunks{
	{Short: rowPlain, Long: rowPlainLong, Events: load.LongEvents - load.StreamEvents},
	{Short: rowBedrock, Long: rowBedrockLong, Events: load.LongEvents - load.StreamEvents, AtMost: 60},
}

// goals are how dear Postern's lanes may be.
var goals = []load.Goal{
	{Row: rowNative, Base: rowEnvoy, CPU: 1.7, Median: 1.3},
	{Row: rowNative, Base: rowEnvoy, Stream: true, CPU: 2.0},
	{Row: rowNative, Base: rowUnmetered, CPU: 1.15},
	{Row: rowNative, Base: rowUnmetered, Stream: true, CPU: 1.15},
	{Row: rowUnderstood, Base: rowNoop, CPU: 1.35, Median: 1.25},
	{Row: rowUnderstood, Base: rowNoop, Stream: true, CPU: 1.35, Median: 1.25},
	{Row: rowBedrock, Base: rowOneStream, CPU: 1.1}, // one ext_proc stream over native
}

// laboratory is what the rows share: a folder, the mock provider, the Envoy binary.
type laboratory struct {
	settings settings
	folder   string
	envoy    string
	mock     *child
	mockAt   string // host:port
	failing  string // host:port of a provider that says 503; empty until a row needs it
	silent   string // of one that never answers
	bedrock  string // of the fake of Bedrock; empty until a row needs it

	upstreams []int              // processes of providers beside the mock provider
	gates     map[string]*shared // Posterns that rows have asked for, by their configuration
	children  []*child
}

// command runs the bench and writes its report.
func command(ctx context.Context, arguments []string) (err error) {
	s, err := parse(arguments)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	report, err := bench(ctx, s, arguments)
	if err != nil {
		return err
	}
	if s.threshold {
		curve := load.NewCurve(report, rowEnvoyReads, rowGoReads)
		fmt.Printf("\n%s", curve.Markdown())
		return curve.Write(s.out, "threshold")
	}
	fmt.Printf("\n%s", report.Markdown())
	return report.Write(s.out, "bench")
}

func bench(ctx context.Context, s settings, arguments []string) (load.Report, error) {
	folder, err := os.MkdirTemp("", "bench")
	if err != nil {
		return load.Report{}, err
	}
	defer os.RemoveAll(folder)
	lab := &laboratory{settings: s, folder: folder}
	defer lab.close()
	started := time.Now()
	targets, err := lab.targets(ctx)
	if err != nil {
		return load.Report{}, err
	}
	measured := slices.DeleteFunc(slices.Clone(baselines), func(b load.Baseline) bool {
		return !slices.ContainsFunc(targets, func(t load.Target) bool { return t.Name == b.Name })
	})
	plan := load.Plan{
		Targets: targets, Cases: s.cases(), Rounds: s.rounds, Warmup: s.warmup, Duration: s.duration, Requests: s.requests,
		Baselines: measured, Progress: func(line string) { fmt.Fprintln(os.Stderr, line) },
	}
	rows, err := plan.Run(ctx)
	if err != nil {
		return load.Report{}, lab.explain(err)
	}
	return load.Report{
		Machine: load.ThisMachine(load.Processes{}, envoy.Version), Started: started.UTC(), Took: time.Since(started),
		Command: strings.Join(append([]string{"bench"}, arguments...), " "), Commit: commit(ctx),
		Rounds: s.rounds, Duration: s.duration, Requests: s.requests,
		Baselines: measured, Rows: rows, Verdicts: load.Judge(goals, rows), Chunks: load.PerChunk(chunks, rows), Notes: lab.notes(),
	}, nil
}

// notes are what a reader of the table must know of its rows.
func (l *laboratory) notes() []string {
	g := l.gates["postern.yaml"]
	if g == nil || l.settings.threshold {
		return nil
	}
	return []string{fmt.Sprintf("Postern's rows but “"+rowNative+"” are lanes of one gate, so their memory is one. Envoy finds the model's name in bodies "+
		"of at most %d bytes whose length is said before; “%s” sends such bodies without it. Larger ones have no native lane, and "+
		"“%s” asks Go twice for them: for the name, and for the change.", g.threshold, rowFound, rowUnderstood)}
}

// row makes one target; it starts what the target needs.
type row struct {
	name    string
	make    func(*laboratory, context.Context) (load.Target, error)
	postern bool // it needs the postern binary
	extra   bool // it is measured only if asked for by name
	small   bool // it is measured with the smallest bodies alone
}

// rows are all there are, in order of the table. A new lane is a line here.
var rows = []row{
	{name: rowDirect, make: (*laboratory).direct},
	{name: rowEnvoy, make: (*laboratory).envoyAlone},
	{name: rowNoop, make: (*laboratory).noopHop},
	{name: rowUnmetered, make: (*laboratory).unmetered, postern: true},
	{name: rowNative, make: (*laboratory).native, postern: true},
	{name: rowBeside, make: (*laboratory).beside, postern: true},
	{name: rowRefused, make: failover("bench-refused"), postern: true},
	{name: rowFailing, make: failover("bench-failing"), postern: true},
	{name: rowSilent, make: failover("bench-silent"), postern: true},
	{name: rowFound, make: (*laboratory).found, postern: true},
	{name: rowUnderstood, make: (*laboratory).understood, postern: true},
	{name: rowPlain, make: besideBedrock(model, 0), postern: true, small: true},
	{name: rowPlainLong, make: besideBedrock("bench-long", load.LongEvents), postern: true, small: true},
	{name: rowOneStream, make: besideBedrock(modelToChange, 0, throughUnderstand), postern: true, small: true},
	{name: rowMixed, make: besideBedrock("bench-mixed", 0, throughPick, throughAnswer), postern: true, small: true},
	{name: rowBedrock, make: besideBedrock("bedrock", 0, throughRequest, throughAnswer), postern: true, small: true},
	{name: rowBedrockLong, make: besideBedrock("bedrock-long", load.LongEvents, throughRequest, throughAnswer), postern: true, small: true},
	{name: rowScript, make: (*laboratory).script, postern: true, extra: true},
	{name: rowEnvoyReads, make: (*laboratory).envoyReads, extra: true},
	{name: rowGoReads, make: (*laboratory).goReads, postern: true, extra: true},
}

func rowNames() []string {
	var names []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	return names
}

// targets starts the mock provider and what the wanted rows need.
func (l *laboratory) targets(ctx context.Context) (targets []load.Target, err error) {
	wanted, err := l.settings.wanted()
	if err != nil {
		return nil, err
	}
	if l.envoy, err = envoy.Find(ctx, envoy.SearchFromEnvironment()); err != nil {
		return nil, err
	}
	if l.mock, l.mockAt, err = l.startSelf(ctx, "mock provider", "upstream", "--together", fmt.Sprint(l.settings.together)); err != nil {
		return nil, l.explain(err)
	}
	for _, r := range wanted {
		target, err := r.make(l, ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, l.explain(err))
		}
		target.Name = r.name
		if r.small {
			target.Largest = quickSize
		}
		targets = append(targets, target)
	}
	return targets, nil
}

func (s settings) wanted() ([]row, error) {
	var wanted []row
	for _, r := range rows {
		asked := slices.Contains(s.rows, r.name) || len(s.rows) == 0 && !r.extra
		skipped := r.postern && s.skipPostern
		if asked && !skipped {
			wanted = append(wanted, r)
		}
	}
	for _, name := range s.rows {
		if !slices.Contains(rowNames(), name) {
			return nil, fmt.Errorf("--rows: there is no row %q", name)
		}
	}
	if len(wanted) == 0 {
		return nil, errors.New("no row is left to measure")
	}
	return wanted, nil
}

// close stops everything, the last started first.
func (l *laboratory) close() {
	for _, c := range slices.Backward(l.children) {
		c.stop()
	}
}

// explain adds what the children last said to an error.
func (l *laboratory) explain(err error) error {
	for _, c := range l.children {
		if tail := c.tail(); tail != "" {
			err = fmt.Errorf("%w\n%s said:\n%s", err, c.name, tail)
		}
	}
	return err
}

// commit is the revision of the working directory, with a mark if files differ
// from it.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func (l *laboratory) file(name string) string { return filepath.Join(l.folder, name) }
