package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
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
	_ = cmd.MarkFlagRequired("cluster")
	return cmd
}

// sidecar is what runs beside an Envoy of a fleet.
type sidecar struct {
	extproc.History
	log      *slog.Logger
	budget   *extproc.Budget
	cluster  string
	services string
	view     atomic.Pointer[config.Config] // of the cluster
	meters   *meters
	started  time.Time

	look     func()        // has the source looked at out of turn
	patience time.Duration // of a request, with its version not being there

	mu      sync.Mutex    // of those who adopt, and of what follows
	adopted chan struct{} // closed at the next change
	asked   time.Time     // when the source was last looked at out of turn
	vain    time.Time     // when an unknown version was last looked for without avail
	rest    time.Duration // from then on nobody looks for one
}

const (
	// lookLeast and lookMost bound how often a version that nobody knows is looked
	// for: an Envoy that refuses all that is new may ask with each request.
	lookLeast = 250 * time.Millisecond
	lookMost  = 30 * time.Second
	// lookFor is how long a request waits for its version.
	lookFor = 5 * time.Second
)

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
	_, unlock, err := envoy.RuntimeFolder(flags.data) // two would write one ledger
	if err != nil {
		return err
	}
	defer unlock()
	s := &sidecar{
		log: log, budget: extproc.NewBudget(int64(cfg.Extproc.Memory)), cluster: flags.cluster, started: time.Now(),
		look: source.again, patience: lookFor, adopted: make(chan struct{}),
	}
	view, services := cfg.View(flags.cluster)
	s.services = services
	s.view.Store(view)
	if err := furnish(services); err != nil {
		return err
	}
	if s.meters, err = openMeters(place{data: flags.data}, envoy.Admin{Socket: flags.admin}, s.view.Load, log); err != nil {
		return err
	}
	defer s.meters.close()
	if err := s.adopt(cfg); err != nil {
		return err
	}
	return s.run(ctx, cfg, source, flags.metrics)
}

func (s *sidecar) run(ctx context.Context, cfg *config.Config, source *source, metrics string) error {
	group, ctx := errgroup.WithContext(ctx)
	sockets := socketsIn(s.services)
	group.Go(func() error {
		return serveProcess(ctx, sockets.Process[0], &extproc.Service{Plans: s, Budget: s.budget, Log: s.log, Observe: s.meters.metrics.Stage})
	})
	group.Go(func() error { return serveHTTP(ctx, sockets.Answer, s.answers()) })
	group.Go(func() error { return serveHTTP(ctx, sockets.Demo, demo.New()) })
	s.meters.serve(ctx, group, sockets.Usage, sockets.Records, metrics)
	group.Go(func() error {
		return source.watch(ctx, cfg, func(cfg *config.Config, err error) error {
			if err == nil {
				err = s.adopt(cfg)
			}
			if err != nil {
				s.log.Error("the configuration was not changed: the last good version stays", "reason", err)
			}
			return err
		})
	})
	s.log.Info("the services of a sidecar are running", "cluster", s.cluster, "folder", s.services, "version", cfg.Version)
	return group.Wait()
}

// Plan finds a version. The control plane may have told Envoy of one that has not
// reached this host: then the source is looked at out of turn, because the request would
// fail, and whoever comes with it waits until it is there.
func (s *sidecar) Plan(version string) *extproc.Plan {
	if p := s.History.Plan(version); p != nil {
		return p
	}
	deadline, again := time.NewTimer(s.patience), time.NewTicker(lookLeast)
	defer deadline.Stop()
	defer again.Stop()
	for {
		adopted := s.ask()
		if p := s.History.Plan(version); p != nil || adopted == nil {
			return p
		}
		select {
		case <-adopted:
		case <-again.C:
		case <-deadline.C:
			s.gaveUp(version)
			return nil
		}
	}
}

// ask has the source looked at, unless it just was, and gives what is closed when something
// new is there; nil while nobody looks because it was in vain.
func (s *sidecar) ask() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.vain) < s.rest {
		return nil
	}
	if time.Since(s.asked) >= lookLeast {
		s.asked = time.Now()
		s.look()
	}
	return s.adopted
}

// gaveUp has nobody look for a version for a while, which is longer each time.
func (s *sidecar) gaveUp(version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.vain) < s.rest {
		return // one of those who waited together has said so
	}
	s.vain, s.rest = time.Now(), min(max(2*s.rest, lookLeast), lookMost)
	s.log.Error("a version that Envoy has is not to be had here", "version", version)
}

// adopt makes a version the current one.
func (s *sidecar) adopt(cfg *config.Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.adoptLocked(cfg)
}

func (s *sidecar) adoptLocked(cfg *config.Config) error {
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
	s.learn(extproc.NewPlan(cfg))
	return nil
}

// learn makes a plan the newest, and tells those who wait. The caller holds s.mu.
func (s *sidecar) learn(p *extproc.Plan) {
	s.Add(p)
	close(s.adopted)
	s.adopted, s.rest = make(chan struct{}), 0
}

func (s *sidecar) answers() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(usage.PathUsage, s.meters.recent)
	mux.Handle(usage.PathUsage+"/", s.meters.recent)
	mux.Handle("/", &answer.Handler{Config: s.view.Load, Created: s.started})
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
