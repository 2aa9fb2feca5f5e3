package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/oklog/run"
	"github.com/spf13/cobra"

	"github.com/breakwater/breakwater/cmd/breakwater/demo"
	"github.com/breakwater/breakwater/envoy"
)

// exampleDir is the example that `run` serves without --policies.
const exampleDir = "examples/shop"

// runFlags are the flags of `run`.
type runFlags struct {
	planeFlags
	envoyAdmin string
	nodeID     string
	demo       bool
}

func newRunCmd() *cobra.Command {
	f := runFlags{planeFlags: planeFlags{policies: exampleDir}}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run everything on this host: control plane, Envoy and, for the example, its services",
		Long: `Run the control plane and an Envoy that it supervises, until interrupted. Without
--policies it serves ` + exampleDir + ` and starts the seven services of that example too.

Envoy is $ENVOY, else ` + "`envoy`" + ` on PATH, else what ` + "`make envoy`" + ` has put into .cache.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("demo") {
				f.demo = !cmd.Flags().Changed("policies")
			}
			return runAll(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), f)
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().StringVar(&f.envoyAdmin, "envoy-admin", "127.0.0.1:9901", "address of Envoy's admin API, on the loopback interface")
	cmd.Flags().StringVar(&f.nodeID, "node-id", hostname(), "id of this Envoy")
	cmd.Flags().BoolVar(&f.demo, "demo", false, "start the example's seven services (default: true without --policies)")
	bindEnv(cmd)
	return cmd
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}

func runAll(ctx context.Context, stdout, stderr io.Writer, f runFlags) (err error) {
	log, err := newLoggers(stderr, f.logLevel, f.logFormat)
	if err != nil {
		return err
	}
	binary, err := envoy.Find(ctx)
	if err != nil {
		return err
	}
	adminAddr, err := parseAddr(f.envoyAdmin)
	if err != nil {
		return usageError{fmt.Errorf("--envoy-admin: %w", err)}
	}
	if !adminAddr.Addr().IsLoopback() {
		return usageError{fmt.Errorf("--envoy-admin %s: Envoy's admin API must stay on a loopback address", f.envoyAdmin)}
	}
	if err := envoy.CheckFree(adminAddr.String(), "Envoy's admin API (--envoy-admin)"); err != nil {
		return err
	}
	p, err := newPlane(f.planeFlags, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()

	var g run.Group
	if f.demo {
		services := demo.New(demo.Options{Log: log.named("demo")})
		if err := services.Listen(); err != nil {
			return err
		}
		addActor(ctx, &g, "demo", services.Run)
	}
	if err := p.load(ctx); err != nil {
		return err
	}
	set := p.publisher.Set()
	gateway := net.JoinHostPort(set.Gateway.Host, strconv.Itoa(int(set.Gateway.Port)))
	if err := envoy.CheckFree(gateway, "the gateway"); err != nil {
		return err
	}
	supervisor, closeLogs, err := newSupervisor(binary, p, f, adminAddr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLogs()) }()

	p.actors(ctx, &g)
	addActor(ctx, &g, "envoy", supervisor.Run)
	addActor(ctx, &g, "signal", untilDone)
	addActor(ctx, &g, "banner", func(ctx context.Context) error {
		banner(ctx, stdout, f, bannerFacts{
			services: len(set.Services),
			envoy:    binary.Version,
			gateway:  gateway,
			admin:    adminAddr.String(),
			http:     p.http.Addr().String(),
			logs:     supervisor.Dir,
		})
		return untilDone(ctx)
	})
	return g.Run()
}

// newSupervisor prepares Envoy: its bootstrap, and files for its access log and its own log, begun anew at
// each start so that they can not grow over many.
func newSupervisor(binary envoy.Binary, p *plane, f runFlags, admin netip.AddrPort) (*envoy.Supervisor, func() error, error) {
	bootstrap, err := envoy.BootstrapConfig{
		NodeID:    f.nodeID,
		XDSAddr:   p.xds.Addr().String(),
		AdminAddr: admin.String(),
	}.Build()
	if err != nil {
		return nil, nil, err
	}
	dir := filepath.Join(f.state, "envoy")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	access, err := os.Create(filepath.Join(dir, "access.log"))
	if err != nil {
		return nil, nil, err
	}
	own, err := os.Create(filepath.Join(dir, "envoy.log"))
	if err != nil {
		return nil, nil, errors.Join(err, access.Close())
	}
	s := &envoy.Supervisor{
		Binary:    binary,
		Bootstrap: bootstrap,
		Dir:       dir,
		Log:       p.log.named("envoy"),
		Stdout:    access,
		Stderr:    own,
	}
	return s, func() error { return errors.Join(access.Close(), own.Close()) }, nil
}

type bannerFacts struct {
	services                          int
	envoy, gateway, admin, http, logs string
}

// banner says what to try, once Envoy serves.
func banner(ctx context.Context, w io.Writer, f runFlags, facts bannerFacts) {
	client := envoy.NewAdmin(facts.admin)
	defer client.Close()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for client.Ready(ctx) != nil {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	fmt.Fprintf(w, `
Breakwater is up: %d services behind Envoy %s on http://%s.

  API      http://%s/api/v1/circuit-breakers
  metrics  http://%s/metrics
  logs     %s/access.log, envoy.log
  policies %s: edit a file, and it is live
`, facts.services, facts.envoy, facts.gateway, facts.http, facts.http, facts.logs, f.policies)
	if f.demo {
		fmt.Fprintf(w, `
Try, in another terminal:

  curl -i http://%[1]s/api/v1/fraud/score                      # a healthy service
  bin/breakwater demo fail fraud-service                              # break it
  for i in $(seq 8); do curl -s http://%[1]s/api/v1/fraud/score; echo; done
  bin/breakwater status                                               # its breaker is open
  bin/breakwater demo heal fraud-service
  bin/breakwater reset fraud-service                                  # and traffic is back at once
`, facts.gateway)
	}
	fmt.Fprint(w, "\nCtrl-C stops everything.\n\n")
}
