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

func extprocCommand() *cobra.Command {
	var file, socket string
	cmd := &cobra.Command{
		Use:   "extproc --socket PATH",
		Short: "Run another replica of the service that reads bodies",
		Long: "Run a replica of the ext_proc service on a Unix socket. Start the gate with\n" +
			"--replica PATH and the same configuration file, and either may be restarted unseen.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runReplica(cmd.Context(), file, socket)
		},
	}
	cmd.Flags().StringVar(&file, "config", "postern.yaml", "the configuration file, the gate's own")
	cmd.Flags().StringVar(&socket, "socket", "", "the Unix socket to listen on (needed)")
	_ = cmd.MarkFlagRequired("socket")
	return cmd
}

func runReplica(ctx context.Context, file, socket string) error {
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	r := &replica{file: file, log: log, budget: extproc.NewBudget(int64(cfg.Extproc.Memory))}
	r.add(cfg)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return serveProcess(ctx, socket, &extproc.Service{Plans: r, Budget: r.budget, Log: log})
	})
	group.Go(func() error {
		return config.Watcher{File: file, Current: cfg, Notify: func(cfg *config.Config, err error) {
			if err != nil {
				log.Error("the configuration was not changed: the last good version stays", "reason", err)
				return
			}
			r.add(cfg)
		}}.Run(ctx)
	})
	log.Info("an ext_proc replica is serving", "socket", socket, "version", cfg.Version)
	return group.Wait()
}

// replica learns versions from the same file as the gate, and may hear of a new one
// later than Envoy does: then it reads the file at once.
type replica struct {
	extproc.History
	file   string
	log    *slog.Logger
	budget *extproc.Budget

	mu     sync.Mutex // of those who add
	missed time.Time  // when the file was last read for an unknown version
}

// Plan finds a version, if need be by reading the file again, at most every 100 ms.
func (r *replica) Plan(version string) *extproc.Plan {
	if p := r.History.Plan(version); p != nil {
		return p
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.History.Plan(version); p != nil || time.Since(r.missed) < 100*time.Millisecond {
		return p
	}
	r.missed = time.Now()
	cfg, err := config.Load(r.file)
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
