package main

import (
	"context"
	"errors"
	"fmt"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"net"
	"path/filepath"
	"time"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/xds"
)

// fleetFlags are the flags by which a gate serves a fleet. Without an address there
// is none.
type fleetFlags struct {
	address     string
	certificate string
	key         string
	authorities string
}

func (f *fleetFlags) addTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.address, "fleet", "", "host:port where Envoys of other hosts get their configuration (see postern bootstrap); empty for none")
	cmd.Flags().StringVar(&f.certificate, "fleet-cert", "", "PEM file: the control plane's certificate for them")
	cmd.Flags().StringVar(&f.key, "fleet-key", "", "PEM file: its key")
	cmd.Flags().StringVar(&f.authorities, "fleet-ca", "", "PEM file: the authorities that signed the Envoys' certificates")
	cmd.MarkFlagsRequiredTogether("fleet", "fleet-cert", "fleet-key", "fleet-ca")
}

// serveFleet answers the Envoys of the fleet, if there is one, until ctx ends. The
// files are checked before anything runs.
func (g *gate) serveFleet(ctx context.Context, group *errgroup.Group, flags fleetFlags) error {
	if flags.address == "" {
		return nil
	}
	identity, err := xds.Identity{
		Certificate: flags.certificate, Key: flags.key, Authorities: flags.authorities, Log: g.log,
	}.TLS()
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", flags.address)
	if err != nil {
		return fmt.Errorf("--fleet: %w", err)
	}
	g.fleet = true
	group.Go(func() error {
		stop := context.AfterFunc(ctx, g.xds.Stop)
		defer stop()
		return g.xds.ServeFleet(l, identity)
	})
	return nil
}

// publish makes the gate's own snapshot and the fleet's the ones that are served. Where
// that fails for some, all go back to those before. The caller holds g.changing.
func (g *gate) publish(ctx context.Context, own xds.View, fleet map[string]xds.View, keep time.Duration) error {
	next := views{own, fleet}
	err := g.serveViews(ctx, next, keep)
	if err == nil {
		g.served = next
		return nil
	}
	if g.served.own.Snapshot != nil && ctx.Err() == nil {
		err = errors.Join(err, g.serveViews(ctx, g.served, keep))
	}
	return err
}

// views are what is served.
type views struct {
	own   xds.View
	fleet map[string]xds.View
}

func (g *gate) serveViews(ctx context.Context, v views, keep time.Duration) error {
	err := g.xds.Set(ctx, v.own.Snapshot, keep)
	if g.fleet {
		err = errors.Join(err, g.xds.SetFleet(ctx, v.fleet, keep))
	}
	return err
}

// fleetViews compiles what each cluster of the fleet gets, if there is one. in is
// what the gate's own Envoy gets; a cluster's hosts have their own services.
func (g *gate) fleetViews(in xds.Input) (map[string]xds.View, error) {
	all := map[string]xds.View{}
	if !g.fleet {
		return all, nil
	}
	clusters := []string{config.DefaultView}
	for name := range in.Config.Views {
		clusters = append(clusters, name)
	}
	for _, cluster := range clusters {
		part, services := in.Config.View(cluster)
		its := in
		its.Config, its.Trust, its.Sockets = part, trustFile(services), socketsIn(services)
		its.Module = "" // it lies beside our own Envoy
		snapshot, err := xds.Build(its)
		if err != nil {
			return nil, fmt.Errorf("the view %s: %w", cluster, err)
		}
		one := xds.View{Snapshot: snapshot}
		if v := in.Config.Views[cluster]; v != nil {
			one.Clients = v.Clients
		}
		all[cluster] = one
	}
	return all, nil
}

// socketsIn are the sockets of the services in a folder of a host of the fleet.
func socketsIn(services string) xds.Sockets {
	return xds.Sockets{
		Answer:  filepath.Join(services, "answer.sock"),
		Demo:    filepath.Join(services, "demo.sock"),
		Usage:   filepath.Join(services, "usage.sock"),
		Records: filepath.Join(services, "records.sock"),
		Process: []string{filepath.Join(services, "process.sock")},
	}
}

// trustFile is where such a host has the authorities that providers are checked
// against: systems keep theirs in different places.
func trustFile(services string) string { return filepath.Join(services, "trust.pem") }
