package main

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/breakwater/breakwater/store"
)

func newStateCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "state",
		Short: "Print or copy what outlives a restart",
		Args:  takesCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newStateDumpCmd(), newStateCopyCmd())
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
	addStateFlag(cmd, &dir)
	return cmd
}

func newStateCopyCmd() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "copy FILE",
		Short: "Copy what outlives a restart to a file, for a backup",
		Long: `Copy the file of a state directory. Breakwater may run meanwhile: the copy is whole, which
that of cp is not then. To restore it, put it into a state directory as state.db before
Breakwater starts.`,
		Args: takes(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			var data bytes.Buffer
			if err := store.Copy(dir, &data); err != nil {
				return err
			}
			return renameio.WriteFile(args[0], data.Bytes(), 0o600)
		},
	}
	addStateFlag(cmd, &dir)
	return cmd
}

// addStateFlag gives a command the state directory, which must be named.
func addStateFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "state", defaultStateDir(), "the state directory")
	_ = cmd.MarkFlagDirname("state")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if *dir == "" {
			return usagef("--state is required")
		}
		return nil
	}
	bindEnv(cmd)
}
