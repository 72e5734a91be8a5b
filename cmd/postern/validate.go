package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

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
	static, err := compiled(trust, cfg)
	if err != nil {
		return err
	}
	return accepted(ctx, binary, static)
}

// compiled is all that a configuration comes to, in one document.
func compiled(trust string, cfg *config.Config) ([]byte, error) {
	return xds.Static(xds.Input{
		Config: cfg, JWKS: []byte(offlineKeys), Trust: trust,
		Sockets: xds.Sockets{Answer: os.DevNull, Demo: os.DevNull, Usage: os.DevNull, Records: os.DevNull, Process: []string{os.DevNull}},
	}, envoy.Runtime())
}

// accepted has Envoy judge such a document.
func accepted(ctx context.Context, binary string, static []byte) error {
	err := envoy.Validate(ctx, binary, static)
	if _, refused := errors.AsType[*envoy.RefusedError](err); err != nil && !refused {
		return uncheckedError{err}
	}
	return err
}

// judge has Envoy look at a configuration before the gate changes to it, where there is an
// Envoy and it is not what it saw last: another value of a secret is no other
// configuration. That it could not be asked is logged, and no reason to wait.
func (g *gate) judge(ctx context.Context, cfg *config.Config) error {
	if g.binary == "" {
		return nil
	}
	static, err := compiled(g.trust, cfg.Masked())
	if err != nil {
		return err
	}
	seen := sha256.Sum256(static)
	if seen == g.judged {
		return nil
	}
	within, cancel := context.WithTimeout(ctx, judging)
	defer cancel()
	err = accepted(within, g.binary, static)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if _, unchecked := errors.AsType[uncheckedError](err); unchecked {
		g.log.Warn("Envoy was not asked for its opinion of the new configuration", "reason", err.Error())
		return nil
	}
	if err == nil {
		g.judged = seen
	}
	return err
}

// judging is how long that may take; it takes a quarter of a second.
const judging = 10 * time.Second

// uncheckedError says that Envoy could not be asked, though it should be at hand.
type uncheckedError struct{ error }

func (u uncheckedError) Unwrap() error { return u.error }
