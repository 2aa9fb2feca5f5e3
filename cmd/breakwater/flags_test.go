package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// envCommand is a root with one command that has one flag of its own and one inherited.
func envCommand(t *testing.T) (root *cobra.Command, level *string, wait *time.Duration) {
	t.Helper()
	level, wait = new(string), new(time.Duration)
	root = &cobra.Command{Use: "breakwater", SilenceErrors: true, SilenceUsage: true}
	root.PersistentFlags().StringVar(level, "log-level", "info", "what is logged")
	sub := &cobra.Command{Use: "serve", RunE: func(*cobra.Command, []string) error { return nil }}
	sub.Flags().DurationVar(wait, "wait", time.Second, "how long to wait")
	root.AddCommand(sub)
	root.SetOut(io.Discard)
	bindEnv(sub)
	bindEnv(root)
	return root, level, wait
}

func TestFlagsFromTheEnvironment(t *testing.T) {
	for _, tt := range []struct {
		name  string
		env   map[string]string
		args  []string
		level string
		wait  time.Duration
	}{
		{name: "defaults", level: "info", wait: time.Second},
		{name: "environment", env: map[string]string{"BREAKWATER_LOG_LEVEL": "debug", "BREAKWATER_WAIT": "3s"}, level: "debug", wait: 3 * time.Second},
		{name: "flags win", env: map[string]string{"BREAKWATER_LOG_LEVEL": "debug", "BREAKWATER_WAIT": "x"}, args: []string{"--wait=2s", "--log-level=warn"}, level: "warn", wait: 2 * time.Second},
		{name: "empty is unset", env: map[string]string{"BREAKWATER_WAIT": ""}, level: "info", wait: time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			root, level, wait := envCommand(t)
			root.SetArgs(append([]string{"serve"}, tt.args...))
			if err := root.Execute(); err != nil {
				t.Fatal(err)
			}
			if *level != tt.level || *wait != tt.wait {
				t.Errorf("log-level %q, wait %v, want %q, %v", *level, *wait, tt.level, tt.wait)
			}
		})
	}
}

func TestBadVariableIsAUsageError(t *testing.T) {
	t.Setenv("BREAKWATER_WAIT", "soon")
	root, _, _ := envCommand(t)
	root.SetArgs([]string{"serve"})
	err := root.Execute()
	if exitCode(err) != exitUsage || !strings.HasPrefix(fmt.Sprint(err), "BREAKWATER_WAIT: ") {
		t.Errorf("error %v with exit code %d", err, exitCode(err))
	}
}

func TestHelpNamesTheVariableOnce(t *testing.T) {
	root, _, _ := envCommand(t)
	var out strings.Builder
	root.SetOut(&out)
	root.SetArgs([]string{"serve", "--help"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"how long to wait [$BREAKWATER_WAIT]", "what is logged [$BREAKWATER_LOG_LEVEL]"} {
		if strings.Count(out.String(), want) != 1 {
			t.Errorf("help lacks %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "BREAKWATER_HELP") {
		t.Errorf("help binds --help:\n%s", out.String())
	}
}

func TestExitCodes(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("failed"), 1},
		{usagef("flag %s", "x"), 2},
		{fmt.Errorf("serve: %w", usagef("flag %s", "x")), 2},
	} {
		if got := exitCode(tt.err); got != tt.want {
			t.Errorf("exitCode(%v) = %d, want %d", tt.err, got, tt.want)
		}
	}
}
