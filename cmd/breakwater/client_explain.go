package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/policy"
)

// newExplainCmd says why requests to a service fail.
func newExplainCmd() *cobra.Command {
	var c client
	var all bool
	cmd := &cobra.Command{
		Use:   "explain SERVICE",
		Short: "Say why requests to a service fail now, and what to do",
		Long: `Say why requests to a service fail now, and what to do: the state of its breaker in
every proxy, what Envoy itself counted (its response flags in plain words), and the
values in force that somebody has set, with the place that each comes from; --all shows
the built-in values too, and -o json and -o yaml always have all. Every proxy is asked
twice, a second apart, so the answer takes a second, or two where a proxy does not answer.
The exit code is 0 whatever is found.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.call(cmd, func(ctx context.Context, api adminpb.AdminServiceClient) error {
				resp, err := api.ExplainBreaker(ctx, &adminpb.ExplainBreakerRequest{Service: args[0]})
				if err != nil {
					return err
				}
				if c.output != outputTable {
					return printMessage(cmd.OutOrStdout(), c.output, resp)
				}
				return printExplanation(cmd.OutOrStdout(), resp, all)
			})
		},
	}
	cmd.ValidArgsFunction = c.completeServices
	cmd.Flags().BoolVar(&all, "all", false, "show the built-in values of the policy too")
	c.addFlags(cmd, readTimeout)
	bindEnv(cmd)
	return cmd
}

func printExplanation(w io.Writer, e *adminpb.ExplainBreakerResponse, all bool) error {
	b := e.GetBreaker()
	lines := []string{b.GetService() + ": " + b.GetSummary(), ""}
	if len(e.GetFindings()) == 0 {
		lines = append(lines, "Nothing keeps requests from it now.")
	}
	for _, f := range e.GetFindings() {
		where := ""
		if n := len(f.GetProxies()); n > 0 && len(b.GetProxies()) > 1 {
			where = proxyList(f.GetProxies(), f.GetMoreProxies()) + ": "
		}
		lines = append(lines, "- "+where+f.GetWhat())
		if f.GetAdvice() != "" {
			lines = append(lines, "  What to do: "+f.GetAdvice())
		}
	}
	for _, line := range lines {
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		if _, err := fmt.Fprintln(w, indent+oneLine(line)); err != nil {
			return err
		}
	}
	if err := printCounts(w, e.GetCounts()); err != nil {
		return err
	}
	return printSettings(w, e.GetSettings(), all)
}

func printCounts(w io.Writer, all []*adminpb.ProxyCounts) error {
	g := grid{headers: []string{"PROXY", "FLAG", "TIMES", "LAST SECOND", "ENVOY'S NAME", "WHAT"}}
	for _, p := range all {
		if p.GetError() != "" {
			g.row(p.GetProxy(), "-", "?", "?", "-", p.GetError())
		}
		for _, n := range p.GetCounts() {
			g.row(p.GetProxy(), orDash(n.GetFlag()), strconv.FormatUint(n.GetTotal(), 10), strconv.FormatUint(n.GetRecent(), 10), n.GetStat(), n.GetMeaning())
		}
	}
	if len(g.rows) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(w, "\nWhat Envoy counted:"); err != nil {
		return err
	}
	return g.print(w)
}

// maxValue is how much of a value the table shows; -o json has all of it.
const maxValue = 80

// shortened is at most n characters of a text, and says so if that is not all of it.
func shortened(text string, n int) string {
	if runes := []rune(text); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return text
}

// printSettings lists the values that somebody has set or that gave way to one, or all.
func printSettings(w io.Writer, settings []*adminpb.Setting, all bool) error {
	if len(settings) == 0 {
		_, err := fmt.Fprintln(w, "\nNo policy of it is in force.")
		return err
	}
	g := grid{headers: []string{"SETTING", "FROM", "VALUE"}}
	folded := 0
	for _, s := range settings {
		if !all && s.GetLayer() == string(policy.LayerBuiltIn) && !s.GetClamped() {
			folded++
			continue
		}
		g.row(s.GetPath(), originText(s), shortened(s.GetValue(), maxValue))
	}
	if _, err := fmt.Fprintln(w, "\nThe policy in force:"); err != nil {
		return err
	}
	if len(g.rows) > 0 {
		if err := g.print(w); err != nil {
			return err
		}
	}
	if folded == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "%s: --all shows them\n", count(folded, "built-in value", "built-in values"))
	return err
}

// originText says where a value comes from, such as "profile reads at defaults.yaml:3:5".
func originText(s *adminpb.Setting) string {
	text := s.GetLayer()
	switch {
	case s.GetVariable() != "" && s.GetPosition() == nil:
		text = "$" + s.GetVariable()
	case s.GetVariable() != "":
		text += " " + s.GetVariable() + " at " + position(s.GetPosition())
	case s.GetPosition() != nil:
		text = position(s.GetPosition())
	}
	if s.GetClamped() {
		text += ", pulled to what else is set"
	}
	return text
}
