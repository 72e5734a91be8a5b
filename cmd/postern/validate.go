package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

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

// checkByEnvoy has Envoy validate what cfg compiles to, and what each of its views
// does; the providers too whose secrets are not here. It says what was checked.
func checkByEnvoy(cmd *cobra.Command, cfg *config.Config) (string, error) {
	cfg, whole := cfg.Rehearsal()
	if !whole {
		return "Envoy did not check it, because variables of it are not set here", nil
	}
	binary, err := envoy.Find(cmd.Context(), envoy.SearchFromEnvironment())
	if errors.Is(err, envoy.ErrNotFound) {
		return "Envoy was not at hand to check it too", nil
	}
	if err != nil {
		return "", uncheckedError{err}
	}
	trust, err := trustBundle()
	if err != nil {
		return "", uncheckedError{err}
	}
	if err := envoyTakes(cmd.Context(), binary, trust, cfg); err != nil {
		return "", err
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Views)) {
		view, _ := cfg.View(name)
		if err := envoyTakes(cmd.Context(), binary, trust, view); err != nil {
			return "", fmt.Errorf("the view %s: %w", name, err)
		}
	}
	return "Envoy accepts it", nil
}

// envoyTakes has Envoy judge one configuration.
func envoyTakes(ctx context.Context, binary, trust string, cfg *config.Config) error {
	static, err := xds.Static(xds.Input{
		Config: cfg, JWKS: []byte(offlineKeys), Trust: trust,
		Sockets: xds.Sockets{Answer: os.DevNull, Demo: os.DevNull, Usage: os.DevNull, Records: os.DevNull, Process: []string{os.DevNull}},
	}, envoy.Runtime())
	if err != nil {
		return err
	}
	err = envoy.Validate(ctx, binary, static)
	if _, refused := errors.AsType[*envoy.RefusedError](err); err != nil && !refused {
		return uncheckedError{err}
	}
	return err
}

// uncheckedError says that Envoy could not be asked, though it should be at hand.
type uncheckedError struct{ error }

func (u uncheckedError) Unwrap() error { return u.error }
