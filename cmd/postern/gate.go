package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/postern-proxy/postern/access"
	"github.com/postern-proxy/postern/answer"
	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/demo"
	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/extproc"
	"github.com/postern-proxy/postern/health"
	"github.com/postern-proxy/postern/usage"
	"github.com/postern-proxy/postern/xds"
)

// gate is one running Postern: the services, the sockets they listen on, and the
// configuration they all share.
type gate struct {
	place
	log     *slog.Logger
	config  atomic.Pointer[config.Config]
	signer  atomic.Pointer[access.Signer]
	xds     *xds.Server
	answers *answer.Handler
	plans   extproc.History
	budget  *extproc.Budget
	meters  *meters
	sockets sockets
	trust   string
	binary  string            // Envoy's, if one is at hand
	judged  [sha256.Size]byte // what it accepted last (judge); of watch alone
	fleet   bool              // Envoys of other hosts are served too
	source  *source
	started time.Time
	handed  handed // to replicas
	second  second

	// changing is held by whoever makes another snapshot the one that is served: of
	// another configuration, or in another order.
	changing sync.Mutex
	plan     health.Plan // of routes that are not tried as configured; guarded by changing
	unmoved  string      // why a plan could not be followed, as it was logged; likewise
	served   views       // the same
	probes   probes

	lastError atomic.Pointer[string] // of the last reload, for status
	cleanup   func()
}

// sockets are the paths of the Unix sockets, all in one private folder.
type sockets struct {
	folder  string
	xds     string
	admin   string // Envoy's
	answer  string
	demo    string
	status  string
	usage   string // the access log service
	records string // the same, from the native module

	process  string   // the ext_proc service
	replicas []string // and its others
}

// open makes the parts and starts nothing.
func open(at place, cfg *config.Config, log *slog.Logger, replicas []string, own bool) (*gate, error) {
	signer, err := access.Open(at.data)
	if err != nil {
		return nil, err
	}
	// Made before anything listens: whoever waits for the gate finds it.
	if _, err := signer.Development(at.data, time.Now()); err != nil {
		return nil, err
	}
	trust, err := trustBundle()
	if err != nil {
		return nil, err
	}
	folder, cleanup, err := envoy.RuntimeFolder(at.data)
	if err != nil {
		return nil, err
	}
	// Where the sockets are, for the other commands: the folder is elsewhere
	// if the data folder's own path is too long for a socket.
	if err := os.WriteFile(folderNote(at.data), []byte(folder), 0o600); err != nil {
		cleanup()
		return nil, err
	}
	g := &gate{
		place: at, log: log, trust: trust, cleanup: cleanup, started: time.Now(),
		xds:    xds.NewServer(log),
		budget: extproc.NewBudget(int64(cfg.Extproc.Memory)),
		sockets: sockets{
			folder:  folder,
			xds:     filepath.Join(folder, "xds.sock"),
			admin:   filepath.Join(folder, "admin.sock"),
			answer:  filepath.Join(folder, "answer.sock"),
			demo:    filepath.Join(folder, "demo.sock"),
			status:  filepath.Join(folder, "status.sock"),
			usage:   filepath.Join(folder, "usage.sock"),
			records: filepath.Join(folder, "records.sock"),

			process:  filepath.Join(folder, "process.sock"),
			replicas: replicas,
		},
	}
	g.signer.Store(signer)
	if own {
		g.sockets.replicas = append(g.sockets.replicas, secondSocket(folder))
	}
	g.config.Store(cfg)
	g.answers = &answer.Handler{Config: g.config.Load, Created: g.started}
	if g.meters, err = openMeters(at, envoy.Admin{Socket: g.sockets.admin}, g.config.Load, log); err != nil {
		g.close()
		return nil, err
	}
	g.plans.Add(extproc.NewPlan(cfg, g.meters.prices.Load())) // an Envoy that outlived the Postern before this one asks at once
	g.xds.OnRefusal(g.meters.metrics.Refused)
	return g, nil
}

// folderNote is the file that says where a running gate has its sockets.
func folderNote(data string) string { return filepath.Join(data, "run", "folder") }

func (g *gate) close() {
	g.xds.Stop()
	if g.meters != nil {
		g.meters.close()
	}
	g.cleanup()
}

// serve starts the services; they end when ctx does. metrics is the address of the
// metrics' listener, or empty.
func (g *gate) serve(ctx context.Context, group *errgroup.Group, metrics string) {
	group.Go(func() error {
		l, err := listenUnix(ctx, g.sockets.xds)
		if err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, g.xds.Stop)
		defer stop()
		return g.xds.Serve(l)
	})
	group.Go(func() error {
		return serveProcess(ctx, g.sockets.process, &extproc.Service{
			Plans: &g.plans, Budget: g.budget, Log: g.log, Observe: g.meters.metrics.Stage,
		})
	})
	g.meters.serve(ctx, group, g.sockets.usage, g.sockets.records, metrics)
	group.Go(func() error { return serveHTTP(ctx, g.sockets.answer, g.ownAnswers()) })
	group.Go(func() error { return serveHTTP(ctx, g.sockets.demo, demo.New()) })
	group.Go(func() error { return serveHTTP(ctx, g.sockets.status, g.statusHandler()) })
}

// ownAnswers are what Postern answers itself to clients.
func (g *gate) ownAnswers() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(usage.PathUsage, g.meters.recent)
	mux.Handle(usage.PathUsage+"/", g.meters.recent)
	mux.Handle("/", g.answers)
	return mux
}

// statusHandler is what Postern tells its own commands.
func (g *gate) statusHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", g.serveStatus)
	mux.HandleFunc("GET /top", g.meters.serveTop)
	mux.HandleFunc("GET /configuration/{version...}", g.serveVersion)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	return mux
}

func (g *gate) stopServices(stop context.CancelFunc, services *errgroup.Group) error {
	stop()
	err := services.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// listenUnix opens a socket that only this user may use. A stale one, left by a
// process that was killed, is removed: the folder's lock says nobody has it.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// serveHTTP serves h on a Unix socket until ctx ends.
func serveHTTP(ctx context.Context, path string, h http.Handler) error {
	l, err := listenUnix(ctx, path)
	if err != nil {
		return err
	}
	return serveOn(ctx, l, h)
}

// serveOn serves h on l until ctx ends.
func serveOn(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = server.Close() // Envoy was drained before: nobody is waiting
	})
	err := server.Serve(l)
	if !stop() {
		<-done
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving on %s: %w", l.Addr(), err)
}

func (g *gate) bootstrap() ([]byte, error) {
	return envoy.Bootstrap(envoy.BootstrapSettings{
		NodeID:      "postern",
		Cluster:     "postern",
		AdminSocket: g.sockets.admin,
		XDSSocket:   g.sockets.xds,
	})
}
