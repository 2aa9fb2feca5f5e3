package main

import (
	"context"
	"errors"
	"io"

	"github.com/oklog/run"
	"github.com/spf13/cobra"
)

func newServeCmd() *cobra.Command {
	var f planeFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the control plane: xDS for Envoy, and the admin API",
		Long: `Serve the control plane. Each Envoy is started from a bootstrap that
` + "`breakwater bootstrap`" + ` prints, and goes on without Breakwater with what it has.

  breakwater serve --policies /etc/breakwater/policies --state /var/lib/breakwater

In a private network, in which Prometheus asks for http://breakwater:8081/metrics:

  breakwater serve --policies DIR --state STATE_DIR --xds 0.0.0.0:18000 --http 0.0.0.0:8081 \
    --http-host breakwater --allow-plaintext`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return unlessInterrupted(cmd.Context(), serve(cmd.Context(), cmd.ErrOrStderr(), f))
		},
	}
	f.register(cmd.Flags())
	bindEnv(cmd)
	return cmd
}

func serve(ctx context.Context, stderr io.Writer, f planeFlags) (err error) {
	set, err := f.check(stderr)
	if err != nil {
		return err
	}
	p, err := newPlane(set)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.bind(); err != nil {
		return err
	}
	if err := p.load(ctx); err != nil {
		return err
	}
	var g run.Group
	p.actors(ctx, &g)
	addActor(ctx, &g, "signal", untilDone)
	p.log.root.Info("serving", "version", buildVersion(), "xds", p.xds.Addr().String(),
		"http", p.http.Addr().String(), "grpc", p.grpc.Addr().String(), "policies", f.policies, "state", f.state)
	return g.Run()
}

// unlessInterrupted is err, unless the user has ended a start that was under way: that is
// as orderly an end as a later one.
func unlessInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// untilDone ends a group of actors with its context.
func untilDone(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
