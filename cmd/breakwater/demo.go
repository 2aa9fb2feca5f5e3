package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/breakwater/breakwater/cmd/breakwater/demo"
)

func newDemoCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Make a demo service fail, be slow, reset, refuse, or heal",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	behave := func(use, short, done string, b *demo.Behaviour) *cobra.Command {
		var ctl string
		sub := &cobra.Command{
			Use:   use + " SERVICE",
			Short: short,
			Args:  usageArgs(cobra.ExactArgs(1)),
			RunE: func(cmd *cobra.Command, args []string) error {
				if err := demo.Control(cmd.Context(), ctl, args[0], *b); err != nil {
					return err
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", args[0], done)
				return err
			},
		}
		sub.Flags().StringVar(&ctl, "ctl", demo.DefaultCtl, "control address of the demo services")
		return sub
	}
	failing := demo.Behaviour{FailPercent: 100}
	fail := behave("fail", "Answer requests with an error", "fails", &failing)
	fail.Flags().Float64Var(&failing.FailPercent, "percent", failing.FailPercent, "share of the requests that fail")
	fail.Flags().IntVar(&failing.FailStatus, "status", 500, "HTTP status of the failures")
	slow := demo.Behaviour{}
	slowCmd := behave("slow", "Delay every reply", "is slow", &slow)
	slowCmd.Flags().DurationVar(&slow.Delay, "delay", 2*time.Second, "time before each reply")
	cmd.AddCommand(
		fail,
		slowCmd,
		behave("reset", "Reset every connection", "resets connections", &demo.Behaviour{Reset: true}),
		behave("refuse", "Refuse connections: the port is closed", "refuses connections", &demo.Behaviour{Refuse: true}),
		behave("heal", "Answer normally again", "is healthy", &demo.Behaviour{}),
	)
	for _, sub := range cmd.Commands() {
		bindEnv(sub)
	}
	return cmd
}

func newDemoUpstreamCmd() *cobra.Command {
	opts := demo.Options{}
	cmd := &cobra.Command{
		Use:   "demo-upstream",
		Short: "Serve the example's seven services",
		Long: `Serve the example's seven services on ports 8001 to 8007. Each takes
POST /ctl?fail=…&delay=…&reset=…&refuse=… on its own port, and all of them on --ctl with &service=NAME.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := newLoggers(cmd.ErrOrStderr(), "info", "text")
			if err != nil {
				return err
			}
			opts.Log = log.named("demo")
			s := demo.New(opts)
			if err := s.Listen(); err != nil {
				return err
			}
			return s.Run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&opts.Host, "host", demo.DefaultHost, "IP address to listen on")
	cmd.Flags().StringVar(&opts.Ctl, "ctl", demo.DefaultCtl, "address of the common control")
	bindEnv(cmd)
	return cmd
}
