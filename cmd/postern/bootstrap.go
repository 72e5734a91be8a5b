package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/postern-proxy/postern/envoy"
)

func bootstrapCommand() *cobra.Command {
	var settings envoy.BootstrapSettings
	var plane envoy.ControlPlane
	var into string
	cmd := &cobra.Command{
		Use:   "bootstrap --node ID --cluster NAME --control-plane HOST:PORT --cert FILE --key FILE --ca FILE",
		Short: "Print the bootstrap of an Envoy of a fleet",
		Long: "Print what an Envoy starts with that gets its configuration from a control plane\n" +
			"elsewhere (postern serve --fleet): postern bootstrap … > bootstrap.json; envoy -c bootstrap.json\n\n" +
			"With --into it is written to a folder, as bootstrap.json, with the two files by which Envoy reads\n" +
			"its certificate anew when that is replaced; without, a new certificate takes a restart of Envoy.\n" +
			"The paths are those on the Envoy's host, and postern sidecar runs there beside it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, path := range []*string{&plane.Certificate, &plane.Key, &plane.Authorities, &into} {
				if *path == "" {
					continue
				}
				absolute, err := filepath.Abs(*path)
				if err != nil {
					return err
				}
				*path = absolute
			}
			plane.Secrets = into
			settings.ControlPlane = &plane
			text, err := envoy.Bootstrap(settings)
			if err != nil {
				return plain(err)
			}
			if into == "" {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), string(text))
				return err
			}
			return writeBootstrap(into, text, plane)
		},
	}
	cmd.Flags().StringVar(&settings.NodeID, "node", "", "this Envoy's name (needed)")
	cmd.Flags().StringVar(&settings.Cluster, "cluster", "", "its cluster, which decides the view it gets (needed)")
	cmd.Flags().StringVar(&plane.Address, "control-plane", "", "host:port of postern serve --fleet (needed)")
	cmd.Flags().StringVar(&plane.Name, "control-plane-name", "", "the name in the control plane's certificate, if it is not its host")
	cmd.Flags().StringVar(&plane.Certificate, "cert", "", "PEM file: this Envoy's certificate (needed)")
	cmd.Flags().StringVar(&plane.Key, "key", "", "PEM file: its key (needed)")
	cmd.Flags().StringVar(&plane.Authorities, "ca", "", "PEM file: the authorities that signed the control plane's certificate (needed)")
	cmd.Flags().StringVar(&settings.AdminSocket, "admin", "/run/postern/admin.sock", "Unix socket of Envoy's admin interface")
	cmd.Flags().IntVar(&settings.MaxConnections, "max-connections", 0, "clients' connections at one time; 0 is a million")
	cmd.Flags().StringVar(&into, "into", "", "write to this folder in place of printing")
	for _, name := range []string{"node", "cluster", "control-plane", "cert", "key", "ca"} {
		_ = cmd.MarkFlagRequired(name)
	}
	return cmd
}

// plain is an error for a person, without the operation it comes from.
func plain(err error) error {
	text := err.Error()
	const operation = "envoy.Bootstrap: "
	if len(text) > len(operation) && text[:len(operation)] == operation {
		return errors.New(text[len(operation):])
	}
	return err
}

func writeBootstrap(folder string, text []byte, plane envoy.ControlPlane) error {
	files, err := plane.SecretFiles()
	if err != nil {
		return err
	}
	files["bootstrap.json"] = append(text, '\n')
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}
