package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/term"

	"github.com/breakwater/breakwater/admin/adminpb"
)

// The screen is the terminal's other page, without a cursor and without wrapping; the first
// page is as it was when it is left. Each drawing begins at its top left and clears what is
// left of the one before.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// redraw is the time between two drawings, so that the time that is left is right.
const redraw = time.Second

// screenView draws the breakers as a table in place.
type screenView struct {
	out     io.Writer
	server  string
	profile colorprofile.Profile
	// size is the terminal's number of cells a line, and of lines; 0 if they are not known.
	size func() (width, height int)
	now  func() time.Time

	mu sync.Mutex // guards the following
	breakers
	// gone is why the server is; nil if it is there.
	gone error
	// entered is true once something was drawn.
	entered bool
}

func newScreenView(out io.Writer, server string) *screenView {
	return &screenView{
		out: out, server: server, now: time.Now,
		profile: colorprofile.Detect(out, os.Environ()),
		size: func() (width, height int) {
			if f, ok := out.(*os.File); ok {
				if width, height, err := term.GetSize(f.Fd()); err == nil {
					return width, height
				}
			}
			return 0, 0
		},
	}
}

// run draws until watching returns, and leaves the terminal as it was.
func (v *screenView) run(watching func() error) error {
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	sizes, stop := resized()
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- watching() }()
	for {
		select {
		case <-ticker.C:
			if err := v.tick(); err != nil {
				return err
			}
		case <-sizes:
			if err := v.tick(); err != nil {
				return err
			}
		case err := <-ended:
			if failed := v.leave(); err == nil {
				err = failed
			}
			return err
		}
	}
}

// leave leaves the terminal as it was before anything was drawn.
func (v *screenView) leave() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.entered {
		return nil
	}
	_, err := io.WriteString(v.out, leaveScreen)
	return err
}

// tick draws anew what was drawn before.
func (v *screenView) tick() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.entered {
		return nil
	}
	return v.draw()
}

func (v *screenView) change(m *adminpb.WatchBreakersResponse) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.take(m)
	return v.draw()
}

func (v *screenView) lost(err error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.gone = err
	return v.draw()
}

// draw draws the whole screen. The caller must hold v.mu.
func (v *screenView) draw() error {
	var frame bytes.Buffer
	if !v.entered {
		v.entered = true
		frame.WriteString(enterScreen)
	}
	frame.WriteString(home)
	for i, line := range v.lines() {
		if i > 0 {
			frame.WriteString("\r\n")
		}
		frame.WriteString(clearLine + line)
	}
	frame.WriteString(clearBelow)
	_, err := v.out.Write(frame.Bytes())
	return err
}

// lines are what the screen shows: at most as many as it has, none wider than it is. The caller must hold v.mu.
func (v *screenView) lines() []string {
	width, height := v.size()
	now := v.now()
	first := fmt.Sprintf("Breakwater at %s, %s (Ctrl-C ends)", v.server, now.UTC().Format(time.RFC3339))
	if v.gone != nil {
		first = "waiting for the server, this is how it was: " + v.gone.Error()
	}
	lines := []string{oneLine(first), ""}
	if len(v.breakers) == 0 {
		lines = append(lines, "no service is served")
	} else {
		breakers := slices.SortedFunc(maps.Values(v.breakers), compareBreakers)
		lines = append(lines, fittedBreakerGrid(breakers, now, width).render(v.profile)...)
	}
	if hidden := len(lines) - height; height > 0 && hidden > 0 {
		shown := max(height-1, 2) // those at the top, and how many there are more
		lines = append(lines[:shown], fmt.Sprintf("and %d more", len(lines)-shown))
	}
	if width > 0 {
		for i, line := range lines {
			lines[i] = cutLine(line, width)
		}
	}
	return lines
}
