package watch

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/breakwater/breakwater/policy"
)

// LastGood keeps the files of the last good set over a restart.
type LastGood interface {
	// LoadPolicies returns nil if there are none. An error is logged; the start
	// goes on with what is returned beside it.
	LoadPolicies() ([]policy.File, error)
	SavePolicies(files []policy.File) error
}

// Options of a Reloader. Source and Apply are required.
type Options struct {
	Source *Source
	// Env looks up environment variables; nil means os.LookupEnv.
	Env func(string) (string, bool)
	// Apply publishes a set. All that can fail in it must come before anything live
	// is changed: after an error the former set is taken to be still in force.
	Apply func(ctx context.Context, set *policy.Set) error
	// LastGood is where the last good files are kept; nil means nowhere.
	LastGood LastGood
	// Strict makes Load refuse a policy directory with any error or lint warning.
	Strict bool
	// Notify is called with the status after each attempt; nil means nobody is.
	Notify func(Status)
	// Log is where problems are said; nil means nowhere.
	Log hclog.Logger
	// Registerer takes the reload metrics; nil means that there are none.
	Registerer prometheus.Registerer
}

// Reloader keeps the policies in force in step with their directory. A fault is
// confined: what can't be read or is wrong keeps its last good version, and the
// rest goes live.
type Reloader struct {
	opts    Options
	log     hclog.Logger
	metrics metrics

	// These belong to the goroutine of Load and Run.
	current  *policy.Set            // in force, or restored and not yet in force; nil for none
	inForce  bool                   // Apply has taken a set
	read     map[string]policy.File // each file as last read
	digest   string                 // of the last snapshot
	reported map[string]bool        // the problems of the last attempt

	// mu guards status.
	mu     sync.Mutex
	status Status
}

// NewReloader returns a Reloader that has read nothing yet. It fails only if the
// metrics can't be registered.
func NewReloader(opts Options) (*Reloader, error) {
	r := &Reloader{opts: opts, log: opts.Log, metrics: newMetrics(), read: map[string]policy.File{}}
	if r.log == nil {
		r.log = hclog.NewNullLogger()
	}
	if r.opts.Env == nil {
		r.opts.Env = os.LookupEnv
	}
	if opts.Registerer != nil {
		if err := r.metrics.register(opts.Registerer); err != nil {
			return nil, fmt.Errorf("register the reload metrics: %w", err)
		}
	}
	return r, nil
}

// Load reads the directory and applies what is valid in it, before it returns. It
// must come before Run. Where something is wrong the stored last good version, if
// there is one, stands in; the faults are in the status and in the log.
//
// It fails if there is nothing to apply (the directory can't be read and nothing
// is stored), with Apply's error, or, in strict mode, with a *ProblemsError if there is
// any problem; nothing is applied then, and the error says all that the log would.
func (r *Reloader) Load(ctx context.Context) error {
	s := r.opts.Source.Read(ctx, r.restore())
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.reload(ctx, s, r.opts.Strict)
}

// Run applies each change of the directory until ctx is done; then it returns nil.
func (r *Reloader) Run(ctx context.Context) error {
	return r.opts.Source.Run(ctx, func(s Snapshot) (holds bool) {
		if s.Digest != r.digest || r.holds() {
			// The status and the log have the error; the former set stays in force.
			_ = r.reload(ctx, s, false)
		}
		return r.holds()
	})
}

func (r *Reloader) holds() bool { return r.current != nil && r.current.Holds() }

// restore takes the stored last good set as the one to fall back on, and returns its files.
func (r *Reloader) restore() []policy.File {
	if r.opts.LastGood == nil {
		return nil
	}
	files, err := r.opts.LastGood.LoadPolicies()
	if err != nil {
		r.log.Error("cannot load the last good policies", "error", err, "accepted_files_instead", len(files))
	}
	if len(files) == 0 {
		return nil
	}
	set, problems := policy.Build(files, r.opts.Env, nil)
	listed, _ := policy.LimitProblems(problems)
	for _, p := range listed {
		r.log.Debug("a stored policy is not valid any more", "problem", p.String())
	}
	r.current = set
	for _, f := range files {
		r.read[f.Name] = f
	}
	return files
}

// reload makes s the policies in force as far as it is valid. It returns an error
// if nothing was applied.
func (r *Reloader) reload(ctx context.Context, s Snapshot, strict bool) error {
	start := time.Now()
	r.digest = s.Digest
	set, problems := r.build(s)
	var err error
	switch {
	case strict && len(problems) > 0:
		err = &ProblemsError{Problems: problems}
	case set == nil:
		err = fmt.Errorf("read the policies: %w; and no last good version is stored", s.Err)
	case s.Err != nil && r.inForce:
		err = s.Err
	default:
		if err = r.opts.Apply(ctx, set); err != nil {
			problems = append(problems, r.problem(fmt.Errorf("apply the policies: %w", err)))
		}
	}
	applied := err == nil
	if applied {
		r.current, r.inForce = set, true
		r.save()
	}
	r.conclude(start, s, applied, problems)
	return err
}

// build makes a set of what could be read. Files that could not be keep the
// content they had; a directory that could not be read keeps the whole set.
func (r *Reloader) build(s Snapshot) (*policy.Set, []policy.Problem) {
	if s.Err != nil {
		return r.current, []policy.Problem{r.problem(s.Err)}
	}
	var problems []policy.Problem
	files := slices.Clone(s.Files)
	read := make(map[string]policy.File, len(files))
	for _, f := range s.Faults {
		problems = append(problems, policy.Problem{
			Severity: policy.SeverityError,
			Position: policy.Position{File: f.Name, Line: f.Line, Column: min(1, f.Line)},
			Message:  f.Err.Error(),
		})
		if old, ok := r.read[f.Name]; ok {
			files = append(files, old)
		}
	}
	slices.SortFunc(files, func(a, b policy.File) int { return strings.Compare(a.Name, b.Name) })
	for _, f := range files {
		read[f.Name] = f
	}
	r.read = read
	set, errs := policy.Build(files, r.opts.Env, r.current)
	problems = append(problems, errs...)
	return set, append(problems, warnings(set, s, problems)...)
}

// Warnings are the lint warnings about a set that was built with these errors, without those about last good versions in it.
func Warnings(set *policy.Set, errs []policy.Problem) []policy.Problem {
	return warnings(set, Snapshot{}, errs)
}

// warnings are the lint warnings about what the directory says. Those about a last good
// version are left out: they would point into a file that has other lines now. What
// several services share has no service: it is old if there is an error in its file.
func warnings(set *policy.Set, s Snapshot, errs []policy.Problem) []policy.Problem {
	old := stale(set, s)
	return slices.DeleteFunc(policy.Lint(set), func(p policy.Problem) bool {
		if p.Service != "" {
			return slices.Contains(old, p.Service)
		}
		return slices.ContainsFunc(errs, func(e policy.Problem) bool { return e.Position.File == p.Position.File })
	})
}

// problem is a fault of the directory as a whole.
func (r *Reloader) problem(err error) policy.Problem {
	return policy.Problem{
		Severity: policy.SeverityError,
		Position: policy.Position{File: r.opts.Source.Dir},
		Message:  err.Error(),
	}
}

func (r *Reloader) save() {
	if r.opts.LastGood == nil {
		return
	}
	if err := r.opts.LastGood.SavePolicies(r.current.Files()); err != nil {
		r.log.Error("the last good policies could not be stored", "error", err)
	}
}

// conclude records an attempt in the status, the metrics and the log, and notifies. A
// start that fails is not logged: Load returns why.
func (r *Reloader) conclude(start time.Time, s Snapshot, applied bool, problems []policy.Problem) {
	r.mu.Lock()
	listed, more := policy.LimitProblems(problems)
	st := Status{
		LastAttempt: start, LastSuccess: r.status.LastSuccess,
		Problems: listed, MoreProblems: more, Excerpts: policy.Excerpts(listed, r.read),
	}
	st.OK = applied && !slices.ContainsFunc(problems, isError)
	if st.OK {
		st.LastSuccess = start
	}
	if r.inForce {
		st.Digest = r.current.Digest
		st.Services = len(r.current.Services)
		st.Stale = stale(r.current, s)
	}
	r.status = st
	r.mu.Unlock()

	r.metrics.set(st, applied)
	r.metrics.count(problems)
	if r.inForce {
		r.report(listed, more)
		level := hclog.Info
		message := "policies applied"
		if !applied {
			level, message = hclog.Error, "policies not applied"
		}
		r.log.Log(level, message, "services", st.Services, "stale", len(st.Stale), "problems", policy.CountProblems(problems),
			"digest", st.Digest, "took", time.Since(start))
	}
	if r.opts.Notify != nil {
		r.opts.Notify(st.clone())
	}
}

// report logs the problems that the attempt before did not have, and how many more there are if some of them are new.
func (r *Reloader) report(problems []policy.Problem, more int) {
	anew := false
	reported := make(map[string]bool, len(problems))
	for _, p := range problems {
		key := string(p.Severity) + " " + p.String()
		if !r.reported[key] && !reported[key] {
			anew = true
			level, message := hclog.Error, "policy is not valid"
			if p.Severity == policy.SeverityWarning {
				level, message = hclog.Warn, "policy is doubtful"
			}
			r.log.Log(level, message, "problem", p.Message, "file", p.Position.File, "line", p.Position.Line,
				"column", p.Position.Column, "service", p.Service, "path", p.Path)
		}
		reported[key] = true
	}
	r.reported = reported
	if anew && more > 0 {
		r.log.Error("policies have more problems", "more", more)
	}
}

// ProblemsError is the refusal of strict mode.
type ProblemsError struct {
	// Problems has at least one element.
	Problems []policy.Problem
}

// Error has a line for each of the first problems.
func (e *ProblemsError) Error() string {
	listed, more := policy.LimitProblems(e.Problems)
	lines := make([]string, len(listed), len(listed)+1)
	for i, p := range listed {
		lines[i] = p.String()
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}
