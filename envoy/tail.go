package envoy

import (
	"bytes"
	"strings"
	"sync"
)

const (
	tailLines    = 20
	maxTailBytes = 4 << 10
)

// tail is an io.Writer that keeps the last lines written to it.
type tail struct {
	mu sync.Mutex
	// lines and partial are guarded by mu. partial is a line without its end yet.
	lines   []string
	partial []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(p)
	for {
		line, rest, found := bytes.Cut(p, []byte{'\n'})
		t.partial = append(t.partial, line[:min(len(line), maxTailBytes-len(t.partial))]...)
		if !found {
			return n, nil
		}
		t.lines = append(t.lines, string(t.partial))
		if len(t.lines) > tailLines {
			t.lines = t.lines[1:]
		}
		t.partial = t.partial[:0]
		p = rest
	}
}

// Lines returns the last lines, the oldest first, empty ones left out.
func (t *tail) Lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for _, line := range append(t.lines[:len(t.lines):len(t.lines)], string(t.partial)) {
		if strings.TrimSpace(line) != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// reason is Envoy's own account of why it ended, in one line: the last line that is
// not an entry of its log. Empty if there is none.
func reason(lines []string) string {
	for i := len(lines) - 1; i >= 0; i-- {
		if !strings.HasPrefix(lines[i], "[") {
			return strings.TrimPrefix(oneLine(lines[i]), ": ")
		}
	}
	return ""
}
