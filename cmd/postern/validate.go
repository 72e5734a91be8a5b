package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/envoy"
	"github.com/postern-proxy/postern/xds"
)

// offlineKeys stand in for the real ones where nothing is served. Envoy takes no
// empty set; this key is the example of RFC 8037, whose private half everybody knows.
const offlineKeys = `{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"offline","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`

func validateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE",
		Short: "Say everything that is wrong with a configuration file",
		Long: "Say everything that is wrong with a configuration file; exit code 1 if anything is. With\n" +
			"Envoy at hand, Envoy judges what the file compiles to as well.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadAndTell(cmd.ErrOrStderr(), args[0])
			if err != nil {
				return err
			}
			checked, err := checkByEnvoy(cmd, cfg)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is valid: version %s, %d models, %d providers; %s\n",
				args[0], cfg.Version, len(cfg.Models), len(cfg.Providers), checked)
			return err
		},
	}
}

// loadAndTell loads a file and prints its problems, or else its warnings, a line
// each.
func loadAndTell(out io.Writer, file string) (*config.Config, error) {
	cfg, err := config.Load(file)
	if problems, ok := errors.AsType[config.Problems](err); ok {
		fmt.Fprintln(out, problems.Error())
		return nil, told{err}
	}
	if err != nil {
		return nil, err
	}
	for _, w := range cfg.Warnings() {
		fmt.Fprintf(out, "warning: %s:%d: %s: %s\n", file, w.Line, w.Path, w.Message)
	}
	return cfg, nil
}

// checkByEnvoy has Envoy validate what cfg compiles to.
func checkByEnvoy(cmd *cobra.Command, cfg *config.Config) (string, error) {
	binary, err := envoy.Find(cmd.Context(), envoy.SearchFromEnvironment())
	if errors.Is(err, envoy.ErrNotFound) {
		return "Envoy was not at hand to check it too", nil
	}
	if err != nil {
		return "", err
	}
	trust, err := trustBundle()
	if err != nil {
		return "", err
	}
	static, err := xds.Static(xds.Input{
		Config: cfg, JWKS: []byte(offlineKeys), Trust: trust,
		Sockets: xds.Sockets{Answer: os.DevNull, Demo: os.DevNull, Usage: os.DevNull, Records: os.DevNull, Process: []string{os.DevNull}},
	}, envoy.Runtime())
	if err != nil {
		return "", err
	}
	if err := envoy.Validate(cmd.Context(), binary, static); err != nil {
		return "", err
	}
	return "Envoy accepts it", nil
}
