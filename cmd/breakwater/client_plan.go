package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/policy/watch"
)

// maxPlanAnswer bounds what a server may answer to a plan, in bytes. Thousands of services have a few MiB.
const maxPlanAnswer = 64 << 20

// newPlanCmd says what policies would change.
func newPlanCmd() *cobra.Command {
	var c client
	var diff bool
	cmd := &cobra.Command{
		Use:   "plan DIR|FILE",
		Short: "Say what policies would change if they were put in place, and change nothing",
		Long: `Say what policies would change if they were put in place, and change nothing: the
values that become others, which of Envoy's resources that replaces, and what it does
to connections, ejections and breakers as they are now. A directory is sent as the
whole of the policies; a file takes the place of the one of its name in the server's
own directory, or comes beside the others.

Variables are expanded by the server, with its own environment (CB_… and the like
included), but only those that an effective value in force shows: any other is an
error, so that nobody reads the environment of a server by a plan. What only Envoy
refuses is not foreseen.

The exit code is 1 if there is an error in the policies, and 0 otherwise, whether
anything would change or not.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(c.output); err != nil {
				return err
			}
			req, err := planRequest(args[0])
			if err != nil {
				return err
			}
			return c.call(cmd, func(ctx context.Context, api adminpb.AdminServiceClient) error {
				resp, err := api.PlanPolicies(ctx, req, grpc.MaxCallRecvMsgSize(maxPlanAnswer))
				if err != nil {
					return err
				}
				if err := printPlan(cmd.OutOrStdout(), c.output, resp, diff); err != nil {
					return err
				}
				n := errorsIn(resp.GetProblems())
				if n == len(resp.GetProblems()) && resp.GetMoreProblems() > 0 {
					return fmt.Errorf("at least %s", count(n, "error", "errors"))
				}
				return failIf(n, "error", "errors")
			})
		},
	}
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt // directories are offered too
	}
	c.addFlags(cmd, planTimeout)
	cmd.Flags().BoolVar(&diff, "diff", false, "also print the changes of Envoy's resources, as a unified diff")
	bindEnv(cmd)
	return cmd
}

// planRequest reads what is to be planned.
func planRequest(path string) (*adminpb.PlanPoliciesRequest, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	files, err := watch.Read(path)
	if err != nil {
		return nil, err
	}
	req := &adminpb.PlanPoliciesRequest{Complete: info.IsDir()}
	for _, f := range files {
		if !utf8.Valid(f.Data) {
			return nil, fmt.Errorf("%s is not valid UTF-8", f.Name)
		}
		req.Files = append(req.Files, &adminpb.PolicyFile{Name: f.Name, Content: string(f.Data)})
	}
	if size := proto.Size(req); size > admin.MaxPlan {
		return nil, tooLarge(path, size, req.GetFiles())
	}
	return req, nil
}

// tooLarge says how large policies are that no server takes, and which files are the largest.
func tooLarge(path string, size int, files []*adminpb.PolicyFile) error {
	const named = 3
	files = slices.SortedStableFunc(slices.Values(files), func(a, b *adminpb.PolicyFile) int {
		return len(b.GetContent()) - len(a.GetContent())
	})
	var largest []string
	for _, f := range files[:min(named, len(files))] {
		largest = append(largest, fmt.Sprintf("%s has %s", f.GetName(), mebibytes(len(f.GetContent()))))
	}
	if more := len(files) - named; more > 0 {
		largest = append(largest, count(more, "file more has less", "files more have less"))
	}
	return fmt.Errorf("%s is too large to be sent to a server: %s, and a plan takes at most %s: %s",
		path, mebibytes(size), mebibytes(admin.MaxPlan), strings.Join(largest, ", "))
}

// mebibytes is rounded up, so that what is over a bound does not look as if it were not.
func mebibytes(n int) string {
	return fmt.Sprintf("%g MiB", math.Ceil(float64(n)/(1<<20)*100)/100)
}

func errorsIn(problems []*adminpb.Problem) int {
	n := 0
	for _, p := range problems {
		if p.GetSeverity() == "error" {
			n++
		}
	}
	return n
}

func printPlan(w io.Writer, output string, plan *adminpb.PlanPoliciesResponse, diff bool) error {
	if output != outputTable {
		return printMessage(w, output, plan)
	}
	var out strings.Builder
	for _, p := range plan.GetProblems() {
		fmt.Fprintln(&out, oneLine(problemLine(p)))
	}
	if more := plan.GetMoreProblems(); more > 0 {
		fmt.Fprintf(&out, "and %s\n", count(int(more), "more problem", "more problems"))
	}
	for _, s := range plan.GetServices() {
		writeServicePlan(&out, s)
	}
	if diff {
		for _, r := range plan.GetResources() {
			writeResourcePlan(&out, r)
		}
	}
	changed := int(plan.GetMoreServices())
	if changed > 0 {
		fmt.Fprintf(&out, "and %s, for which there is no room\n", count(changed, "service more", "services more"))
	}
	for _, s := range plan.GetServices() {
		if s.GetAction() != actionKept && s.GetService() != "" {
			changed++
		}
	}
	switch resources := len(plan.GetResources()) + int(plan.GetMoreResources()); {
	case changed+resources > 0 || len(plan.GetServices()) > 0 && plan.GetOk():
		fmt.Fprintf(&out, "%s would change, and %s of Envoy's\n", count(changed, "service", "services"), count(resources, "resource", "resources"))
	default:
		fmt.Fprintln(&out, "nothing would change")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func writeServicePlan(out *strings.Builder, s *adminpb.ServicePlan) {
	name := s.GetService()
	if name == "" {
		name = "(all services)"
	}
	fmt.Fprintf(out, "%s: %s\n", oneLine(name), oneLine(s.GetAction()))
	for _, c := range s.GetSettings() {
		fmt.Fprintf(out, "  %s: %s → %s", oneLine(c.GetPath()), shortened(oneLine(orDash(c.GetFrom())), maxValue), shortened(oneLine(orDash(c.GetTo())), maxValue))
		if at := c.GetPosition(); at != nil {
			fmt.Fprintf(out, " (%s)", oneLine(position(at)))
		}
		fmt.Fprintln(out)
	}
	for _, e := range s.GetEffects() {
		mark := "-"
		if e.GetSeverity() == "warning" {
			mark = "!"
		}
		where := ""
		if len(e.GetProxies()) > 0 {
			where = proxyList(e.GetProxies(), e.GetMoreProxies()) + ": "
		}
		fmt.Fprintf(out, "  %s %s\n", mark, oneLine(where+e.GetText()))
	}
}

// writeResourcePlan writes a diff as it is, but for control characters.
func writeResourcePlan(out *strings.Builder, r *adminpb.ResourcePlan) {
	fmt.Fprintf(out, "\n%s %s: %s\n", shortType(r.GetTypeUrl()), oneLine(r.GetName()), oneLine(r.GetAction()))
	for line := range strings.Lines(r.GetDiff()) {
		out.WriteString(strings.Map(func(r rune) rune {
			if unicode.IsControl(r) && r != '\n' && r != '\t' {
				return -1
			}
			return r
		}, line))
	}
}
