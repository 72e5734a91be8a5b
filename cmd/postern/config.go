package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/config/set"
	"github.com/postern-proxy/postern/config/ssm"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Read and change the configuration in AWS Parameter Store",
		Long: "Read and change the configuration in AWS Parameter Store. A configuration lies there as a\n" +
			"set, which is never changed: a push writes a new one and moves the pointer to it, a\n" +
			"rollback moves the pointer back. Credentials and region are those of AWS's own tools.",
	}
	cmd.AddCommand(showConfigCommand(), diffConfigCommand(), pushConfigCommand(), rollbackConfigCommand(),
		historyConfigCommand(), validateConfigCommand())
	return cmd
}

// desk is what the commands work with.
type desk struct {
	cmd   *cobra.Command
	store *ssm.Store
	state ssm.State
}

// sit opens the store and reads the pointer; state is zero where there is none.
func (f *storeFlags) sit(cmd *cobra.Command) (*desk, error) { return f.sitAt(cmd, false) }

// sitAt is sit. anew says that a pointer which a newer Postern wrote is to be written
// anew, and need not be read.
func (f *storeFlags) sitAt(cmd *cobra.Command, anew bool) (*desk, error) {
	store, err := f.open(cmd.Context())
	if err != nil {
		return nil, err
	}
	d := &desk{cmd: cmd, store: store}
	d.state, err = store.Active(cmd.Context())
	if errors.Is(err, set.ErrForm) {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s: a push or a rollback writes it anew\n", err)
	}
	if newer, ok := errors.AsType[set.NewerError](err); ok && anew {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s, or go on: this writes it anew, as it was before that\n", newer)
		err = ssm.ErrNothing
	}
	if errors.Is(err, ssm.ErrNothing) || errors.Is(err, set.ErrForm) {
		d.state, err = store.Recover(cmd.Context())
	}
	return d, err
}

// active is the set in force; nil if there is none.
func (d *desk) active() (*ssm.Set, error) {
	if d.state.Set == "" {
		return nil, nil //nolint:nilnil // no set is no failure
	}
	return d.store.Read(d.cmd.Context(), d.state.Set, nil)
}

// set is the set that a person names, or the one in force.
func (d *desk) set(name string) (*ssm.Set, error) {
	if name == "" {
		if d.state.Set == "" {
			return nil, fmt.Errorf("%s: %w", d.store.Tree.Active(), ssm.ErrNothing)
		}
		return d.active()
	}
	id, err := d.store.Find(d.cmd.Context(), name)
	if err != nil {
		return nil, err
	}
	return d.store.Read(d.cmd.Context(), id, nil)
}

// parts are those of a set, or of a file, laid over another environment if base names
// one: the two things that can be compared.
func (d *desk) parts(name, base string) ([]set.Part, error) {
	if _, err := os.Stat(name); err == nil {
		found, err := d.document(name, base)
		return found.parts, err
	}
	found, err := d.set(name)
	if err != nil {
		return nil, err
	}
	return found.Parts, nil
}

// document is a file as it would lie in Parameter Store.
type document struct {
	parts  []set.Part
	config *config.Config
	base   string // the environment and the set that it was laid over: "staging 000041-1a2b3c"
}

// document reads a file as a gate would that finds it in Parameter Store, laid over what
// is in force in another environment if base names one.
func (d *desk) document(file, base string) (document, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return document{}, fmt.Errorf("the file %s cannot be read", file)
	}
	env := elsewhere()
	if base != "" {
		return d.overlay(file, text, base, env)
	}
	lookup := &ssm.Lookup{Tree: d.store.Tree, Open: func(context.Context) (*ssm.Store, error) { return d.store, nil }}
	env.Parameter = lookup.Get(d.cmd.Context())
	cfg, err := config.Parse(file, text, env)
	if err != nil {
		return document{}, err
	}
	parts, err := set.Split(text)
	if err != nil {
		return document{}, err
	}
	again, err := d.store.Config(d.cmd.Context(), parts, env, nil)
	if err != nil {
		return document{}, err
	}
	if again.Version != cfg.Version {
		return document{}, fmt.Errorf("%s: means something else once it is split into parameters: write it without aliases (*name) and merges (<<)", file)
	}
	return document{parts: parts, config: cfg}, nil
}

// overlay lays a file over the set in force of another environment.
func (d *desk) overlay(file string, text []byte, base string, env config.Env) (document, error) {
	below, err := d.base(base)
	if err != nil {
		return document{}, err
	}
	over, err := set.Split(text)
	if err != nil {
		return document{}, fmt.Errorf("%s: %w", file, err)
	}
	own := map[string]bool{}
	for _, p := range over {
		own[p.Key()] = true
	}
	parts := set.Lay(below.Parts, over)
	cfg, err := d.store.Config(d.cmd.Context(), parts, env, func(key string) string {
		if own[key] {
			return file + " " + key
		}
		return below.Where(&ssm.Store{Tree: d.baseTree(base)})(key)
	})
	return document{parts, cfg, base + " " + below.ID}, err
}

func (d *desk) baseTree(env string) set.Tree {
	return set.Tree{Prefix: d.store.Tree.Prefix, Environment: env}
}

// base is the set in force of another environment.
func (d *desk) base(env string) (*ssm.Set, error) {
	other := *d.store
	other.Tree = d.baseTree(env)
	if err := other.Tree.Check(); err != nil {
		return nil, err
	}
	state, err := other.Active(d.cmd.Context())
	if err != nil {
		return nil, err
	}
	return other.Read(d.cmd.Context(), state.Set, nil)
}

// put puts a draft in force and says so.
func (d *desk) put(old *ssm.Set, draft ssm.Draft) error {
	draft.Author, draft.Now = d.store.Author(d.cmd.Context()), time.Now()
	record, err := d.store.Put(d.cmd.Context(), d.state, old, draft)
	if unpruned, ok := errors.AsType[*ssm.UnprunedError](err); ok {
		fmt.Fprintf(d.cmd.ErrOrStderr(), "warning: %s\n", unpruned)
	} else if err != nil {
		return theirProblems(d.cmd, err)
	}
	_, err = fmt.Fprintf(d.cmd.OutOrStdout(), "%s: set %s is in force (change %d, before it %s): %s\n",
		d.store.Tree.Active(), record.Set, record.Change, orNone(record.From), record.What)
	return err
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

func showConfigCommand() *cobra.Command {
	var flags storeFlags
	cmd := &cobra.Command{
		Use:   "show [SET]",
		Short: "Print the configuration in force, or another set",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := flags.sit(cmd)
			if err != nil {
				return err
			}
			found, err := d.set(strings.Join(args, ""))
			if err != nil {
				return theirProblems(cmd, err)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "set %s, version %s, in force: %t%s\n", found.ID, found.Meta.Version, found.ID == d.state.Set, over(found.Meta))
			_, err = fmt.Fprint(cmd.OutOrStdout(), set.Document(set.Masked(found.Parts)))
			return err
		},
	}
	flags.addTo(cmd)
	return cmd
}

func over(meta set.Meta) string {
	if meta.Base == "" {
		return ""
	}
	return ", laid over " + meta.Base
}

func diffConfigCommand() *cobra.Command {
	var flags storeFlags
	var base string
	cmd := &cobra.Command{
		Use:   "diff [SET|FILE] SET|FILE",
		Short: "Say what differs between the configuration in force and another, or between two",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := flags.sit(cmd)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				args = []string{"", args[0]}
			}
			var sides [2][]set.Part
			for i, name := range args {
				if sides[i], err = d.parts(name, base); err != nil {
					return theirProblems(cmd, err)
				}
			}
			return printDiff(cmd.OutOrStdout(), set.Diff(set.Masked(sides[0]), set.Masked(sides[1])))
		},
	}
	flags.addTo(cmd)
	cmd.Flags().StringVar(&base, "base", "", "the environment whose configuration a file is laid over")
	return cmd
}

func printDiff(out io.Writer, changes []set.Change) error {
	text := set.Lines(changes)
	if text == "" {
		text = "nothing differs\n"
	}
	_, err := fmt.Fprint(out, text)
	return err
}

func historyConfigCommand() *cobra.Command {
	var flags storeFlags
	var most int
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Say who changed what, when and from where; * is in force",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := flags.sit(cmd)
			if err != nil {
				return err
			}
			records, err := d.store.History(cmd.Context())
			if err != nil {
				return err
			}
			return printHistory(cmd.OutOrStdout(), records[:min(len(records), max(most, 0))], d.state)
		},
	}
	flags.addTo(cmd)
	cmd.Flags().IntVarP(&most, "number", "n", 20, "how many of the newest; 100 are kept")
	return cmd
}

func printHistory(out io.Writer, records []set.Record, now ssm.State) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, r := range records {
		mark := " "
		switch {
		case r.Change == now.Change:
			mark = "*"
		case r.Change > now.Change:
			mark = "?" // begun, not finished
		}
		at := "?"
		if !r.At.IsZero() {
			at = r.At.Format(time.RFC3339)
		}
		_, _ = fmt.Fprintf(table, "%s %d\t%s\t%s\t%s\t%s\t%s\t%s\n", mark, r.Change, at, r.Kind, r.Set, r.By, r.Host, r.What)
	}
	return table.Flush()
}

func validateConfigCommand() *cobra.Command {
	var flags struct {
		storeFlags
		tierFlag
	}
	var base string
	cmd := &cobra.Command{
		Use:   "validate [SET|FILE]",
		Short: "Say everything that is wrong with the configuration in force, another set, or a file to push",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := flags.sit(cmd)
			if err != nil {
				return err
			}
			if err := flags.tierOf(d.store); err != nil {
				return err
			}
			name, cfg, err := d.judge(strings.Join(args, ""), base)
			if err != nil {
				return theirProblems(cmd, err)
			}
			for _, w := range cfg.Warnings() {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", w)
			}
			checked, err := checkByEnvoy(cmd, cfg)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is valid: version %s, %d models, %d providers; %s\n",
				name, cfg.Version, len(cfg.Models), len(cfg.Providers), checked)
			return err
		},
	}
	flags.addTo(cmd)
	flags.addTierTo(cmd)
	cmd.Flags().StringVar(&base, "base", "", "the environment whose configuration the file is laid over")
	return cmd
}

// judge reads what a person names as a gate would.
func (d *desk) judge(name, base string) (string, *config.Config, error) {
	if _, err := os.Stat(name); err == nil {
		found, err := d.document(name, base)
		if err == nil {
			old, _ := d.active() // where it cannot be read, all is judged
			err = d.store.Check(found.parts, old)
		}
		return name, found.config, err
	}
	found, err := d.set(name)
	if err != nil {
		return "", nil, err
	}
	cfg, err := d.store.ConfigOf(d.cmd.Context(), found, elsewhere())
	return "set " + found.ID, cfg, err
}
