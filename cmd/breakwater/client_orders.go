package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/breakwater/breakwater/admin/adminpb"
)

// orderAnswer is what all calls that order something answer.
type orderAnswer interface {
	proto.Message
	GetService() string
	GetOk() bool
	GetProxies() []*adminpb.ProxyOrder
	unsavedAnswer
}

// unsavedAnswer is what all calls answer that change what is saved.
type unsavedAnswer interface {
	GetNotSaved() bool
	GetNotSavedReason() string
}

// printUnsaved says that what was done could not be saved, if so.
func printUnsaved(w io.Writer, resp unsavedAnswer) error {
	if !resp.GetNotSaved() {
		return nil
	}
	_, err := fmt.Fprintln(w, "not saved: "+oneLine(resp.GetNotSavedReason())+"; a restart of Breakwater before it is saved takes it back")
	return err
}

// orderFlags are what the flags of a command that orders something say.
type orderFlags struct {
	client
	service, proxy, actor, reason string
	// ttl is 0 if it is not given.
	ttl     time.Duration
	forEver bool
	// lasts is false for a release: it needs no reason and has no end.
	lasts bool
}

// newForceOpenCmd keeps every request from a service.
func newForceOpenCmd() *cobra.Command {
	o := &orderFlags{lasts: true}
	cmd := o.command("forced open", func(ctx context.Context, api adminpb.AdminServiceClient) (orderAnswer, error) {
		return api.ForceOpenBreaker(ctx, &adminpb.ForceOpenBreakerRequest{
			Service: o.service, Proxy: o.proxy, Ttl: o.ttlProto(), ForEver: o.forEver, Actor: o.actor, Reason: o.reason,
		})
	})
	cmd.Use = "force-open SERVICE"
	cmd.Short = "Keep all requests away from a service, on all proxies or on one"
	cmd.Long = `Open the circuit breaker of a service: callers get the policy's fallback or 503 at
once, and no request reaches the service. It ends after 15 minutes unless --ttl or
--for-ever says otherwise, and by release or reset. It holds for proxies that connect
later too, and over restarts of Breakwater and of Envoy. Each proxy's own admin API is
read before the answer. The exit code is 1 if a proxy could not prove it, or if none is
connected.`
	o.addProxyFlag(cmd)
	o.addTTLFlag(cmd)
	bindEnv(cmd)
	return cmd
}

// newDisableCmd lets every request through to a service.
func newDisableCmd() *cobra.Command {
	o := &orderFlags{lasts: true}
	cmd := o.command("disabled", func(ctx context.Context, api adminpb.AdminServiceClient) (orderAnswer, error) {
		return api.DisableBreaker(ctx, &adminpb.DisableBreakerRequest{
			Service: o.service, Ttl: o.ttlProto(), ForEver: o.forEver, Actor: o.actor, Reason: o.reason,
		})
	})
	cmd.Use = "disable SERVICE"
	cmd.Short = "Turn a circuit breaker off, on all proxies"
	cmd.Long = `Turn the circuit breaker of a service off: every request reaches it, whatever fails,
and Envoy ejects none of its hosts. It ends after 15 minutes unless --ttl or --for-ever
says otherwise, and by release or reset. It is for all proxies, since they share the
service's cluster, and holds over restarts. Each proxy's own admin API is read before
the answer. The exit code is 1 if a proxy could not prove it, or if none is connected.`
	o.addTTLFlag(cmd)
	bindEnv(cmd)
	return cmd
}

// newReleaseCmd ends what the two above have ordered.
func newReleaseCmd() *cobra.Command {
	o := &orderFlags{}
	cmd := o.command("released", func(ctx context.Context, api adminpb.AdminServiceClient) (orderAnswer, error) {
		return api.ReleaseBreaker(ctx, &adminpb.ReleaseBreakerRequest{
			Service: o.service, Proxy: o.proxy, Actor: o.actor, Reason: o.reason,
		})
	})
	cmd.Use = "release SERVICE"
	cmd.Short = "End force-open or disable"
	cmd.Long = `End the override of force-open or disable: the breaker is closed, with an empty
window, and decides by itself again. Without --proxy it ends all overrides of the
service. Each proxy's own admin API is read before the answer. The exit code is 1 if
a proxy could not prove it, or if none is connected.`
	o.addProxyFlag(cmd)
	bindEnv(cmd)
	return cmd
}

// command runs do and shows its answer. done says in words what it has done.
func (o *orderFlags) command(done string, do func(context.Context, adminpb.AdminServiceClient) (orderAnswer, error)) *cobra.Command {
	cmd := &cobra.Command{
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			o.service = args[0]
			return o.call(cmd, func(ctx context.Context, api adminpb.AdminServiceClient) error {
				resp, err := do(ctx, api)
				if err != nil {
					return err
				}
				if o.output == outputTable {
					err = printOrder(cmd.OutOrStdout(), resp, done, o.proxy)
				} else {
					err = printMessage(cmd.OutOrStdout(), o.output, resp)
				}
				if err != nil {
					return err
				}
				return notProved(resp.GetOk(), resp.GetService(), done, resp.GetProxies())
			})
		},
	}
	cmd.ValidArgsFunction = o.completeServices
	addActionFlags(cmd, &o.actor, &o.reason)
	o.addFlags(cmd, resetTimeout)
	return cmd
}

func (o *orderFlags) addProxyFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.proxy, "proxy", "", "on this proxy alone, by its id")
	// The flag exists, so that registering its completion can not fail.
	_ = cmd.RegisterFlagCompletionFunc("proxy", o.completeProxies)
}

func (o *orderFlags) addTTLFlag(cmd *cobra.Command) {
	f := cmd.Flags()
	f.DurationVar(&o.ttl, "ttl", 0, "how long it holds, such as 30m (default 15m)")
	f.BoolVar(&o.forEver, "for-ever", false, "it holds until it is released")
	f.Lookup("reason").Usage = "why, for the log and the events (required)"
}

// check returns a usage error for flags that do not go together, and for an override without a reason.
func (o *orderFlags) check(cmd *cobra.Command) error {
	switch {
	case !o.lasts:
	case strings.TrimSpace(o.reason) == "":
		return usagef("%s needs a --reason", cmd.CommandPath())
	case !cmd.Flags().Changed("ttl"):
	case o.forEver:
		return usagef("--ttl and --for-ever exclude each other")
	case o.ttl <= 0:
		return usagef("--ttl is %v and must be positive; --for-ever is for an override without an end", o.ttl)
	}
	return nil
}

// ttlProto is nil if no TTL is given.
func (o *orderFlags) ttlProto() *durationpb.Duration {
	if o.ttl == 0 {
		return nil
	}
	return durationpb.New(o.ttl)
}

// printOrder says what was done and each proxy's proof. proxy is the one that it is for; empty
// for all.
func printOrder(w io.Writer, resp orderAnswer, done, proxy string) error {
	if !resp.GetOk() && len(resp.GetProxies()) > 0 {
		done = "not proved to be " + done
	}
	line := resp.GetService() + ": " + done
	if timed, ok := resp.(interface {
		GetUntil() *timestamppb.Timestamp
	}); ok && timed.GetUntil() != nil {
		line += " until " + formatTime(timed.GetUntil())
	}
	if _, err := fmt.Fprintln(w, line); err != nil {
		return err
	}
	if err := printUnsaved(w, resp); err != nil {
		return err
	}
	if len(resp.GetProxies()) == 0 {
		line := "no proxy is connected: it holds for those that connect"
		if proxy != "" {
			line = oneLine(proxy) + " is not connected: it holds when it connects"
		}
		_, err := fmt.Fprintln(w, line)
		return err
	}
	g := grid{headers: []string{"PROXY", "RESULT", "STATE", "NOTE"}}
	for _, p := range resp.GetProxies() {
		result, note := "proved", p.GetNote()
		if p.GetError() != "" {
			result, note = "failed", p.GetError()
		}
		g.row(p.GetProxy(), result, p.GetState(), note)
	}
	return g.print(w)
}
