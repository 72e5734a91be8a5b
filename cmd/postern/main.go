// Command postern is the gate: it compiles a configuration into Envoy's terms,
// runs Envoy, and serves the parts that need Go.
//
// The invariant: what a person must read is one sentence on standard error and a
// non-zero exit code; a stack is a defect. main wires and decides nothing.
//
// Everything runs until the context of the command ends, and is then stopped in
// the reverse order of its start.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	if err := command().ExecuteContext(untilAsked()); err != nil {
		if _, read := errors.AsType[told](err); !read {
			fmt.Fprintf(os.Stderr, "postern: %s\n", err)
		}
		os.Exit(1)
	}
}

// untilAsked is a context that ends with the first Ctrl-C or SIGTERM. The second ends
// the process at once, however soon it comes, and the kernel ends Envoy with it.
func untilAsked() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	asked := make(chan os.Signal, 2)
	signal.Notify(asked, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-asked
		cancel()
		<-asked
		os.Exit(128 + int(syscall.SIGINT))
	}()
	return ctx
}

// told is an error whose text the person has already read.
type told struct{ error }

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "postern",
		Short:         "A gate between applications and language models",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(runCommand(), serveCommand(), validateCommand(), explainCommand(),
		keysCommand(), statusCommand(), topCommand(), envoyCommand(), schemaCommand(), extprocCommand(), bootstrapCommand(), sidecarCommand(),
		configCommand(), trafficCommand())
	return root
}

// place are the flags that say where things are.
type place struct {
	config  string
	data    string
	journal string // a file for one line a request; empty: none

	unmetered bool   // Envoy tells nothing of requests
	reader    string // how answers are read: "module", "script", or "" for the best there is
	module    string // the path of the native reader, if it is used
}

func (p *place) addTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.config, "config", "postern.yaml", "the configuration file")
	p.addDataTo(cmd)
}

func (p *place) addDataTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.data, "data", ".postern", "the folder for keys, logs and sockets")
}
