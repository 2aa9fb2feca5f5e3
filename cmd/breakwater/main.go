// Command breakwater is the control plane, its command line client and the demo: flags,
// wiring and exit codes. What it wires is in the packages below it.
package main

import (
	"context"
	"fmt"
	"io"
	"log" //nolint:depguard // to silence it: see main
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker for a release.
var version = ""

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	// net/http writes there what a server says without being asked. Breakwater logs through hclog.
	log.SetOutput(io.Discard)
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRootCmd()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintf(stderr, "breakwater: %v\n", err)
	}
	return exitCode(err)
}

func newRootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:   "breakwater",
		Short: "Circuit breakers, retries, timeouts and fallbacks for every service behind Envoy",
		Long: `Breakwater is a control plane for Envoy. One short YAML policy per service gives it
a circuit breaker, retries, timeouts, limits and a fallback.`,
		Version:       buildVersion(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          takesCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("breakwater {{.Version}}\n")
	root.SetFlagErrorFunc(usageFlagError)
	root.AddGroup(
		&cobra.Group{ID: groupServe, Title: "Serve:"},
		&cobra.Group{ID: groupPolicy, Title: "Policies:"},
		&cobra.Group{ID: groupClient, Title: "Ask and act on a running Breakwater:"},
		&cobra.Group{ID: groupDemo, Title: "Demo:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, cmd := range cmds {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	add(groupServe, newRunCmd(), newServeCmd(), newBootstrapCmd(), newStateCmd())
	add(groupPolicy, newValidateCmd(), newLintCmd(), newRenderCmd())
	add(groupClient, newStatusCmd(), newWatchCmd(), newExplainCmd(), newPlanCmd(), newEventsCmd(), newHealthcheckCmd(),
		newResetCmd(), newForceOpenCmd(), newDisableCmd(), newReleaseCmd(), newProxiesCmd(), newForgetCmd(), newLogLevelCmd())
	add(groupDemo, newDemoCmd(), newDemoUpstreamCmd())
	root.AddCommand(newVersionCmd())
	return root
}

// The groups of commands in the help.
const (
	groupServe  = "serve"
	groupPolicy = "policy"
	groupClient = "client"
	groupDemo   = "demo"
)

func newVersionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "breakwater", buildVersion())
			return err
		},
	}
}

// buildVersion is the linker's version, else what the Go toolchain noted of the module.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
