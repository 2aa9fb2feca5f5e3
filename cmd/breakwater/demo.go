package main

import (
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/breakwater/breakwater/cmd/breakwater/demo"
)

func newDemoCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Make a demo service fail, be slow, reset, refuse, or heal",
		Args:  takesCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	behave := func(use, short, done string, b *demo.Behaviour, check func() error) *cobra.Command {
		var ctl string
		sub := &cobra.Command{
			Use:               use + " SERVICE",
			Short:             short,
			Args:              takes(1, 1),
			ValidArgsFunction: completeDemoServices,
			RunE: func(cmd *cobra.Command, args []string) error {
				if _, _, err := net.SplitHostPort(ctl); err != nil {
					return usagef("--ctl %q is not of the form host:port", ctl)
				}
				if err := check(); err != nil {
					return err
				}
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
	unchecked := func() error { return nil }
	failing := demo.Behaviour{}
	fail := behave("fail", "Answer requests with an error", "fails", &failing, func() error {
		switch {
		case !(failing.FailPercent > 0 && failing.FailPercent <= 100):
			return usagef("--percent %v: must be above 0 and at most 100", failing.FailPercent)
		case failing.FailStatus < 400 || failing.FailStatus > 599:
			return usagef("--status %d: must be from 400 to 599", failing.FailStatus)
		}
		return nil
	})
	fail.Flags().Float64Var(&failing.FailPercent, "percent", 100, "share of the requests that fail")
	fail.Flags().IntVar(&failing.FailStatus, "status", 500, "HTTP status of the failures")
	slow := demo.Behaviour{}
	slowCmd := behave("slow", "Delay every reply", "is slow", &slow, func() error {
		if slow.Delay <= 0 || slow.Delay > demo.MaxDelay {
			return usagef("--delay %v: must be above 0 and at most %v", slow.Delay, demo.MaxDelay)
		}
		return nil
	})
	slowCmd.Flags().DurationVar(&slow.Delay, "delay", 2*time.Second, "time before each reply")
	cmd.AddCommand(
		fail,
		slowCmd,
		behave("reset", "Reset every connection", "resets connections", &demo.Behaviour{Reset: true}, unchecked),
		behave("refuse", "Refuse connections: the port is closed", "refuses connections", &demo.Behaviour{Refuse: true}, unchecked),
		behave("heal", "Answer normally again", "is healthy", &demo.Behaviour{}, unchecked),
	)
	for _, sub := range cmd.Commands() {
		bindEnv(sub)
	}
	return cmd
}

func completeDemoServices(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if len(args) == 0 {
		for _, s := range demo.Services() {
			names = append(names, s.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func newDemoUpstreamCmd() *cobra.Command {
	var opts demo.Options
	var names []string
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "demo-upstream",
		Short: "Serve the example's seven services",
		Long: `Serve the example's seven services on ports 8001 to 8007. Each takes
POST /ctl?fail=…&delay=…&reset=…&refuse=… on its own port, and all of them on --ctl
with &service=NAME. /ctl answers to IP addresses, localhost and the names in --host and
--ctl alone, and to no page of another site.

  breakwater demo-upstream
  breakwater demo-upstream --host 0.0.0.0 --service fraud-service`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logs.open(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			opts.Log = log.named("demo")
			if opts.Services, err = demoServices(names); err != nil {
				return err
			}
			s := demo.New(opts)
			if err := s.Listen(); err != nil {
				return err
			}
			return s.Run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&opts.Host, "host", demo.DefaultHost, "IP address or name to listen on")
	cmd.Flags().StringVar(&opts.Ctl, "ctl", demo.DefaultCtl, "address of the common control")
	cmd.Flags().StringSliceVar(&names, "service", nil, "serve this one alone; may be repeated (default: all seven)")
	logs.register(cmd.Flags())
	bindEnv(cmd)
	return cmd
}

// demoServices are the services of these names; all without names.
func demoServices(names []string) ([]demo.Service, error) {
	all := demo.Services()
	if len(names) == 0 {
		return all, nil
	}
	var chosen []demo.Service
	for _, name := range names {
		i := slices.IndexFunc(all, func(s demo.Service) bool { return s.Name == name })
		if i < 0 {
			return nil, usagef("--service %q is none of the demo's services", name)
		}
		if !slices.Contains(chosen, all[i]) {
			chosen = append(chosen, all[i])
		}
	}
	return chosen, nil
}
