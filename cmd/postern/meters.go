package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/health"
	"github.com/postern-proxy/postern/usage"
	"github.com/postern-proxy/postern/usage/price"
)

// meters is what knows what happened: the access log's reader and all that it tells.
type meters struct {
	service  *usage.Service
	ledger   *usage.Ledger
	metrics  *usage.Metrics
	recent   *usage.Recent
	window   *usage.Window
	envoy    *usage.Envoy
	gap      *usage.GapMeter
	tracker  *health.Tracker
	address  string // of the metrics; empty: nobody serves them
	registry *prometheus.Registry
	journal  *usage.Journal // nil: nobody asked for one
	file     *os.File       // of the journal

	config   func() *config.Config
	prices   atomic.Pointer[price.Table]
	versions versions
	instance atomic.Pointer[string] // of the running Envoy, if it is ours
}

// openMeters makes them; nothing runs yet.
func openMeters(at place, admin envoy.Admin, current func() *config.Config, log *slog.Logger) (*meters, error) {
	ledger, renewed, err := usage.OpenLedger(filepath.Join(at.data, "usage.ledger"))
	if err != nil {
		return nil, err
	}
	if renewed {
		log.Warn("the usage ledger was damaged and is begun anew: what was missing before is forgotten")
	}
	ledger.Report(reporter(log, "the usage ledger"))
	m := &meters{
		ledger: ledger, config: current, registry: prometheus.NewRegistry(),
		recent: usage.NewRecent(usage.RecentSettings{}),
		window: usage.NewWindow(usage.WindowSettings{}),
		envoy:  &usage.Envoy{Stats: admin.Stats},

		tracker: health.NewTracker(health.Settings{}),
	}
	m.envoy.Instance = func() string {
		if id := m.instance.Load(); id != nil {
			return *id
		}
		return ""
	}
	m.gap = &usage.GapMeter{Counters: m.envoy, Ledger: ledger}
	m.metrics = usage.NewMetrics(usage.MetricsSettings{Model: m.versions.known, System: m.versions.system, Tenants: current().Metrics.Tenants})
	consumers := []usage.Consumer{m.metrics, m.recent, m.window, usage.ConsumerFunc(m.finished)}
	if at.journal != "" {
		file, err := os.OpenFile(at.journal, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, errors.Join(err, ledger.Close())
		}
		if err := ledger.Keep(file); err != nil {
			return nil, errors.Join(err, file.Close(), ledger.Close())
		}
		m.file, m.journal = file, &usage.Journal{Out: file, Report: reporter(log, "the usage log")}
		consumers = append(consumers, m.journal)
	}
	m.service = usage.New(usage.Settings{
		Decoder: usage.Decoder{
			Name:       m.versions.sharedName,
			Understood: m.versions.understood,
			Prices:     m.versions.pricesOf,
		},
		Consumers: consumers,
		Attempt:   m.attempted,
		Ledger:    ledger,
	})
	// Before anything listens: an Envoy that outlived the Postern before this one does
	// not wait.
	table, err := prices(current())
	if err != nil {
		return nil, errors.Join(err, ledger.Close())
	}
	m.adopt(current(), table)
	m.registry.MustRegister(m.metrics, m.envoy, health.NewCollector(m.tracker),
		&usage.State{Service: m.service, Gap: m.gap, Ledger: m.ledger, Journal: m.journal, InFlight: m.envoy.InFlight},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m, nil
}

// adopt makes a configuration and its prices the current ones.
func (m *meters) adopt(cfg *config.Config, table *price.Table) {
	m.prices.Store(table)
	m.versions.add(newVersion(cfg, table))
	m.metrics.Configured(cfg.Version, time.Now())
}

// prices is the table that a configuration asks for.
func prices(cfg *config.Config) (*price.Table, error) {
	settings := price.Settings{Vendors: map[string]string{}, Quotes: map[string]price.Quote{}, Free: map[string]bool{}}
	for name, p := range cfg.Providers {
		settings.Free[name] = p.Builtin != ""
		if vendor := p.PriceList(); vendor != "" {
			settings.Vendors[name] = vendor
		}
	}
	for model, p := range cfg.Prices {
		settings.Quotes[model] = price.Quote{
			Input: string(p.Input), Cached: string(p.Cached), Written: string(p.Written), Output: string(p.Output),
		}
	}
	return price.Load(settings)
}

// serve runs the readers of the log, and the metrics' own listener unless address is
// empty.
func (m *meters) serve(ctx context.Context, group *errgroup.Group, socket, records, address string) {
	m.address = address
	group.Go(func() error { return m.serveLog(ctx, socket) })
	group.Go(func() error { return m.serveRecords(ctx, records) })
	group.Go(func() error { return m.service.Run(ctx) })
	group.Go(func() error { return m.gap.Run(ctx) })
	if address != "" {
		group.Go(func() error { return m.serveMetrics(ctx, address) })
	}
}

func (m *meters) serveLog(ctx context.Context, socket string) error {
	l, err := listenUnix(ctx, socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer(usage.ServerOption(),
		grpc.InitialWindowSize(4<<20), grpc.InitialConnWindowSize(4<<20))
	m.service.Register(server)
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	if err := server.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("access log: %w", err)
	}
	return nil
}

func (m *meters) serveRecords(ctx context.Context, socket string) error {
	l, err := listenUnix(ctx, socket)
	if err != nil {
		return err
	}
	return m.service.ServeRecords(ctx, l)
}

func (m *meters) serveMetrics(ctx context.Context, address string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("metrics: %w (choose another address with --metrics, or none with --metrics '')", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	return serveOn(ctx, l, mux)
}

// serveTop gives the last minute, for postern top.
func (m *meters) serveTop(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	s := m.window.Snapshot()
	s.Version, s.Missing = m.config().Version, m.gap.Gap().Missing
	if active, ok := m.envoy.InFlight(); ok {
		s.InFlight = int64(active)
	}
	_ = json.NewEncoder(w).Encode(s) //nolint:errchkjson // the reader went away, or not: nothing to do
}

func (m *meters) close() {
	_ = m.ledger.Close()
	if m.file != nil {
		m.journal.Flush()
		_ = m.file.Close()
	}
}

// trouble is why records or counts of them are not on the disk; empty if they are.
func (m *meters) trouble() string {
	if _, failed := m.ledger.Trouble(); failed != nil {
		return "the usage ledger cannot be written: " + failed.Error()
	}
	if m.journal != nil {
		if _, lost, failed := m.journal.Trouble(); failed != nil || lost > 0 {
			return fmt.Sprintf("the usage log cannot be written, %d lines are lost: %v", lost, failed)
		}
	}
	return ""
}

// reporter logs once that a file cannot be written, and once that it can be again.
func reporter(log *slog.Logger, what string) func(error) {
	return func(err error) {
		if err != nil {
			log.Error(what+" cannot be written", "reason", err)
			return
		}
		log.Info(what + " can be written again")
	}
}
