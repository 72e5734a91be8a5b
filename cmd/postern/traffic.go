package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/config/set"
	"github.com/postern-proxy/postern/config/ssm"
)

func trafficCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "traffic", Short: "Say and change how requests are split between providers"}
	cmd.AddCommand(setTrafficCommand(), orderTrafficCommand(), showTrafficCommand())
	return cmd
}

// trafficFlags are the flags of both.
type trafficFlags struct {
	storeFlags
	tierFlag
	file     string
	source   string
	takeOver bool
}

// edit changes the route of a model in a text and nothing else; at leads to the route.
type edit struct {
	model  string
	change func(text []byte, at []string) ([]byte, error)
	what   string // for people
}

// apply changes a route where the configuration lies.
func (f *trafficFlags) apply(cmd *cobra.Command, e edit) error {
	stored, err := f.fromStore()
	if err != nil {
		return err
	}
	if stored {
		return f.changeStored(cmd, e)
	}
	return f.changeFile(cmd, e)
}

// addChangeTo adds the flags of a change.
func (f *trafficFlags) addChangeTo(cmd *cobra.Command) {
	f.addTierTo(cmd)
	cmd.Flags().BoolVar(&f.takeOver, "take-over", false, "go on though somebody else's change was begun and broken off")
}

func (f *trafficFlags) addAllTo(cmd *cobra.Command) {
	f.addTo(cmd)
	cmd.Flags().StringVar(&f.file, "config", "postern.yaml", "the configuration file")
	cmd.Flags().StringVar(&f.source, "source", "", "file or ssm; ssm if --env is given")
}

func (f *trafficFlags) fromStore() (bool, error) {
	switch f.source {
	case "":
		return f.env != "", nil
	case "file", "ssm":
		return f.source == "ssm", nil
	default:
		return false, fmt.Errorf("--source is file or ssm, not %q", f.source)
	}
}

func setTrafficCommand() *cobra.Command {
	var flags trafficFlags
	var group int
	cmd := &cobra.Command{
		Use:   "set MODEL PROVIDER=WEIGHT…",
		Short: "Change the weights of one group of a model's route, and nothing else",
		Long: "Change the weights of one group of a model's route, and nothing else: in the file, whose\n" +
			"comments stay, or in Parameter Store, as a new set that differs in one parameter. Every\n" +
			"provider of the group is named; 0 takes one out. Where a provider stands in a group more\n" +
			"than once, its targets are named PROVIDER/MODEL=WEIGHT.",
		Example: "  postern traffic set gpt-4o openai=50 bedrock=50 --env prod",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			weights, err := set.ParseWeights(args[1:])
			if err != nil {
				return err
			}
			return flags.apply(cmd, edit{model: args[0], what: sayWeights(args[0], weights), change: func(text []byte, at []string) ([]byte, error) {
				return set.Reweigh(text, at, group, weights)
			}})
		},
	}
	flags.addAllTo(cmd)
	cmd.Flags().IntVar(&group, "group", 0, "which group of the route, from 1; 0 is the one that has these providers")
	flags.addChangeTo(cmd)
	return cmd
}

func orderTrafficCommand() *cobra.Command {
	var flags trafficFlags
	cmd := &cobra.Command{
		Use:     "order MODEL GROUP…",
		Short:   "Change the order in which the groups of a model's route are tried",
		Example: "  postern traffic order gpt-4o 2 1 --env prod",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			order := make([]int, 0, len(args)-1)
			for _, arg := range args[1:] {
				number, err := strconv.Atoi(arg)
				if err != nil {
					return fmt.Errorf("%q is no group: they are counted from 1", arg)
				}
				order = append(order, number)
			}
			what := config.Path("models", args[0]) + " groups " + strings.Join(args[1:], " ")
			return flags.apply(cmd, edit{model: args[0], what: what, change: func(text []byte, at []string) ([]byte, error) {
				return set.Reorder(text, at, order)
			}})
		},
	}
	flags.addAllTo(cmd)
	flags.addChangeTo(cmd)
	return cmd
}

// changeFile changes a route in a file: at once, and only if the result is valid.
func (f *trafficFlags) changeFile(cmd *cobra.Command, e edit) error {
	file, err := filepath.EvalSymlinks(f.file)
	if err != nil {
		return fmt.Errorf("the file %s cannot be read", f.file)
	}
	unlock, err := lockFolder(cmd.Context(), filepath.Dir(file))
	if err != nil {
		return err
	}
	defer unlock()
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("the file %s cannot be read", f.file)
	}
	changed, err := e.change(text, []string{"models", e.model, "route"})
	if err != nil {
		return fmt.Errorf("%s: %w", f.file, err)
	}
	cfg, err := config.Parse(f.file, changed, f.here(cmd))
	if err != nil {
		return theirProblems(cmd, err)
	}
	if err := judgeRoute(cmd, cfg); err != nil {
		return err
	}
	if err := replaceFile(file, text, changed); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s (version %s)\n", f.file, e.what, cfg.Version)
	return err
}

// here is what a file refers to. It may be the copy of a gate's, on another machine: who
// moves traffic is not kept from it by what only the gate's has.
func (f *trafficFlags) here(cmd *cobra.Command) config.Env {
	env := config.Environment(filepath.Dir(f.file))
	env.Parameter, env.Elsewhere = f.lookup().Get(cmd.Context()), true
	return env
}

// judgeRoute has Envoy judge a changed configuration, where it is at hand.
func judgeRoute(cmd *cobra.Command, cfg *config.Config) error {
	sayAbsent(cmd.ErrOrStderr(), cfg)
	_, err := checkByEnvoy(cmd, cfg)
	if unchecked, ok := errors.AsType[uncheckedError](err); ok {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", unchecked)
		return nil
	}
	return err
}

func sayWeights(model string, weights set.Weights) string {
	words := make([]string, 0, len(weights))
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		words = append(words, fmt.Sprintf("%s=%d", name, weights[name]))
	}
	return config.Path("models", model) + " " + strings.Join(words, " ")
}

// changeStored pushes a set that differs from the one in force in one part.
func (f *trafficFlags) changeStored(cmd *cobra.Command, e edit) error {
	d, err := f.sit(cmd)
	if err != nil {
		return err
	}
	if err := f.tierOf(d.store); err != nil {
		return err
	}
	found, err := d.set("")
	if err != nil {
		return theirProblems(cmd, err)
	}
	parts := slices.Clone(found.Parts)
	i := slices.IndexFunc(parts, func(p set.Part) bool { return p.Section == "models" && p.Entry == e.model })
	if i < 0 {
		return fmt.Errorf("set %s has no entry %s", found.ID, config.Path("models", e.model))
	}
	changed, err := e.change([]byte(parts[i].Text), []string{"route"})
	if err != nil {
		return fmt.Errorf("%s: %w", found.Where(d.store)(parts[i].Key()), err)
	}
	if string(changed) == parts[i].Text {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "nothing to change: set %s has it so\n", found.ID)
		return err
	}
	parts[i].Text = string(changed)
	cfg, err := d.store.Config(cmd.Context(), parts, elsewhere(), nil)
	if err != nil {
		return theirProblems(cmd, err)
	}
	if err := judgeRoute(cmd, cfg); err != nil {
		return err
	}
	if err := d.store.Check(parts, found); err != nil {
		return theirProblems(cmd, err)
	}
	return d.put(found, ssm.Draft{
		Kind: "traffic", Parts: parts, Version: cfg.Version, Base: found.Meta.Base,
		What: e.what, TakeOver: f.takeOver,
	})
}

func showTrafficCommand() *cobra.Command {
	var flags trafficFlags
	cmd := &cobra.Command{
		Use:   "show [MODEL]",
		Short: "Say how requests are split between providers",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := flags.load(cmd)
			if err != nil {
				return theirProblems(cmd, err)
			}
			names := slices.Sorted(maps.Keys(cfg.Models))
			if len(args) == 1 {
				name, _, ok := cfg.Match(args[0])
				if !ok {
					return fmt.Errorf("no model or pattern matches %q", args[0])
				}
				names = []string{name}
			}
			for _, name := range names {
				fmt.Fprintf(cmd.OutOrStdout(), "%s\n", name)
				explainRoute(cmd.OutOrStdout(), cfg, name, func(...any) string { return "" })
			}
			return nil
		},
	}
	flags.addAllTo(cmd)
	return cmd
}

// load is the configuration that the flags name.
func (f *trafficFlags) load(cmd *cobra.Command) (*config.Config, error) {
	stored, err := f.fromStore()
	if err != nil {
		return nil, err
	}
	if !stored {
		text, err := os.ReadFile(f.file)
		if err != nil {
			return nil, fmt.Errorf("the file %s cannot be read", f.file)
		}
		return config.Parse(f.file, text, f.here(cmd))
	}
	d, err := f.sit(cmd)
	if err != nil {
		return nil, err
	}
	_, cfg, err := d.judge("", "")
	return cfg, err
}
