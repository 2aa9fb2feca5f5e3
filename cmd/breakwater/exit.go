package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is an error of whoever typed the command: a bad flag, argument or
// environment variable.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// usagef formats a usageError.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitCode is the exit code for what a command returned.
func exitCode(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	}
	return exitFailed
}

// takesCommand is for a command that has subcommands only.
func takesCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2 // that of cobra itself
	suggestion := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		suggestion = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usagef("unknown command %q for %q%s", args[0], cmd.CommandPath(), suggestion)
}

// takes allows from least to most arguments, for a command without subcommands.
func takes(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if least <= len(args) && len(args) <= most {
			return nil
		}
		want, got := count(most, "argument", "arguments"), "none"
		switch {
		case most == 0:
			want = "no argument"
		case least < most:
			want = "at most " + want
		}
		if len(args) > 0 {
			got = fmt.Sprintf("%q", args)
		}
		return usagef("%s takes %s and got %s; usage: %s", cmd.CommandPath(), want, got, cmd.UseLine())
	}
}

// usageFlagError is for cobra's SetFlagErrorFunc, which subcommands inherit.
func usageFlagError(_ *cobra.Command, err error) error { return usageError{err} }
