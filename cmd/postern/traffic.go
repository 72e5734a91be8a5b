package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/config/set"
	"github.com/postern-proxy/postern/config/ssm"
)

func trafficCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "traffic", Short: "Say and change how requests are split between providers"}
	cmd.AddCommand(setTrafficCommand(), showTrafficCommand())
	return cmd
}

// trafficFlags are the flags of both.
type trafficFlags struct {
	storeFlags
	file   string
	source string
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
	var takeOver bool
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
			stored, err := flags.fromStore()
			if err != nil {
				return err
			}
			if stored {
				return setStored(cmd, flags, args[0], group, weights, takeOver)
			}
			return setInFile(cmd, flags, args[0], group, weights)
		},
	}
	flags.addAllTo(cmd)
	cmd.Flags().IntVar(&group, "group", 0, "which group of the route, from 1; 0 is the one that has these providers")
	cmd.Flags().BoolVar(&takeOver, "take-over", false, "go on though somebody else's change was begun and broken off")
	return cmd
}

// setInFile changes the weights in a file: at once, and only if the result is valid.
func setInFile(cmd *cobra.Command, flags trafficFlags, model string, group int, weights set.Weights) error {
	file, err := filepath.EvalSymlinks(flags.file)
	if err != nil {
		return fmt.Errorf("the file %s cannot be read", flags.file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("the file %s cannot be read", flags.file)
	}
	changed, err := set.Reweigh(text, []string{"models", model, "route"}, group, weights)
	if err != nil {
		return fmt.Errorf("%s: %w", flags.file, err)
	}
	env := config.Environment(filepath.Dir(flags.file))
	env.Parameter = flags.lookup().Get(cmd.Context())
	cfg, err := config.Parse(flags.file, changed, env)
	if err != nil {
		return theirProblems(cmd, err)
	}
	if err := replaceFile(file, changed); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s (version %s)\n", flags.file, sayWeights(model, weights), cfg.Version)
	return err
}

// replaceFile puts a new file in the place of an old one, with its mode.
func replaceFile(name string, text []byte) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(name), ".postern-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temporary.Name()) }() // gone already if all went well
	if _, err := temporary.Write(text); err != nil {
		_ = temporary.Close()
		return err
	}
	if err := temporary.Chmod(info.Mode().Perm()); err != nil {
		_ = temporary.Close()
		return err
	}
	if err := temporary.Close(); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), name)
}

func sayWeights(model string, weights set.Weights) string {
	words := make([]string, 0, len(weights))
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		words = append(words, fmt.Sprintf("%s=%d", name, weights[name]))
	}
	return config.Path("models", model) + " " + strings.Join(words, " ")
}

// setStored pushes a set that differs from the one in force in one part.
func setStored(cmd *cobra.Command, flags trafficFlags, model string, group int, weights set.Weights, takeOver bool) error {
	d, err := flags.sit(cmd)
	if err != nil {
		return err
	}
	found, err := d.set("")
	if err != nil {
		return theirProblems(cmd, err)
	}
	parts := slices.Clone(found.Parts)
	i := slices.IndexFunc(parts, func(p set.Part) bool { return p.Section == "models" && p.Entry == model })
	if i < 0 {
		return fmt.Errorf("set %s has no entry models.%s", found.ID, model)
	}
	changed, err := set.Reweigh([]byte(parts[i].Text), []string{"route"}, group, weights)
	if err != nil {
		return fmt.Errorf("%s: %w", found.Where(d.store)(parts[i].Key()), err)
	}
	if string(changed) == parts[i].Text {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "nothing to change: set %s has these weights\n", found.ID)
		return err
	}
	parts[i].Text = string(changed)
	cfg, err := d.store.Config(cmd.Context(), parts, config.Environment("."), nil)
	if err != nil {
		return theirProblems(cmd, err)
	}
	return d.put(found, ssm.Draft{
		Kind: "traffic", Parts: parts, Version: cfg.Version, Base: found.Meta.Base,
		What: sayWeights(model, weights), TakeOver: takeOver,
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
		return config.LoadWith(f.file, f.lookup().Get(cmd.Context()))
	}
	d, err := f.sit(cmd)
	if err != nil {
		return nil, err
	}
	_, cfg, err := d.judge("", "")
	return cfg, err
}
