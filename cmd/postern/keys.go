package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/postern-proxy/postern/access"
	"github.com/postern-proxy/postern/fault"
)

func keysCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "Make API keys, and replace the key that signs them"}
	cmd.AddCommand(createKeyCommand(), rotateKeysCommand(), retireKeyCommand())
	return cmd
}

func rotateKeysCommand() *cobra.Command {
	var at place
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Make a new signing key; what the one before has signed stays good",
		Long: "Make a new signing key in the data folder. What the one before has signed stays good until it\n" +
			"is retired. A running gate takes the new one within seconds; until then, and until every Envoy\n" +
			"has it, a key that was made with it is refused.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			old, now, err := access.Rotate(at.data)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "what %s signed stays good until: postern keys retire %s\n", old, old)
			_, err = fmt.Fprintln(cmd.OutOrStdout(), now)
			return err
		},
	}
	at.addDataTo(cmd)
	return cmd
}

func retireKeyCommand() *cobra.Command {
	var at place
	cmd := &cobra.Command{
		Use:   "retire KID",
		Short: "Take an earlier signing key away: no API key that it signed is good any more",
		Args:  cobra.ExactArgs(1),
		RunE:  func(_ *cobra.Command, args []string) error { return access.Retire(at.data, args[0]) },
	}
	at.addDataTo(cmd)
	return cmd
}

func createKeyCommand() *cobra.Command {
	var at place
	var grant access.Grant
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make an API key and print it",
		Long: "Make an API key, signed with the signing key in the data folder. It is printed once and\n" +
			"kept nowhere: the token alone goes to standard output, the rest to standard error.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			signer, err := access.Open(at.data)
			if err != nil {
				return err
			}
			key, err := signer.Mint(grant, time.Now())
			if wrong, ok := errors.AsType[*fault.Error](err); ok {
				return errors.New(wrong.Message) // the person needs no operation
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "key %s for tenant %s, tier %s, until %s\n",
				key.ID, key.Tenant, key.Tier, key.Expires.Format(time.RFC3339))
			_, err = fmt.Fprintln(cmd.OutOrStdout(), key.Token())
			return err
		},
	}
	at.addDataTo(cmd)
	cmd.Flags().StringVar(&grant.Tenant, "tenant", "", "whose key it is (needed)")
	cmd.Flags().StringVar(&grant.User, "user", "", "which of the tenant's users, if it is one's alone")
	cmd.Flags().StringVar(&grant.Tier, "tier", "default", "the tier whose limits it has")
	cmd.Flags().DurationVar(&grant.Expires, "expires", access.DefaultExpiry, "how long it is good")
	_ = cmd.MarkFlagRequired("tenant")
	return cmd
}
