package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/postern-proxy/postern/usage"
)

func topCommand() *cobra.Command {
	var at place
	var once bool
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch what the running gate does, a minute at a time",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fetch := func(ctx context.Context) (usage.Snapshot, error) {
				var s usage.Snapshot
				return s, ask(ctx, at.data, "/top", &s)
			}
			// A gate that does not run is said at once; one that stops later may come back.
			snapshot, err := fetch(cmd.Context())
			if err != nil {
				return err
			}
			if !once && term.IsTerminal(int(os.Stdout.Fd())) {
				return usage.Watch{Out: cmd.OutOrStdout(), Fetch: fetch, Size: terminal}.Run(cmd.Context())
			}
			width, height := terminal()
			// A line less, so that the prompt behind it moves nothing out of sight.
			_, err = fmt.Fprint(cmd.OutOrStdout(), usage.Top(snapshot, width, height-1))
			return err
		},
	}
	at.addDataTo(cmd)
	cmd.Flags().BoolVar(&once, "once", false, "print the table once, as where it does not go to a terminal")
	return cmd
}

// terminal is the size of the terminal, or of one that everybody has.
func terminal() (width, height int) {
	width, height, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return 80, 24
	}
	return width, height
}
