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

// The rows, and the one the others are compared with.
const (
	rowDirect = "direct"
	rowEnvoy  = "Envoy alone"
	rowNative = "Postern native"
)

// laboratory is what the rows share: a folder, the mock provider, the Envoy binary.
type laboratory struct {
	settings settings
	folder   string
	envoy    string
	mock     *child
	mockAt   string // host:port
	children []*child
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
	fmt.Printf("\n%s", report.Markdown())
	return report.Write(s.out)
}

func bench(ctx context.Context, s settings, arguments []string) (load.Report, error) {
	folder, err := os.MkdirTemp("", "bench")
	if err != nil {
		return load.Report{}, err
	}
	defer os.RemoveAll(folder)
	lab := &laboratory{settings: s, folder: folder}
	defer lab.close()
	targets, err := lab.targets(ctx)
	if err != nil {
		return load.Report{}, err
	}
	plan := load.Plan{
		Targets: targets, Cases: s.cases(), Rounds: s.rounds, Warmup: s.warmup, Duration: s.duration, Requests: s.requests,
		Baseline: rowEnvoy, Progress: func(line string) { fmt.Fprintln(os.Stderr, line) },
	}
	started := time.Now()
	rows, err := plan.Run(ctx)
	if err != nil {
		return load.Report{}, lab.explain(err)
	}
	baseline := rowEnvoy
	if !slices.ContainsFunc(targets, func(t load.Target) bool { return t.Name == baseline }) {
		baseline = ""
	}
	return load.Report{
		Machine: load.ThisMachine(load.Processes{}, envoy.Version), Started: started.UTC(), Took: time.Since(started),
		Command: strings.Join(append([]string{"bench"}, arguments...), " "), Commit: commit(ctx),
		Rounds: s.rounds, Duration: s.duration, Requests: s.requests, Baseline: baseline, Rows: rows,
	}, nil
}

// row makes one target; it starts what the target needs.
type row struct {
	name string
	make func(*laboratory, context.Context) (load.Target, error)
}

// rows are all there are, in order of the table. A new lane is a line here.
var rows = []row{
	{rowDirect, (*laboratory).direct},
	{rowEnvoy, (*laboratory).envoyAlone},
	{rowNative, (*laboratory).native},
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
	if err := l.startMock(ctx); err != nil {
		return nil, err
	}
	for _, r := range wanted {
		target, err := r.make(l, ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, l.explain(err))
		}
		target.Name = r.name
		targets = append(targets, target)
	}
	return targets, nil
}

func (s settings) wanted() ([]row, error) {
	var wanted []row
	for _, r := range rows {
		skipped := s.skipPostern && strings.HasPrefix(r.name, "Postern")
		if !skipped && (len(s.rows) == 0 || slices.Contains(s.rows, r.name)) {
			wanted = append(wanted, r)
		}
	}
	for _, name := range s.rows {
		if !slices.ContainsFunc(rows, func(r row) bool { return r.name == name }) {
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
