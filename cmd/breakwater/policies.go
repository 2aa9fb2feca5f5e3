package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/policy/watch"
)

func newValidateCmd() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "validate DIR|FILE",
		Short: "Check policies: every error at once, as file:line:column",
		Args:  takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			set, problems, err := readPolicies(args[0])
			if err != nil {
				return err
			}
			if err := printProblems(cmd.OutOrStdout(), output, problems, set); err != nil {
				return err
			}
			return failIf(policy.CountProblems(problems), "error", "errors")
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", outputTable, "table, json or yaml")
	bindEnv(cmd)
	return cmd
}

func newLintCmd() *cobra.Command {
	var output string
	var strict bool
	cmd := &cobra.Command{
		Use:   "lint DIR|FILE",
		Short: "Check policies for errors and for what is valid but doubtful",
		Args:  takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			set, problems, err := readPolicies(args[0])
			if err != nil {
				return err
			}
			all := append(slices.Clone(problems), policy.Lint(set)...)
			if err := printProblems(cmd.OutOrStdout(), output, all, set); err != nil {
				return err
			}
			if strict {
				return failIf(policy.CountProblems(all), "problem", "problems")
			}
			return failIf(policy.CountProblems(problems), "error", "errors")
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", outputTable, "table, json or yaml")
	cmd.Flags().BoolVar(&strict, "strict", false, "warnings are errors")
	bindEnv(cmd)
	return cmd
}

// readPolicies builds what a file or a directory says by itself: there is no earlier version to
// fall back on.
func readPolicies(path string) (*policy.Set, []policy.Problem, error) {
	files, err := watch.Read(path)
	if err != nil {
		return nil, nil, err
	}
	if len(files) == 0 {
		return nil, nil, fmt.Errorf("%s: there is no policy file (*.yaml, *.yml)", path)
	}
	set, problems := policy.Build(files, os.LookupEnv, nil)
	return set, problems, nil
}

// failIf is an error that counts what is wrong; nil if nothing is.
func failIf(n int, one, many string) error {
	if n == 0 {
		return nil
	}
	return errors.New(count(n, one, many))
}

// problemJSON is a problem in the shape of the admin API.
type problemJSON struct {
	Severity policy.Severity `json:"severity"`
	File     string          `json:"file"`
	Line     int             `json:"line"`
	Column   int             `json:"column"`
	Service  string          `json:"service"`
	Path     string          `json:"path"`
	Message  string          `json:"message"`
	Rule     string          `json:"rule"`
}

// printProblems prints in a format that checkOutput allows.
func printProblems(w io.Writer, output string, problems []policy.Problem, set *policy.Set) error {
	problems, more := policy.LimitProblems(problems)
	if output != outputTable {
		out := struct {
			Services int           `json:"services"`
			Problems []problemJSON `json:"problems"`
			More     int           `json:"more_problems"`
		}{len(set.Services), []problemJSON{}, more}
		for _, p := range problems {
			out.Problems = append(out.Problems, problemJSON{
				p.Severity, p.Position.File, p.Position.Line, p.Position.Column, p.Service, p.Path, p.Message, p.Rule,
			})
		}
		data, err := json.Marshal(out)
		if err != nil {
			return err
		}
		return printJSON(w, output, data)
	}
	for _, p := range problems {
		line := p.String()
		if p.Severity == policy.SeverityWarning {
			line += " [" + p.Rule + "]"
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	if more > 0 {
		_, err := fmt.Fprintf(w, "and %s\n", count(more, "more problem", "more problems"))
		return err
	}
	if len(problems) == 0 {
		_, err := fmt.Fprintf(w, "%s, no problem\n", count(len(set.Services), "service", "services"))
		return err
	}
	return nil
}
