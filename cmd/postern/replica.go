package main

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/extproc"
)

// askMost bounds how long a version that nobody knows is asked for: a request waits.
const askMost = 5 * time.Second

func extprocCommand() *cobra.Command {
	var at place
	var from sourceFlags
	var socket string
	cmd := &cobra.Command{
		Use:   "extproc --socket PATH",
		Short: "Run another replica of the service that reads bodies",
		Long: "Run a replica of the ext_proc service on a Unix socket. Start the gate with\n" +
			"--replica PATH and the same configuration, variables and secrets included, and\n" +
			"either may be restarted unseen.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runReplica(cmd.Context(), at, from, socket)
		},
	}
	cmd.Flags().StringVar(&at.config, "config", "postern.yaml", "the configuration file, the gate's own")
	from.addSourceTo(cmd)
	cmd.Flags().StringVar(&socket, "socket", "", "the Unix socket to listen on (needed)")
	_ = cmd.MarkFlagRequired("socket")
	return cmd
}

func runReplica(ctx context.Context, at place, from sourceFlags, socket string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	// It keeps nothing on the disk: the gate beside it does.
	source, err := from.from(at, log)
	if err != nil {
		return err
	}
	cfg, err := source.open(ctx)
	if err != nil {
		return err
	}
	r := &replica{log: log, budget: extproc.NewBudget(int64(cfg.Extproc.Memory)), ask: func() (*config.Config, error) {
		ctx, cancel := context.WithTimeout(ctx, askMost)
		defer cancel()
		another, err := from.from(at, log) // the first is busy watching
		if err != nil {
			return nil, err
		}
		return another.open(ctx)
	}}
	r.add(cfg)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return serveProcess(ctx, socket, &extproc.Service{Plans: r, Budget: r.budget, Log: log})
	})
	group.Go(func() error {
		return source.watch(ctx, cfg, func(cfg *config.Config, err error) error {
			if err != nil {
				log.Error("the configuration was not changed: the last good version stays", "reason", err)
				return err
			}
			r.add(cfg)
			return nil
		})
	})
	log.Info("an ext_proc replica is serving", "socket", socket, "version", cfg.Version)
	return group.Wait()
}

// replica learns versions from the same source as the gate, and may hear of a new one
// later than Envoy does: then it asks the source at once.
type replica struct {
	extproc.History
	ask    func() (*config.Config, error)
	log    *slog.Logger
	budget *extproc.Budget

	mu     sync.Mutex // of those who add
	missed time.Time  // when the source was last asked for an unknown version
}

// Plan finds a version, if need be by asking again, at most every 100 ms.
func (r *replica) Plan(version string) *extproc.Plan {
	if p := r.History.Plan(version); p != nil {
		return p
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.History.Plan(version); p != nil || time.Since(r.missed) < 100*time.Millisecond {
		return p
	}
	cfg, err := r.ask()
	r.missed = time.Now()
	if err != nil {
		return nil
	}
	r.addLocked(cfg)
	return r.History.Plan(version)
}

func (r *replica) add(cfg *config.Config) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addLocked(cfg)
}

func (r *replica) addLocked(cfg *config.Config) {
	r.budget.Resize(int64(cfg.Extproc.Memory))
	boundMemory(cfg)
	r.Add(extproc.NewPlan(cfg))
}
