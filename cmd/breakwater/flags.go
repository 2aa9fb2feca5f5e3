package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// envVar is the environment variable of a flag: BREAKWATER_LOG_LEVEL for log-level.
func envVar(flag string) string {
	return "BREAKWATER_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// envBound marks a command that bindEnv has been at.
const envBound = "breakwater.env-bound"

// bindEnv lets every flag of cmd and of the commands below it be given by its
// environment variable too, and says so in the flag's help. A flag on the command line
// wins; an empty variable counts as not set; a bad value is a usage error. It is called
// after the flags and the PreRunE of a command are set; a second call changes nothing.
func bindEnv(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		bindEnv(sub)
	}
	if cmd.Annotations[envBound] != "" {
		return
	}
	if cmd.Annotations == nil {
		cmd.Annotations = make(map[string]string)
	}
	cmd.Annotations[envBound] = "true"
	mention := func(f *pflag.Flag) {
		if f.Name != "help" {
			f.Usage += " [$" + envVar(f.Name) + "]"
		}
	}
	cmd.Flags().VisitAll(mention)
	cmd.PersistentFlags().VisitAll(mention)
	next := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if err := setFromEnv(cmd.Flags()); err != nil {
			return err
		}
		if next == nil {
			return nil
		}
		return next(cmd, args)
	}
}

// setFromEnv sets the flags that are not on the command line, inherited ones included.
func setFromEnv(flags *pflag.FlagSet) error {
	var err error
	flags.VisitAll(func(f *pflag.Flag) {
		value := os.Getenv(envVar(f.Name))
		if err != nil || f.Changed || value == "" || f.Name == "help" {
			return
		}
		if setErr := flags.Set(f.Name, value); setErr != nil {
			err = usagef("%s: %w", envVar(f.Name), setErr)
		}
	})
	return err
}
