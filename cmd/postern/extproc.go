package main

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/postern-proxy/postern/extproc"
)

// processDrain is how long a stopping ext_proc service lets its streams end. They
// are short: none outlasts the reading of one body.
const processDrain = 10 * time.Second

// serveProcess serves the ext_proc service on a Unix socket until ctx ends. It
// then says that it is not serving, lets its streams end, and stops.
func serveProcess(ctx context.Context, path string, service *extproc.Service) error {
	l, err := listenUnix(ctx, path)
	if err != nil {
		return err
	}
	server := grpc.NewServer(extproc.ServerOptions()...)
	service.Register(server)
	ready := health.NewServer()
	healthpb.RegisterHealthServer(server, ready)
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		ready.Shutdown()
		timer := time.AfterFunc(processDrain, server.Stop)
		defer timer.Stop()
		server.GracefulStop()
	})
	err = server.Serve(l)
	if !stop() {
		<-stopped
		return nil
	}
	return fmt.Errorf("socket %s: %w", path, err)
}
