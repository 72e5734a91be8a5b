package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/envoy"
)

func envoyCommand() *cobra.Command {
	var folder string
	fetch := &cobra.Command{
		Use:   "fetch",
		Short: "Fetch the pinned Envoy, checked against its hash",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if path, err := envoy.Find(cmd.Context(), envoy.SearchFromEnvironment()); err == nil {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), path)
				return err
			}
			path, err := envoy.Fetch(cmd.Context(), folder)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), path)
			return err
		},
	}
	fetch.Flags().StringVar(&folder, "into", envoy.DefaultFolder, "the folder to put it in")
	cmd := &cobra.Command{Use: "envoy", Short: "The Envoy that Postern runs (" + envoy.Version + ")"}
	cmd.AddCommand(fetch)
	return cmd
}

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration file",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(config.Schema())
			return err
		},
	}
}
