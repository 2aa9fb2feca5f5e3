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
	"strings"
	"time"

	"github.com/oklog/run"
	"github.com/spf13/cobra"

	"github.com/breakwater/breakwater/cmd/breakwater/demo"
	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
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

Envoy is $ENVOY, else ` + "`envoy`" + ` on PATH, else what ` + "`make envoy`" + ` has put into .cache.
Of the environment it gets PATH, LD_LIBRARY_PATH, HOME, TMPDIR, TZ, LANG, LANGUAGE, LC_*,
SSL_CERT_FILE and SSL_CERT_DIR. An Envoy that ends, or that does not answer for 8 seconds
(60 while it works), is replaced.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("demo") {
				f.demo = !cmd.Flags().Changed("policies")
			}
			return unlessInterrupted(cmd.Context(), runAll(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), f))
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().StringVar(&f.envoyAdmin, "envoy-admin", "127.0.0.1:9901", "address of Envoy's admin API: any of the loopback interface")
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

// check is planeFlags.check for all of them. It returns the address of Envoy's admin API too.
func (f runFlags) check(stderr io.Writer) (settings, netip.AddrPort, error) {
	s, err := f.planeFlags.check(stderr)
	if err != nil {
		return s, netip.AddrPort{}, err
	}
	if f.state == "" {
		return s, netip.AddrPort{}, usagef("--state is required: Envoy's files are kept there too")
	}
	adminAddr, err := parseAddr(f.envoyAdmin)
	if err != nil {
		return s, netip.AddrPort{}, usagef("--envoy-admin: %w", err)
	}
	if !adminAddr.Addr().IsLoopback() {
		return s, netip.AddrPort{}, usagef("--envoy-admin %s: Envoy's admin API must stay on a loopback address", f.envoyAdmin)
	}
	if adminAddr.Port() == 0 {
		return s, netip.AddrPort{}, usagef("--envoy-admin %s: the port must not be 0, for Breakwater asks Envoy there", f.envoyAdmin)
	}
	// What differs from the bootstrap of later is known to be right.
	trial := envoy.BootstrapConfig{NodeID: f.nodeID, XDSAddr: adminAddr.String(), AdminAddr: adminAddr.String()}
	if _, err := trial.Build(); err != nil {
		return s, netip.AddrPort{}, usagef("--node-id: %w", err)
	}
	return s, adminAddr, nil
}

func runAll(ctx context.Context, stdout, stderr io.Writer, f runFlags) (err error) {
	s, adminAddr, err := f.check(stderr)
	if err != nil {
		return err
	}
	// First, so that of two runs the second names the first, and not a port that it holds.
	p, err := newPlane(s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	binary, err := envoy.Find(ctx)
	if err != nil {
		return err
	}
	if err := envoy.CheckFree(adminAddr.String(), "Envoy's admin API (--envoy-admin)"); err != nil {
		return err
	}
	// Envoy connects from whichever address of this host the system takes, which need not be that one.
	p.adminAddresses = map[string]string{f.nodeID: adminAddr.String()}
	if err := p.bind(); err != nil {
		return err
	}
	var g run.Group
	if f.demo {
		services := demo.New(demo.Options{Log: p.log.named("demo")})
		if err := services.Listen(); err != nil {
			return err
		}
		addActor(ctx, &g, "demo", services.Run)
	}
	p.admit = func(g *policy.Gateway) error { return envoy.CheckFree(gatewayAddr(g), "the gateway (--gateway)") }
	if err := p.load(ctx); err != nil {
		return err
	}
	supervisor, closeLogs, err := newSupervisor(stdout, binary, p, f, adminAddr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLogs()) }()

	p.actors(ctx, &g)
	addActor(ctx, &g, "envoy", supervisor.Run)
	addActor(ctx, &g, "signal", untilDone)
	addActor(ctx, &g, "banner", func(ctx context.Context) error {
		set := p.publisher.Set()
		banner(ctx, stdout, f, bannerFacts{
			services: len(set.Services),
			envoy:    binary.Version,
			gateway:  gatewayAddr(set.Gateway),
			admin:    adminAddr.String(),
			http:     p.http.Addr().String(),
			grpc:     p.grpc.Addr().String(),
			logs:     supervisor.Dir,
		})
		return untilDone(ctx)
	})
	return g.Run()
}

func gatewayAddr(g *policy.Gateway) string {
	return net.JoinHostPort(g.Host, strconv.Itoa(int(g.Port)))
}

// newSupervisor prepares Envoy: its bootstrap, and files for its access log and its own log, begun anew at
// each start so that they can not grow over many.
func newSupervisor(stdout io.Writer, binary envoy.Binary, p *plane, f runFlags, admin netip.AddrPort) (*envoy.Supervisor, func() error, error) {
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
	s.OnHang = func(pid int) { fmt.Fprintf(stdout, "Envoy (pid %d) does not answer any more and is replaced.\n", pid) }
	return s, func() error { return errors.Join(access.Close(), own.Close()) }, nil
}

type bannerFacts struct {
	services                                int
	envoy, gateway, admin, http, grpc, logs string
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
	fmt.Fprint(w, bannerText(os.Args[0], f, facts))
}

// bannerText is for whoever has started this program as program.
func bannerText(program string, f runFlags, facts bannerFacts) string {
	var b strings.Builder
	fmt.Fprintf(&b, `
Breakwater is up: %s behind Envoy %s on http://%s.

  page     http://%s/
  API      http://%s/api/v1/circuit-breakers
  metrics  http://%s/metrics
  logs     %s/access.log, envoy.log
  policies %s: edit a file, and it is live
`, count(facts.services, "service", "services"), facts.envoy, facts.gateway, facts.http, facts.http, facts.http, facts.logs, f.policies)
	if f.demo {
		server := ""
		if facts.grpc != defaultServer {
			server = " --server " + facts.grpc
		}
		b.WriteString("\nTry, in another terminal:\n\n")
		for _, line := range [][2]string{
			{"curl -i http://" + facts.gateway + "/api/v1/fraud/score", "a healthy service"},
			{program + " demo fail fraud-service", "break it"},
			{"for i in $(seq 8); do curl -s http://" + facts.gateway + "/api/v1/fraud/score; echo; done", ""},
			{program + " status" + server, "its breaker is open"},
			{program + " demo heal fraud-service", ""},
			{program + " reset fraud-service" + server, "and traffic is back at once"},
		} {
			if line[1] != "" {
				line[0] = fmt.Sprintf("%-55s # %s", line[0], line[1])
			}
			fmt.Fprintf(&b, "  %s\n", line[0])
		}
	}
	b.WriteString("\nCtrl-C stops everything.\n\n")
	return b.String()
}
