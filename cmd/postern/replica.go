package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/extproc"
)

// replicaFlags are the flags of postern extproc.
type replicaFlags struct {
	data   string
	socket string
	report bool // what the stages took goes to standard output, for the gate
}

func extprocCommand() *cobra.Command {
	var flags replicaFlags
	cmd := &cobra.Command{
		Use:   "extproc --socket PATH",
		Short: "Run another replica of the service that reads bodies",
		Long: "Run a replica of the ext_proc service on a Unix socket. It has its configuration from the\n" +
			"running gate of the data folder, whatever that has it from. Start the gate with --replica PATH,\n" +
			"and either may be restarted unseen. postern run has one of its own; see --own-replica.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return asked(cmd.Context(), runReplica(cmd.Context(), flags, cmd.OutOrStdout()))
		},
	}
	cmd.Flags().StringVar(&flags.data, "data", ".postern", "the gate's data folder")
	cmd.Flags().StringVar(&flags.socket, "socket", "", "the Unix socket to listen on (needed)")
	cmd.Flags().BoolVar(&flags.report, "report", false, "")
	_ = cmd.Flags().MarkHidden("report")
	_ = cmd.MarkFlagRequired("socket")
	return cmd
}

const (
	// awaitGate is how long a replica waits for its gate, and askGate how often it looks.
	awaitGate = 30 * time.Second
	askGate   = 100 * time.Millisecond
)

func runReplica(ctx context.Context, flags replicaFlags, out io.Writer) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	r := &replica{log: log, budget: extproc.NewBudget(0), ask: func(version string) (*config.Config, error) {
		return askVersion(ctx, flags.data, version)
	}}
	version, err := r.first(ctx)
	if err != nil {
		return err
	}
	service := &extproc.Service{Plans: r, Budget: r.budget, Log: log}
	group, ctx := errgroup.WithContext(ctx)
	if flags.report {
		reports := make(stageReports, 1024)
		service.Observe = reports.observe
		group.Go(func() error { return reports.write(ctx, out) })
	}
	group.Go(func() error { return serveProcess(ctx, flags.socket, service) })
	if !flags.report { // nobody watches it start who did not start it
		log.Info("an ext_proc replica is serving", "socket", flags.socket, "version", version)
	}
	return group.Wait()
}

// askVersion has the gate of a data folder hand out a version; empty is the one in use.
func askVersion(ctx context.Context, data, version string) (*config.Config, error) {
	var text json.RawMessage
	if err := ask(ctx, data, "/configuration/"+version, &text); err != nil {
		return nil, err
	}
	return config.Shared(text)
}

// replica learns versions from its gate, which has each before Envoy does: one that it
// does not know is there to be asked for.
type replica struct {
	extproc.History
	log    *slog.Logger
	budget *extproc.Budget
	ask    func(version string) (*config.Config, error)

	mu     sync.Mutex // of those who add
	missed time.Time  // when an unknown version was last asked for in vain
}

// first waits for the gate and learns its version.
func (r *replica) first(ctx context.Context) (version string, err error) {
	ticker := time.NewTicker(askGate)
	defer ticker.Stop()
	for deadline := time.Now().Add(awaitGate); ; {
		cfg, err := r.ask("")
		switch {
		case err == nil:
			r.mu.Lock()
			defer r.mu.Unlock()
			r.learn(cfg)
			return cfg.Version, nil
		case time.Now().After(deadline):
			return "", err
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-ticker.C:
		}
	}
}

// Plan finds a version, if need be by asking the gate, at most every 100 ms in vain.
func (r *replica) Plan(version string) *extproc.Plan {
	if p := r.History.Plan(version); p != nil {
		return p
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.History.Plan(version); p != nil || time.Since(r.missed) < askGate {
		return p
	}
	cfg, err := r.ask(version)
	if err == nil && cfg.Version != version {
		err = errors.New("the gate does not have it any more")
	}
	if err != nil {
		r.missed = time.Now()
		r.log.Error("a version that Envoy has is not to be had", "version", version, "reason", err)
		return nil
	}
	r.learn(cfg)
	return r.History.Plan(version)
}

// learn adds a version. The caller holds mu.
func (r *replica) learn(cfg *config.Config) {
	r.budget.Resize(int64(cfg.Extproc.Memory))
	boundMemory(cfg)
	table, err := prices(cfg)
	if err != nil {
		r.log.Error("no price is known", "reason", err)
	}
	r.Add(extproc.NewPlan(cfg, table))
}

// stageReports are what stages took, on their way to the gate, whose metrics they are: a
// line each. A gate that does not read them holds nobody up: then they are dropped.
type stageReports chan string

func (s stageReports) observe(stage, outcome string, took time.Duration) {
	select {
	case s <- fmt.Sprintf("%s %s %d\n", stage, outcome, took.Nanoseconds()):
	default:
	}
}

func (s stageReports) write(ctx context.Context, out io.Writer) error {
	to := bufio.NewWriter(out)
	for {
		select {
		case line := <-s:
			_, _ = to.WriteString(line)
			if len(s) == 0 && to.Flush() != nil {
				return errors.New("the gate is gone")
			}
		case <-ctx.Done():
			return nil
		}
	}
}
