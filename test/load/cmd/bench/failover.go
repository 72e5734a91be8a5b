package main

import (
	"context"
	_ "embed" // for the configuration
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/postern-proxy/postern/test/load"
)

//go:embed failover.yaml.tmpl
var failoverTemplate string

// The rows whose first provider is out of order, in one way each. What they show is
// what clients see while it lasts: the first few requests pay for finding out, and
// each now and then for asking again.
func failover(model string) func(*laboratory, context.Context) (load.Target, error) {
	return func(l *laboratory, ctx context.Context) (load.Target, error) {
		var err error
		if l.failing == "" {
			if _, l.failing, err = l.startSelf(ctx, "failing provider", "broken", "--how", "503"); err != nil {
				return load.Target{}, err
			}
			if _, l.silent, err = l.startSelf(ctx, "silent provider", "broken", "--how", "silence"); err != nil {
				return load.Target{}, err
			}
		}
		target, err := l.nativeOf(ctx, "failover.yaml", failoverTemplate)
		target.Model = model
		return target, err
	}
}

// broken is the process of a provider that is out of order: it fails at once, or never
// answers. It ends when its standard input does.
func broken(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("bench broken", flag.ContinueOnError)
	how := flags.String("how", "503", "503, or silence")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if *how == "silence" {
			<-r.Context().Done()
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	})}
	defer context.AfterFunc(untilOrphan(ctx), func() { _ = server.Close() })()
	fmt.Println(listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
