package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/xds"
)

func explainCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "explain MODEL",
		Short: "Say which way a request for a model takes, and which line says so",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadAndTell(cmd.ErrOrStderr(), file)
			if err != nil {
				return err
			}
			return explain(cmd.OutOrStdout(), file, cfg, args[0])
		},
	}
	cmd.Flags().StringVar(&file, "config", "postern.yaml", "the configuration file")
	return cmd
}

func explain(out io.Writer, file string, cfg *config.Config, model string) error {
	name, m, ok := cfg.Match(model)
	if !ok {
		return fmt.Errorf("no model or pattern in %s matches %q: a request for it gets 404 model_not_found", file, model)
	}
	at := func(steps ...any) string {
		if line, _, ok := cfg.Position(config.Path(steps...)); ok {
			return fmt.Sprintf("   (%s:%d)", file, line)
		}
		return ""
	}
	fmt.Fprintf(out, "%s is served by the entry %q%s\n", model, name, at("models", name))
	explainLane(out, cfg, name, at)
	explainRoute(out, cfg, name, at)
	if m.Prefer == config.PreferCost && len(m.UsableRoute(cfg.Providers)) > 1 {
		by := "three input tokens and one output token: nobody reads the body"
		if m.Arranges(name, cfg.Providers) {
			by = "each request"
		}
		fmt.Fprintf(out, "order: the cheaper group first, by the price of %s%s\n", by, at("models", name, "prefer"))
	}
	if m.Holds() {
		fmt.Fprintf(out, "hold: an answer begins with its first event, or first byte where it is no stream%s\n", at("models", name, "hold"))
	}
	t := m.Timeouts
	fmt.Fprintf(out, "times: first byte %s, idle %s, total %s%s\n",
		time.Duration(t.FirstByte), time.Duration(t.Idle), time.Duration(t.Total), at("models", name, "timeouts"))
	return nil
}

// explainLane says what reads the body, and which lines ask for it.
func explainLane(out io.Writer, cfg *config.Config, name string, at func(...any) string) {
	m := cfg.Models[name]
	to, shared := config.SharedName(name, m.UsableRoute(cfg.Providers)) // to is empty unless shared
	switch {
	case m.Understood(name, cfg.Providers):
		fmt.Fprintln(out, "lane: understood: Go reads and may change the body, because of")
		for _, key := range []string{"validate", "system"} {
			if place := at("models", name, key); place != "" {
				fmt.Fprintf(out, "  %s%s\n", key, place)
			}
		}
		if to != "" {
			fmt.Fprintf(out, "  the model's name at the provider: %s%s\n", to, at("models", name, "route"))
		}
		if config.Picks(m.UsableRoute(cfg.Providers), cfg.Providers) {
			fmt.Fprintf(out, "  targets that cannot serve each request%s\n", at("models", name, "route"))
		}
	case slices.ContainsFunc(slices.Concat(m.UsableRoute(cfg.Providers)...), config.Target.Translated):
		fmt.Fprintln(out, "lane: native to the provider, where Go translates the request of each attempt, and its answer")
	case !shared:
		fmt.Fprintln(out, "lane: native: Envoy routes; Go writes the name into the body at attempts whose target has its own")
	default:
		fmt.Fprintf(out, "lane: native: Envoy reads the model's name and routes; Go only finds the name in bodies above %d KiB\n", xds.SmallBody>>10)
	}
}

func explainRoute(out io.Writer, cfg *config.Config, name string, at func(...any) string) {
	m := cfg.Models[name]
	for i, group := range m.Route {
		total := 0
		for _, target := range group {
			if cfg.Providers[target.Provider].Usable() {
				total += target.Share()
			}
		}
		fmt.Fprintf(out, "group %d:%s\n", i+1, at("models", name, "route", i))
		for _, target := range group {
			share := "left out here: its credential is missing"
			switch {
			case target.Share() == 0:
				share = "left out: its weight is 0"
			case cfg.Providers[target.Provider].Usable():
				share = fmt.Sprintf("%.4g %%", 100*float64(target.Share())/float64(total))
			}
			as := ""
			if own := target.OwnName(name); own != "" {
				as = " as " + own
			}
			fmt.Fprintf(out, "  %-16s %s%s\n", target.Provider, share, as)
		}
	}
	if len(m.UsableRoute(cfg.Providers)) == 0 {
		fmt.Fprintln(out, "nothing is left: a request for it gets 404 model_not_found")
	}
}
