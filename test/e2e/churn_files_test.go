package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// churnFiles edits policies as people and their tools do, well and badly.
type churnFiles struct {
	c      *churn
	random *rand.Rand
	// files are the documents of the services that must never fail, by file.
	files map[string][]string

	mu sync.Mutex
	// done is what was done, the last at the end; guarded by mu.
	done []string
}

// steady are the services that are always there and never fail.
var steady = []string{"steady-1", "steady-2", "steady-3", "steady-4"}

func newChurnFiles(c *churn, seed uint64) *churnFiles {
	return &churnFiles{c: c, random: rand.New(rand.NewPCG(seed, 1)), files: map[string][]string{
		"steady.yaml": {steady[0], steady[1]}, "third.yaml": {steady[2]}, "fourth.yaml": {steady[3]},
	}}
}

// text is a file with the documents of services; more is appended to the first.
func (f *churnFiles) text(services []string, more string) []byte {
	var out string
	for i, name := range services {
		doc := f.c.policy(name)
		if i == 0 {
			doc += more
		} else {
			doc = "---\n" + doc
		}
		out += doc
	}
	return []byte(out)
}

// run does one thing after another to the files of the steady services until ctx ends, and then leaves all good.
func (f *churnFiles) run(ctx context.Context) {
	ways := []struct {
		name string
		do   func(context.Context, string) error
	}{
		{"slowly in place", f.slowly},
		{"unlinked", f.unlinked},
		{"torn", f.torn},
		{"emptied", f.emptied},
		{"invalid", f.invalid},
		{"rejected", f.rejected},
		{"renamed", f.renamed},
		{"moved", f.moved},
	}
	for n := 0; ctx.Err() == nil; n++ {
		if n%len(ways) == 0 {
			f.random.Shuffle(len(ways), func(i, j int) { ways[i], ways[j] = ways[j], ways[i] })
		}
		way, file := ways[n%len(ways)], f.pick()
		f.note("begin %s: %s of %v", file, way.name, f.files)
		if err := way.do(ctx, file); err != nil {
			f.c.t.Errorf("%s %s: %v", way.name, file, err)
			return
		}
		f.note("end %s: %s", file, way.name)
		f.c.pause(ctx, f.upTo(500*time.Millisecond))
	}
	for file := range f.files {
		if err := f.replace(file, ""); err != nil {
			f.c.t.Error(err)
		}
	}
}

// note keeps what is done for one who looks for a fault.
func (f *churnFiles) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, time.Now().UTC().Format(noteTime)+" "+fmt.Sprintf(format, args...))
}

// noteTime sorts as the times do.
const noteTime = "15:04:05.000"

// before returns what was done in the seconds before a time.
func (f *churnFiles) before(t time.Time, seconds int) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	from, to := t.UTC().Add(-time.Duration(seconds)*time.Second).Format(noteTime), t.UTC().Format(noteTime)
	return slices.DeleteFunc(slices.Clone(f.done), func(s string) bool { return s[:len(noteTime)] < from || s[:len(noteTime)] > to })
}

func (f *churnFiles) pick() string {
	names := make([]string, 0, len(f.files))
	for _, name := range []string{"steady.yaml", "third.yaml", "fourth.yaml", "moved.yaml"} {
		if len(f.files[name]) > 0 {
			names = append(names, name)
		}
	}
	return names[f.random.IntN(len(names))]
}

func (f *churnFiles) upTo(d time.Duration) time.Duration {
	return time.Duration(f.random.Int64N(int64(d)))
}

func (f *churnFiles) path(file string) string { return filepath.Join(f.c.dir, file) }

// replace writes a file as an editor does that renames.
func (f *churnFiles) replace(file, more string) error {
	tmp := f.path("." + file + ".tmp")
	if err := os.WriteFile(tmp, f.text(f.files[file], more), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, f.path(file))
}

// inPlace writes a file over itself, with a pause at some byte, and keeps it open meanwhile.
func (f *churnFiles) inPlace(ctx context.Context, file string) error {
	w, err := os.OpenFile(f.path(file), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer w.Close()
	text := f.text(f.files[file], "")
	at := f.random.IntN(len(text) + 1)
	if _, err := w.Write(text[:at]); err != nil {
		return err
	}
	f.c.pause(ctx, f.upTo(900*time.Millisecond))
	_, err = w.Write(text[at:])
	return err
}

func (f *churnFiles) slowly(ctx context.Context, file string) error { return f.inPlace(ctx, file) }

// unlinked removes a file and makes it anew.
func (f *churnFiles) unlinked(ctx context.Context, file string) error {
	if err := os.Remove(f.path(file)); err != nil {
		return err
	}
	f.c.pause(ctx, f.upTo(500*time.Millisecond))
	return f.replace(file, "")
}

// torn leaves the beginning of a document, as a writer that dies does, and repairs it later. A whole document less would
// be an order to remove its service.
func (f *churnFiles) torn(ctx context.Context, file string) error {
	text := f.text(f.files[file][:1], "")
	at := 1 + f.random.IntN(len(text)-2)
	if err := os.WriteFile(f.path(file), []byte(string(text[:at])+"\nupstream: [\n"), 0o600); err != nil {
		return err
	}
	f.c.pause(ctx, f.upTo(1500*time.Millisecond))
	return f.replace(file, "")
}

func (f *churnFiles) emptied(ctx context.Context, file string) error {
	if err := os.Truncate(f.path(file), 0); err != nil {
		return err
	}
	f.c.pause(ctx, f.upTo(1500*time.Millisecond))
	return f.replace(file, "")
}

// invalid saves what Breakwater refuses.
func (f *churnFiles) invalid(ctx context.Context, file string) error {
	if err := f.replace(file, "retries: 3\n"); err != nil {
		return err
	}
	f.c.pause(ctx, f.upTo(time.Second))
	return f.replace(file, "")
}

// rejected saves what Envoy refuses.
func (f *churnFiles) rejected(ctx context.Context, file string) error {
	if err := f.replace(file, fmt.Sprintf("  - regex: '/%s/\\pL{200}'\n", f.files[file][0])); err != nil {
		return err
	}
	f.c.pause(ctx, f.upTo(2*time.Second))
	return f.replace(file, "")
}

func (f *churnFiles) renamed(ctx context.Context, file string) error {
	other := "moved.yaml"
	if file == other {
		other = "third.yaml"
	}
	if len(f.files[other]) > 0 {
		return f.moved(ctx, file) // that name is taken
	}
	if err := os.Rename(f.path(file), f.path(other)); err != nil {
		return err
	}
	f.files[other] = f.files[file]
	delete(f.files, file)
	return nil
}

// moved takes a document from one file to another: it is written there first, as an operator would, and nothing else is done
// before Breakwater has read it there. Of a file that is emptied before it was ever read, nobody can know what was in it.
func (f *churnFiles) moved(ctx context.Context, file string) error {
	to := f.pick()
	if to == file || len(f.files[file]) < 2 {
		return f.replace(file, "")
	}
	last := len(f.files[file]) - 1
	service := f.files[file][last]
	f.files[to] = append(f.files[to], service)
	f.files[file] = f.files[file][:last]
	if err := f.replace(to, ""); err != nil {
		return err
	}
	if err := f.replace(file, ""); err != nil {
		return err
	}
	for end := time.Now().Add(patience); ctx.Err() == nil; {
		// An error is a Breakwater that is stopped just now.
		if text, err := f.c.fetch("http://" + f.c.http + "/api/v1/breakers/" + service + "/explain"); err == nil && strings.Contains(text, `"file":"`+to+`"`) {
			return nil
		} else if time.Now().After(end) {
			return fmt.Errorf("%s is not read from there: %w %s", service, err, text)
		}
		f.c.pause(ctx, 50*time.Millisecond)
	}
	return nil
}
