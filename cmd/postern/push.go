package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postern-proxy/postern/config"
	"github.com/postern-proxy/postern/config/set"
	"github.com/postern-proxy/postern/config/ssm"
)

// pushFlags are the flags of push.
type pushFlags struct {
	storeFlags
	tierFlag
	base     string
	dryRun   bool
	takeOver bool
}

func pushConfigCommand() *cobra.Command {
	var flags pushFlags
	cmd := &cobra.Command{
		Use:   "push FILE",
		Short: "Put a file in force for an environment, unless anything is wrong with it",
		Long: "Put a file in force for an environment: all that is wrong with it is said first, and then\n" +
			"nothing is changed. With --base the file is an overlay: its entries replace or extend those\n" +
			"in force in another environment, and an entry without a value takes one out.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return push(cmd, flags, args[0]) },
	}
	flags.addTo(cmd)
	cmd.Flags().StringVar(&flags.base, "base", "", "the environment whose configuration the file is laid over")
	flags.addTierTo(cmd)
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "say what would change, and change nothing")
	cmd.Flags().BoolVar(&flags.takeOver, "take-over", false, "go on though somebody else's change was begun and broken off")
	return cmd
}

func push(cmd *cobra.Command, flags pushFlags, file string) error {
	d, err := flags.sit(cmd)
	if err != nil {
		return err
	}
	if err := flags.tierOf(d.store); err != nil {
		return err
	}
	found, err := d.document(file, flags.base)
	if err != nil {
		return theirProblems(cmd, err)
	}
	parts, cfg := found.parts, found.config
	// What is in force may be beyond reading; that is a reason to push, not one not to.
	old, unreadable := d.active()
	if unreadable != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: the set in force cannot be read: %s\n", unreadable)
		old = nil
	}
	if err := d.store.Check(parts, old); err != nil {
		return theirProblems(cmd, err)
	}
	for _, w := range cfg.Warnings() {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", w)
	}
	checked, err := checkByEnvoy(cmd, cfg)
	if err != nil {
		return err
	}
	changes := set.Diff(partsOf(old), parts)
	if old != nil && len(changes) == 0 {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "nothing to push: set %s is the same\n", old.ID)
		return err
	}
	d.sayRestart(old, cfg)
	if flags.dryRun {
		return printDiff(cmd.OutOrStdout(), changes)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s is valid: version %s; %s\n", file, cfg.Version, checked)
	return d.put(old, ssm.Draft{
		Kind: "push", Parts: parts, Version: cfg.Version, Base: found.base,
		What: set.Summary(changes, 400), TakeOver: flags.takeOver,
	})
}

// tierFlag says how much a parameter may hold.
type tierFlag struct{ tier string }

func (f *tierFlag) addTierTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.tier, "tier", "standard", "standard (4 KiB a parameter) or advanced (8 KiB, which costs money); one that is longer already goes on in its tier")
}

func (f *tierFlag) tierOf(store *ssm.Store) error {
	switch f.tier {
	case "standard":
	case "advanced":
		store.Limit = ssm.Advanced
	default:
		return fmt.Errorf("--tier is standard or advanced, not %q", f.tier)
	}
	return nil
}

func partsOf(s *ssm.Set) []set.Part {
	if s == nil {
		return nil
	}
	return s.Parts
}

// sayRestart says before a push what will wait for a restart.
func (d *desk) sayRestart(old *ssm.Set, next *config.Config) {
	if old == nil {
		return
	}
	before, err := d.store.ConfigOf(d.cmd.Context(), old, elsewhere())
	if err != nil {
		return // the next one is judged, not this
	}
	if _, moved := next.WithDoorsOf(before, nil); moved || (before.Listen.TLS == nil) != (next.Listen.TLS == nil) {
		fmt.Fprintln(d.cmd.ErrOrStderr(), "note: listen.address, and address and services of views, where they change for Envoys that are running (by a view that comes or goes too), and switching listen.tls on or off, take effect when a gate is started again; the rest at once")
	}
}

// sayRestartTo says the same before a rollback.
func (d *desk) sayRestartTo(old, next *ssm.Set) {
	cfg, err := d.store.Config(d.cmd.Context(), next.Parts, config.Environment("."), next.Where(d.store))
	if err == nil {
		d.sayRestart(old, cfg)
	}
}

func rollbackConfigCommand() *cobra.Command {
	var flags storeFlags
	var force, takeOver bool
	cmd := &cobra.Command{
		Use:   "rollback [SET]",
		Short: "Put the set before the one in force back in force, or the one that is named",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := flags.sitAt(cmd, true)
			if err != nil {
				return err
			}
			return d.rollback(strings.Join(args, ""), force, takeOver)
		},
	}
	flags.addTo(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "even if the set is not valid on this machine; a gate that finds it invalid keeps what it has")
	cmd.Flags().BoolVar(&takeOver, "take-over", false, "go on though somebody else's change was begun and broken off")
	return cmd
}

// judgeBack judges a set that is to be in force again. It was in force once: what Envoy
// says here and now is told, and keeps nobody from going back.
func (d *desk) judgeBack(found *ssm.Set, force bool) error {
	out := d.cmd.ErrOrStderr()
	cfg, err := d.store.ConfigOf(d.cmd.Context(), found, elsewhere())
	if err != nil && force {
		fmt.Fprintf(out, "warning: %s\n", strings.ReplaceAll(err.Error(), "\n", "\nwarning: "))
		return nil
	}
	if err != nil {
		return theirProblems(d.cmd, err)
	}
	sayAbsent(out, cfg)
	if _, err := checkByEnvoy(d.cmd, cfg); err != nil {
		fmt.Fprintf(out, "warning: the Envoy of this machine does not take set %s: %s\n", found.ID, err)
	}
	return nil
}

func (d *desk) rollback(name string, force, takeOver bool) (err error) {
	ctx := d.cmd.Context()
	var id string
	if name == "" {
		id, err = d.store.Previous(ctx, d.state)
	} else {
		id, err = d.store.Find(ctx, name)
	}
	if err != nil {
		return err
	}
	if id == d.state.Set {
		return fmt.Errorf("set %s is in force already", id)
	}
	found, err := d.store.Read(ctx, id, nil)
	if err != nil {
		return theirProblems(d.cmd, err) // what is not whole no gate would take
	}
	if err := d.judgeBack(found, force); err != nil {
		return err
	}
	what := "back to " + id
	if old, err := d.active(); err == nil {
		what += ": " + set.Summary(set.Diff(partsOf(old), found.Parts), 400)
		d.sayRestartTo(old, found)
	}
	return d.put(nil, ssm.Draft{Kind: "rollback", Set: id, What: what, TakeOver: takeOver})
}
