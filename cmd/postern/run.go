package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/xds"
	"github.com/postern-proxy/postern/xds/reader"
)

// logLinger is how long Envoy stays after its last request, so that what is left of
// the access log is sent: its flush interval, and some.
const logLinger = xds.LogFlush + 150*time.Millisecond

// defaultMetrics is where OpenTelemetry's exporters have their metrics. A second gate on
// a machine goes without, rather than not at all.
const defaultMetrics = "127.0.0.1:9464"

// readyTimeout is how long a start may take until a request passes the gate.
const readyTimeout = 60 * time.Second

// runFlags are the flags of run and serve.
type runFlags struct {
	place
	drain    time.Duration
	logLevel string
	threads  int
	metrics  string
	replicas []string
	own      bool // a second process of the service that reads bodies
	fleet    fleetFlags
	source   sourceFlags
}

func runCommand() *cobra.Command {
	var flags runFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Start the gate, Envoy included, and stop it with Ctrl-C",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return asked(cmd.Context(), run(cmd.Context(), flags, cmd.OutOrStdout(), true))
		},
	}
	flags.addRunTo(cmd)
	return cmd
}

func serveCommand() *cobra.Command {
	var flags runFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Start the gate's own services and leave Envoy to somebody else",
		Long: "Start the control plane and the services, write the bootstrap an Envoy needs, and\n" +
			"wait for an Envoy that somebody else starts: envoy -c DATA/bootstrap.json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return asked(cmd.Context(), run(cmd.Context(), flags, cmd.OutOrStdout(), false))
		},
	}
	flags.addRunTo(cmd)
	return cmd
}

func (f *runFlags) addRunTo(cmd *cobra.Command) {
	f.addTo(cmd)
	cmd.Flags().DurationVar(&f.drain, "drain", 30*time.Second, "how long running requests may take to end after Ctrl-C")
	f.fleet.addTo(cmd)
	f.source.addSourceTo(cmd)
	cmd.Flags().StringArrayVar(&f.replicas, "replica", nil, "Unix socket of another ext_proc replica (see postern extproc); may be repeated")
	cmd.Flags().BoolVar(&f.own, "own-replica", true, "run a second process of the service that reads bodies, which serves on if the first does not, and the reverse")
	cmd.Flags().StringVar(&f.logLevel, "envoy-log-level", "warning", "Envoy's own log level")
	cmd.Flags().StringVar(&f.metrics, "metrics", defaultMetrics, "address of the Prometheus metrics; empty for none")
	cmd.Flags().StringVar(&f.reader, "reader", "", "who reads the tokens of answers: module (native, built by make setup), script, or empty for the module where it is there")
	cmd.Flags().BoolVar(&f.unmetered, "unmetered", false, "know nothing of requests afterwards: for measuring what that costs")
	cmd.Flags().StringVar(&f.journal, "usage-log", "", "a file that gets one line of JSON for each request; default none")
	cmd.Flags().IntVar(&f.threads, "envoy-threads", 0, "Envoy's worker threads; 0 is one a core")
}

// asked is nil where a start was broken off because somebody asked for that: a stop
// is no failure, however early it comes.
func asked(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// run starts everything, waits until a request passes, says so, and stays until
// ctx ends or a part fails.
func run(ctx context.Context, flags runFlags, out io.Writer, withEnvoy bool) error { //nolint:cyclop // steps in a row, each of which may fail
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	source, err := flags.source.from(flags.place, log)
	if err != nil {
		return err
	}
	cfg, err := source.open(ctx)
	if err != nil {
		return err
	}
	found, err := envoy.Find(ctx, envoy.SearchFromEnvironment())
	if err != nil && (withEnvoy || flags.reader == "module") {
		return err
	}
	binary, beside := "", ""
	if withEnvoy {
		binary, beside = found, found
		if err := addressFree(ctx, cfg.Listen.Address); err != nil {
			return err
		}
	} else if flags.reader == "module" { // somebody else's Envoy, on this machine: it shares our sockets
		beside = found
	}
	if flags.module, err = nativeReader(flags.reader, beside); err != nil {
		return err
	}
	warn(log, cfg)
	if flags.metrics == defaultMetrics && addressFree(ctx, flags.metrics) != nil {
		log.Warn("there are no metrics: their address is taken; choose another with --metrics", "address", flags.metrics)
		flags.metrics = ""
	}
	for i, socket := range flags.replicas {
		if flags.replicas[i], err = filepath.Abs(socket); err != nil {
			return err
		}
	}
	g, err := open(flags.place, cfg, log, flags.replicas, flags.own) //nolint:contextcheck // what it makes ends by close
	if err != nil {
		return err
	}
	defer g.close()
	g.source, g.binary = source, found
	if err := g.meters.registry.Register(sourceMetrics{source, g.config.Load, &g.lastError}); err != nil {
		return err
	}
	return g.stay(ctx, flags, binary, out)
}

// nativeReader is the path of the module that reads answers; empty: a script does.
func nativeReader(chosen, binary string) (string, error) {
	switch chosen {
	case "script":
		return "", nil
	case "", "module":
		path := reader.Beside(binary, envoy.Version)
		if path == "" && chosen != "" {
			return "", fmt.Errorf("--reader module: there is no %s beside Envoy: run make setup, with a C compiler (cc) at hand", reader.Name(envoy.Version))
		}
		return path, nil
	}
	return "", fmt.Errorf("--reader %s: it is module, script, or empty", chosen)
}

// stay runs the services, and Envoy if there is a binary, until ctx ends.
func (g *gate) stay(ctx context.Context, flags runFlags, binary string, out io.Writer) error {
	// The services end after Envoy: while it drains it still asks them.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	services, serving := errgroup.WithContext(serving)
	g.serve(serving, services, flags.metrics)
	if flags.own {
		services.Go(func() error { return g.keepSecond(serving) })
	}
	if err := g.serveFleet(serving, services, flags.fleet); err != nil {
		return errors.Join(err, g.stopServices(stopServing, services))
	}
	bootstrap, err := g.prepare(ctx, flags, binary == "", out)
	if err != nil {
		return errors.Join(err, g.stopServices(stopServing, services))
	}
	g.keep(serving, services)
	front, frontCtx := errgroup.WithContext(ctx)
	front.Go(func() error { return g.watch(frontCtx) })
	front.Go(func() error { g.watchKeys(frontCtx); return nil })
	front.Go(func() error { // a service that dies takes the gate with it
		select {
		case <-serving.Done():
			return context.Cause(serving)
		case <-frontCtx.Done():
			return nil
		}
	})
	if binary != "" {
		front.Go(func() error { return g.runEnvoy(frontCtx, flags, binary, bootstrap) })
		front.Go(func() error { return g.announce(frontCtx, out) })
	}
	err = asked(ctx, front.Wait())
	return errors.Join(err, g.stopServices(stopServing, services))
}

// prepare makes the first configuration the one that is served and gives the
// bootstrap of an Envoy, which it leaves in a file if somebody else runs that.
func (g *gate) prepare(ctx context.Context, flags runFlags, elsewhere bool, out io.Writer) ([]byte, error) {
	if err := g.apply(ctx, g.config.Load()); err != nil {
		return nil, err
	}
	bootstrap, err := g.bootstrap()
	if err != nil || !elsewhere {
		return bootstrap, err
	}
	path := filepath.Join(flags.data, "bootstrap.json")
	if err := os.WriteFile(path, bootstrap, 0o600); err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(out, "Postern waits for an Envoy: envoy -c %s\n", path)
	return bootstrap, err
}

func (g *gate) runEnvoy(ctx context.Context, flags runFlags, binary string, bootstrap []byte) error {
	logFile, err := envoy.OpenLogFile(filepath.Join(flags.data, "envoy.log"))
	if err != nil {
		return err
	}
	defer func() { _ = logFile.Close() }()
	child, err := envoy.NewSupervisor(envoy.SupervisorSettings{
		Binary:       binary,
		Bootstrap:    bootstrap,
		Folder:       g.sockets.folder,
		Admin:        envoy.Admin{Socket: g.sockets.admin},
		StatPrefix:   xds.StatPrefix,
		Log:          logFile,
		LogLevel:     flags.logLevel,
		Concurrency:  flags.threads,
		DrainTimeout: max(flags.drain, 1), // 0 would be the supervisor's default
		Logger:       g.log,
		Linger:       logLinger,
		OnState: func(e envoy.Event) {
			if e.State == envoy.Starting {
				id := fmt.Sprintf("%d at %d", e.PID, time.Now().UnixNano())
				g.meters.instance.Store(&id)
			}
		},
	})
	if err != nil {
		return err
	}
	return child.Run(ctx)
}

// announce waits until a request passes the gate and prints what a newcomer
// needs.
func (g *gate) announce(ctx context.Context, out io.Writer) error {
	within, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := g.waitReady(within); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("the gate does not become ready: %w", err)
	}
	return g.greet(out)
}

func warn(log *slog.Logger, cfg *config.Config) {
	for _, w := range cfg.Warnings() {
		log.Warn(w.Message, "path", w.Path, "line", w.Line)
	}
}
