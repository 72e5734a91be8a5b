// Command bench measures the gate: a mock provider asked directly, through a plain
// Envoy hop, through an Envoy that asks a service which does nothing, and through
// Postern's lanes, in one run.
//
// The invariant: everything it compares ran on the same machine in the same run, in
// turns; if any request fails, or goes another way than its row's, there is no
// report. The mock provider and the service that does nothing are processes of their
// own ("bench upstream", "bench noop"), so that their processor time can be told from
// the client's.
//
// Everything it starts is stopped before it ends, and by the kernel if it is killed
// (on Linux, the only system whose processes it can measure).
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

func main() {
	runtime.LockOSThread() // children are bound to the life of the thread that starts them
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := dispatch(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

// parts are the processes that the bench starts itself as.
var parts = map[string]func(context.Context, []string) error{"upstream": upstream, "noop": noop, "broken": broken, "bedrock": bedrock}

func dispatch(ctx context.Context, arguments []string) error {
	if len(arguments) > 0 {
		if part, ok := parts[arguments[0]]; ok {
			return part(ctx, arguments[1:])
		}
	}
	return command(ctx, arguments)
}
