package main

import (
	"encoding/json"
	"errors"

	"github.com/spf13/cobra"

	"github.com/breakwater/breakwater/store"
)

func newStateCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "state",
		Short: "Look into the state directory",
		Args:  takesCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newStateDumpCmd())
	return cmd
}

func newStateDumpCmd() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "dump",
		Short: "Print what outlives a restart, as JSON",
		Long: `Print all documents of a state directory as JSON: overrides, open breakers, events,
generations, proxies, and the last good policies as they were written, without the values
of variables. Breakwater may run meanwhile: a copy of its file is read.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return usagef("--state is required")
			}
			documents, err := store.Dump(dir)
			if len(documents) == 0 && err != nil {
				return err
			}
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			return errors.Join(err, enc.Encode(documents))
		},
	}
	cmd.Flags().StringVar(&dir, "state", defaultStateDir(), "the state directory")
	_ = cmd.MarkFlagDirname("state")
	bindEnv(cmd)
	return cmd
}
