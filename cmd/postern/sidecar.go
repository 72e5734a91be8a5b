package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/postern-proxy/postern/answer"
	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/demo"
	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/extproc"
	"github.com/postern-proxy/postern/usage"
)

// sidecarFlags are the flags of postern sidecar.
type sidecarFlags struct {
	place
	source  sourceFlags
	cluster string
	metrics string
	admin   string
}

func sidecarCommand() *cobra.Command {
	var flags sidecarFlags
	cmd := &cobra.Command{
		Use:   "sidecar --cluster NAME",
		Short: "Run the services that an Envoy of a fleet needs on its host",
		Long: "Run what an Envoy of a fleet finds on its own host: the service that reads bodies, the answers\n" +
			"that Postern gives itself, the access log's reader. It reads the control plane's own configuration\n" +
			"(a copy of the file, or the same Parameter Store), and makes the sockets in the folder that the\n" +
			"cluster's view names (views.NAME.services, /run/postern). Start it before the Envoy, as the same user.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return asked(cmd.Context(), runSidecar(cmd.Context(), flags))
		},
	}
	flags.addTo(cmd)
	flags.source.addSourceTo(cmd)
	cmd.Flags().StringVar(&flags.cluster, "cluster", "", "the Envoy's cluster (needed)")
	cmd.Flags().StringVar(&flags.metrics, "metrics", "127.0.0.1:9464", "address of the Prometheus metrics; empty for none")
	cmd.Flags().StringVar(&flags.admin, "admin", "/run/postern/admin.sock", "Unix socket of Envoy's admin interface, for its counters")
	cmd.Flags().StringVar(&flags.journal, "usage-log", "", "a file that gets one line of JSON for each request; default none")
	_ = cmd.MarkFlagRequired("cluster")
	return cmd
}

// sidecar is what runs beside an Envoy of a fleet.
type sidecar struct {
	*lateHistory

	log      *slog.Logger
	budget   *extproc.Budget
	cluster  string
	services string
	view     atomic.Pointer[config.Config] // of the cluster
	meters   *meters
	source   *source
	started  time.Time

	lastError atomic.Pointer[string] // of the last change, for status
}

func runSidecar(ctx context.Context, flags sidecarFlags) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	source, err := flags.source.from(flags.place, log)
	if err != nil {
		return err
	}
	cfg, err := source.open(ctx)
	if err != nil {
		return err
	}
	folder, unlock, err := envoy.RuntimeFolder(flags.data) // two would write one ledger
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.WriteFile(folderNote(flags.data), []byte(folder), 0o600); err != nil {
		return err
	}
	s := &sidecar{
		lateHistory: newLateHistory(log, source.again), log: log,
		budget: extproc.NewBudget(int64(cfg.Extproc.Memory)), cluster: flags.cluster, source: source, started: time.Now(),
	}
	view, services := cfg.View(flags.cluster)
	s.services = services
	s.view.Store(view)
	if err := furnish(services); err != nil {
		return err
	}
	if s.meters, err = openMeters(flags.place, envoy.Admin{Socket: flags.admin}, s.view.Load, log); err != nil {
		return err
	}
	defer s.meters.close()
	if err := s.meters.registry.Register(sourceMetrics{source, s.view.Load, &s.lastError}); err != nil {
		return err
	}
	if err := s.adopt(cfg); err != nil {
		return err
	}
	return s.run(ctx, cfg, filepath.Join(folder, "status.sock"), flags.metrics)
}

func (s *sidecar) run(ctx context.Context, cfg *config.Config, status, metrics string) error {
	group, ctx := errgroup.WithContext(ctx)
	sockets := socketsIn(s.services)
	group.Go(func() error {
		return serveProcess(ctx, sockets.Process[0], &extproc.Service{Plans: s, Budget: s.budget, Log: s.log, Observe: s.meters.metrics.Stage})
	})
	group.Go(func() error { return serveHTTP(ctx, sockets.Answer, s.answers()) })
	group.Go(func() error { return serveHTTP(ctx, sockets.Demo, demo.New()) })
	group.Go(func() error { return serveHTTP(ctx, status, s.statusHandler()) })
	s.meters.serve(ctx, group, sockets.Usage, sockets.Records, metrics)
	group.Go(func() error {
		return s.source.watch(ctx, cfg, func(cfg *config.Config, err error) error {
			if err == nil {
				err = s.adopt(cfg)
			}
			if err != nil {
				text := err.Error()
				s.lastError.Store(&text)
				s.log.Error("the configuration was not changed: the last good version stays", "version", s.view.Load().Version, "reason", text)
				return err
			}
			s.lastError.Store(nil)
			return nil
		})
	})
	s.log.Info("the services of a sidecar are running", "cluster", s.cluster, "folder", s.services, "version", cfg.Version)
	return group.Wait()
}

// adopt makes a version the current one. Only the goroutine that watches calls it.
func (s *sidecar) adopt(cfg *config.Config) error {
	table, err := prices(cfg)
	if err != nil {
		return err
	}
	view, services := cfg.View(s.cluster)
	if services != s.services {
		s.log.Warn("the folder of the services changes at the next start", "folder", services)
	}
	s.view.Store(view)
	s.meters.adopt(view, table)
	s.meters.tracker.Configure(view)
	s.budget.Resize(int64(cfg.Extproc.Memory))
	boundMemory(cfg)
	s.Add(extproc.NewPlan(cfg, table))
	return nil
}

func (s *sidecar) answers() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(usage.PathUsage, s.meters.recent)
	mux.Handle(usage.PathUsage+"/", s.meters.recent)
	mux.Handle("/", &answer.Handler{Config: s.view.Load, Created: s.started})
	return mux
}

// statusHandler is what a sidecar tells Postern's own commands.
func (s *sidecar) statusHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		r := reportOf(s.started, s.view.Load(), s.source, s.lastError.Load(), s.meters)
		r.Sidecar, r.Providers = s.cluster, s.meters.reportProviders(nil)
		r.write(w)
	})
	mux.HandleFunc("GET /top", s.meters.serveTop)
	return mux
}

// furnish makes the folder of the services, with the authorities that providers are
// checked against.
func furnish(services string) error {
	if err := os.MkdirAll(services, 0o700); err != nil {
		return fmt.Errorf("the folder of the services: %w", err)
	}
	bundle, err := trustBundle()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(bundle) //nolint:gosec // the system's, or the operator's own word
	if err != nil {
		return errors.New("the bundle of certificate authorities cannot be read")
	}
	file := trustFile(services)
	temporary := filepath.Join(services, "trust.pem.new")
	if err := os.WriteFile(temporary, text, 0o600); err != nil { //nolint:gosec // the operator chooses the folder
		return err
	}
	return os.Rename(temporary, file)
}
