package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// shownBody is the number of bytes of an answer that an unhealthy check shows.
const shownBody = 200

// newHealthcheckCmd is for container images that have no other client.
func newHealthcheckCmd() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "healthcheck [URL]",
		Short: "Ask a URL once: exit code 0 if it answers 200, else 1",
		Long: `Ask a URL once: exit code 0 if it answers 200, else 1. It is for the health checks of
containers, whose images have no shell and no curl. Without a URL it asks whether the
Breakwater on this host is ready.

  breakwater healthcheck
  breakwater healthcheck http://127.0.0.1:9901/ready --timeout 1s`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			target := "http://127.0.0.1:8081/readyz"
			if len(args) > 0 {
				target = args[0]
			}
			if u, err := url.Parse(target); err != nil || u.Scheme != "http" || u.Host == "" {
				return usagef("%q is not of the form http://host:port/path", target)
			}
			if timeout <= 0 {
				return usagef("--timeout %v: must be above 0", timeout)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return healthcheck(ctx, target)
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Second, "how long to wait for the answer")
	bindEnv(cmd)
	return cmd
}

// healthcheck returns nil if the URL answers 200, without following a redirect.
func healthcheck(ctx context.Context, target string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return err
	}
	// A transport of its own: a proxy that the environment names says nothing of this URL.
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	// Of a body that breaks off there is still something to show.
	body, _ := io.ReadAll(io.LimitReader(resp.Body, shownBody))
	return fmt.Errorf("GET %s: %d: %s", target, resp.StatusCode, strings.TrimSpace(string(body)))
}
