package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/config/set"
	"github.com/postern-proxy/postern/config/ssm"
)

// storeFlags say where in Parameter Store the sets of an environment lie.
type storeFlags struct {
	env    string
	prefix string
}

func (f *storeFlags) addTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.env, "env", "", "the environment in Parameter Store: dev, staging, prod")
	cmd.Flags().StringVar(&f.prefix, "prefix", "/postern", "where the environments lie in Parameter Store")
}

func (f *storeFlags) tree() set.Tree { return set.Tree{Prefix: f.prefix, Environment: f.env} }

func (f *storeFlags) open(ctx context.Context) (*ssm.Store, error) {
	if err := f.tree().Check(); err != nil {
		return nil, err
	}
	return ssm.Open(ctx, f.tree())
}

// sourceFlags say where the configuration comes from.
type sourceFlags struct {
	storeFlags
	kind       string
	poll       time.Duration
	keepValues bool
}

func (f *sourceFlags) addSourceTo(cmd *cobra.Command) {
	f.addTo(cmd)
	cmd.Flags().StringVar(&f.kind, "source", "file", "where the configuration comes from: file (--config), or ssm, AWS Parameter Store (--env)")
	cmd.Flags().DurationVar(&f.poll, "poll", ssm.DefaultPoll, "how often Parameter Store is asked what is new")
	cmd.Flags().BoolVar(&f.keepValues, "keep-secrets", true, "keep the values of ssm: secrets in the data folder, for a start without Parameter Store")
}

func (f *sourceFlags) fromStore() bool { return f.kind == "ssm" }

func (f *sourceFlags) check() error {
	switch {
	case f.kind != "file" && f.kind != "ssm":
		return fmt.Errorf("--source is file or ssm, not %q", f.kind)
	case f.poll < ssm.MinPoll:
		return fmt.Errorf("--poll is at least %s", ssm.MinPoll)
	case f.fromStore():
		return f.tree().Check()
	}
	return nil
}

// source is where a gate's configuration comes from: it gives the first and tells of
// each further one.
type source struct {
	open  func(ctx context.Context) (*config.Config, error)
	watch func(ctx context.Context, current *config.Config, notify func(*config.Config, error) error) error
	again func() // has the one that watches look at once, in place of at its next turn
	name  string // for people

	status func() *ssm.Status // nil, or gives nil, where there is nothing to say
}

// from makes the source that the flags ask for.
func (f *sourceFlags) from(at place, log *slog.Logger) (*source, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if f.fromStore() {
		return f.parameters(at, log), nil
	}
	return f.file(at, log), nil
}

// parameters is Parameter Store.
func (f *sourceFlags) parameters(at place, log *slog.Logger) *source {
	again, look := knocker()
	s := &ssm.Source{
		Env: config.Environment("."), Log: log, Poll: f.poll, Again: again,
		Copy: f.copyIn(at, "parameters"),
	}
	return &source{
		again: look,
		name:  fmt.Sprintf("%s/%s in Parameter Store (postern config push)", f.prefix, f.env),
		open: func(ctx context.Context) (_ *config.Config, err error) {
			if s.Store, err = f.open(ctx); err != nil {
				return nil, err
			}
			return s.Open(ctx)
		},
		watch: func(ctx context.Context, _ *config.Config, notify func(*config.Config, error) error) error {
			s.Notify = notify
			return s.Run(ctx)
		},
		status: func() *ssm.Status { status := s.Status(); return &status },
	}
}

// copyIn is a copy in a folder of the data folder; none where there is no data folder.
func (f *sourceFlags) copyIn(at place, steps ...string) ssm.Copy {
	if at.data == "" {
		return ssm.Copy{}
	}
	return ssm.Copy{Folder: filepath.Join(append([]string{at.data}, steps...)...), Secrets: f.keepValues}
}

// file is a file, whose ssm: secrets still lie in Parameter Store.
func (f *sourceFlags) file(at place, log *slog.Logger) *source {
	lookup := f.lookup()
	lookup.Copy = f.copyIn(at, "parameters", "file")
	lookup.Log = log
	again, look := knocker()
	return &source{
		again: look,
		name:  at.config,
		open:  func(ctx context.Context) (*config.Config, error) { return config.LoadWith(at.config, lookup.Get(ctx)) },
		watch: func(ctx context.Context, current *config.Config, notify func(*config.Config, error) error) error {
			rotating := make(chan struct{})
			go func() {
				defer close(rotating)
				lookup.Run(ctx, f.poll, look)
			}()
			defer func() { <-rotating }()
			return config.Watcher{
				File: at.config, Current: current, Again: again,
				Load:   func(file string) (*config.Config, error) { return config.LoadWith(file, lookup.Get(ctx)) },
				Notify: func(cfg *config.Config, err error) { _ = notify(cfg, err) }, // a file's last good version is in memory
			}.Run(ctx)
		},
		status: lookup.Status,
	}
}

// elsewhere is what an operator's machine has for a document in Parameter Store, which
// is for the gates: relative file: references start at their working folder.
func elsewhere() config.Env {
	env := config.Environment(".")
	env.Elsewhere = true
	return env
}

// sayAbsent tells of what gates need and this machine lacks.
func sayAbsent(out io.Writer, cfg *config.Config) {
	for _, w := range cfg.Absent() {
		fmt.Fprintf(out, "warning: %s\n", w)
	}
}

// knocker is a channel and what knocks at it: once is enough until somebody hears it.
func knocker() (heard <-chan struct{}, knock func()) {
	c := make(chan struct{}, 1)
	return c, func() {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// lookup finds the ssm: secrets of a document in a file. AWS is asked only if there
// are any.
func (f *storeFlags) lookup() *ssm.Lookup {
	tree := f.tree()
	return &ssm.Lookup{Tree: tree, Open: func(ctx context.Context) (*ssm.Store, error) { return ssm.Open(ctx, tree) }}
}

// theirProblems tells everything that is wrong with a document, a line each.
func theirProblems(cmd *cobra.Command, err error) error {
	if problems, ok := errors.AsType[config.Problems](err); ok {
		fmt.Fprintln(cmd.ErrOrStderr(), problems.Error())
		return told{err}
	}
	return err
}

// printParameters says how the source in Parameter Store is.
func printParameters(out io.Writer, s *ssm.Status) {
	if s == nil {
		return
	}
	from := "Parameter Store"
	if s.Local {
		from = "the local copy"
	}
	if s.Set != "" {
		fmt.Fprintf(out, "set            %s from %s\n", s.Set, from)
	} else { // the document lies in a file
		fmt.Fprintf(out, "secrets        from %s\n", from)
		for line := range strings.Lines(s.Error) {
			fmt.Fprintf(out, "  not read     %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
	if s.Pointer != "" && s.Pointer != s.Set {
		fmt.Fprintf(out, "  wanted       %s\n", s.Pointer)
	}
	if !s.Asked.IsZero() {
		fmt.Fprintf(out, "  last answer  %s ago\n", time.Since(s.Asked).Round(time.Second))
	}
}

// sourceMetrics are the metrics of the configuration's source.
type sourceMetrics struct {
	source    *source
	config    func() *config.Config
	lastError *atomic.Pointer[string]
}

var (
	inForce = prometheus.NewDesc("postern_configuration_info",
		"1 for the configuration in force; set is its name in Parameter Store.", []string{"version", "set"}, nil)
	notTaken = prometheus.NewDesc("postern_configuration_refused",
		"1 for each file or parameter that keeps a newer configuration from being in force.", []string{"place"}, nil)
	askedAt = prometheus.NewDesc("postern_configuration_answered_timestamp_seconds",
		"When Parameter Store last answered.", nil, nil)
)

// Describe names the metrics.
func (sourceMetrics) Describe(out chan<- *prometheus.Desc) {
	out <- inForce
	out <- notTaken
	out <- askedAt
}

// Collect gives their values.
func (m sourceMetrics) Collect(out chan<- prometheus.Metric) {
	var status ssm.Status
	if m.source.status != nil {
		if its := m.source.status(); its != nil {
			status = *its
		}
	}
	out <- prometheus.MustNewConstMetric(inForce, prometheus.GaugeValue, 1, m.config().Version, status.Set)
	if !status.Asked.IsZero() {
		out <- prometheus.MustNewConstMetric(askedAt, prometheus.GaugeValue, float64(status.Asked.UnixMilli())/1000)
	}
	wrong := status.Error
	if last := m.lastError.Load(); last != nil {
		wrong = *last + "\n" + wrong
	}
	for _, place := range placesOf(wrong) {
		out <- prometheus.MustNewConstMetric(notTaken, prometheus.GaugeValue, 1, place)
	}
}

// placesOf are the files and parameters that an error begins its lines with, and the
// parameters that it names behind them (a secret, after the part that refers to it); each
// once and without the line numbers, a few of them.
func placesOf(text string) []string {
	const few = 10
	var places []string
	for line := range strings.Lines(text) {
		steps := strings.Split(strings.TrimSpace(line), ": ")
		for i, step := range steps {
			place := lineNumbers.ReplaceAllString(step, "")
			switch {
			case i > 0 && (!strings.HasPrefix(place, "/") || strings.Contains(place, " ")):
				continue
			case len(steps) == 1 || strings.Contains(place, " "):
				place = "unknown"
			}
			if !slices.Contains(places, place) && len(places) < few {
				places = append(places, place)
			}
		}
	}
	return places
}

var lineNumbers = regexp.MustCompile(`(:[0-9]+)+$`)
