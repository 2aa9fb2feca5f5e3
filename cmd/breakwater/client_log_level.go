package main

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/breakwater/breakwater/admin/adminpb"
)

var logLevels = []string{"trace", "debug", "info", "warn", "error", "off"}

// newLogLevelCmd shows or sets the log levels of a running server.
func newLogLevelCmd() *cobra.Command {
	var c client
	var subsystem string
	cmd := &cobra.Command{
		Use:       "log-level [LEVEL]",
		Short:     "Show or set what a running server logs",
		Long:      "Show or set what a running server logs, until it ends. LEVEL is one of " + strings.Join(logLevels, ", ") + ".",
		Args:      takes(0, 1),
		ValidArgs: logLevels,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && subsystem != "":
				return usagef("--subsystem needs a level, one of %s", strings.Join(logLevels, ", "))
			case len(args) == 1 && !slices.Contains(logLevels, args[0]):
				return usagef("level %q is none of %s", args[0], strings.Join(logLevels, ", "))
			}
			return c.call(cmd, func(ctx context.Context, api adminpb.AdminServiceClient) error {
				resp, err := logLevel(ctx, api, args, subsystem)
				if err != nil {
					return err
				}
				if c.output != outputTable {
					return printMessage(cmd.OutOrStdout(), c.output, resp)
				}
				return printLogLevels(cmd.OutOrStdout(), resp.GetLevels())
			})
		},
	}
	cmd.Flags().StringVar(&subsystem, "subsystem", "", "set the level of this part alone, such as xds")
	c.addFlags(cmd, readTimeout)
	bindEnv(cmd)
	return cmd
}

// levelsAnswer is what both calls answer.
type levelsAnswer interface {
	proto.Message
	GetLevels() []*adminpb.LogLevel
}

// logLevel sets the level if args has one, and gives the levels in force.
func logLevel(ctx context.Context, api adminpb.AdminServiceClient, args []string, subsystem string) (levelsAnswer, error) {
	if len(args) == 0 {
		return api.GetLogLevel(ctx, &adminpb.GetLogLevelRequest{})
	}
	return api.SetLogLevel(ctx, &adminpb.SetLogLevelRequest{Level: args[0], Subsystem: subsystem})
}

func printLogLevels(w io.Writer, levels []*adminpb.LogLevel) error {
	g := grid{headers: []string{"SUBSYSTEM", "LEVEL"}}
	for _, l := range levels {
		name := l.GetSubsystem()
		if name == "" {
			name = "(server)"
		}
		g.row(name, l.GetLevel())
	}
	return g.print(w)
}
