package main

import (
	"context"
	"fmt"
	"io"
	"os/user"
	"strings"

	"github.com/spf13/cobra"

	"github.com/breakwater/breakwater/admin/adminpb"
)

// newResetCmd resets a breaker on all proxies and shows each proxy's proof. It fails
// if one did not prove it.
func newResetCmd() *cobra.Command {
	var c client
	req := &adminpb.ResetBreakerRequest{}
	cmd := &cobra.Command{
		Use:   "reset SERVICE",
		Short: "Reset a circuit breaker on all proxies, proved by each",
		Long: `Close the circuit breaker of a service on all proxies: what force-open or disable
ordered ends, the window is emptied, and every ejected host comes back into rotation.
Each proxy's own admin API is read before the answer. The exit code is 1 if a proxy
could not prove the reset, or if none is connected.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Service = args[0]
			return c.call(cmd, func(ctx context.Context, api adminpb.AdminServiceClient) error {
				resp, err := api.ResetBreaker(ctx, req)
				if err != nil {
					return err
				}
				if c.output == outputTable {
					err = printReset(cmd.OutOrStdout(), resp)
				} else {
					err = printMessage(cmd.OutOrStdout(), c.output, resp)
				}
				if err != nil {
					return err
				}
				return notProved(resp.GetOk(), resp.GetService(), "reset", resp.GetProxies())
			})
		},
	}
	cmd.ValidArgsFunction = c.completeServices
	cmd.Flags().StringVar(&req.Host, "host", "", "reset this host alone, as ip:port")
	addActionFlags(cmd, &req.Actor, &req.Reason)
	c.addFlags(cmd, resetTimeout)
	bindEnv(cmd)
	return cmd
}

// addActionFlags adds the flags that every command has that changes something.
func addActionFlags(cmd *cobra.Command, actor, reason *string) {
	f := cmd.Flags()
	f.StringVar(reason, "reason", "", "why, for the log and the events")
	f.StringVar(actor, "actor", currentUser(), "who, for the log and the events")
}

// currentUser is empty if it is not known: the server then takes the address.
func currentUser() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}

func printReset(w io.Writer, resp *adminpb.ResetBreakerResponse) error {
	what := resp.GetService()
	if resp.GetHost() != "" {
		what += ", host " + resp.GetHost()
	}
	done := "reset"
	switch {
	case !resp.GetOk() && len(resp.GetProxies()) > 0:
		done = "not proved to be reset"
	case !resp.GetPushed():
		done = "nothing to reset"
	}
	if _, err := fmt.Fprintf(w, "%s: %s\n", what, done); err != nil {
		return err
	}
	if err := printUnsaved(w, resp); err != nil {
		return err
	}
	if len(resp.GetProxies()) == 0 {
		_, err := fmt.Fprintln(w, "no proxy is connected")
		return err
	}
	g := grid{headers: []string{"PROXY", "RESULT", "STATE BEFORE", "EJECTED BEFORE", "EJECTED AFTER", "NOTE"}}
	for _, p := range resp.GetProxies() {
		result, note := "proved", p.GetNote()
		if p.GetError() != "" {
			result, note = "failed", p.GetError()
		}
		g.row(p.GetProxy(), result, orDash(p.GetFrom()), orDash(strings.Join(p.GetEjectedBefore(), " ")), orDash(strings.Join(p.GetEjectedAfter(), " ")), note)
	}
	return g.print(w)
}

// proof is one proxy's part in what was done.
type proof interface{ GetError() string }

// notProved is an error that counts the proxies that did not prove what was done to a service, or says that there is none;
// nil if all did.
func notProved[P proof](ok bool, service, done string, proxies []P) error {
	if ok {
		return nil
	}
	if len(proxies) == 0 {
		return fmt.Errorf("%s was %s on no proxy", service, done)
	}
	failed := 0
	for _, p := range proxies {
		if p.GetError() != "" {
			failed++
		}
	}
	return fmt.Errorf("%s was not proved to be %s on %d of %s", service, done, failed, count(len(proxies), "proxy", "proxies"))
}
