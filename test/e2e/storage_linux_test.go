package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
)

// smallDisk is a mount namespace in which a directory is a file system of its own, with room for a few documents.
type smallDisk struct {
	t   *testing.T
	dir string
	pid string
}

// newSmallDisk mounts it over dir, until the test ends.
func newSmallDisk(t *testing.T, dir string) *smallDisk {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	args := []string{"--mount"}
	if os.Getuid() != 0 {
		args = append(args, "--user", "--map-root-user")
	}
	holder := exec.Command("unshare", append(args, "sh", "-ec", `mount -t tmpfs -o size=256k tmpfs "$0"; echo mounted; exec cat`, dir)...)
	stdin, err := holder.StdinPipe() // it ends with this process
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	holder.Stderr = os.Stderr
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(stdin.Close(), holder.Wait()); err != nil {
			t.Errorf("the small disk: %v", err)
		}
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "mounted\n" {
		t.Fatalf("the small disk is not mounted: %q, %v", line, err)
	}
	return &smallDisk{t, dir, strconv.Itoa(holder.Process.Pid)}
}

// enter is the command that runs another where the disk is mounted.
func (d *smallDisk) enter() []string {
	enter := []string{"nsenter", "--target", d.pid, "--mount"}
	if os.Getuid() != 0 {
		enter = append(enter, "--user", "--preserve-credentials")
	}
	return append(enter, "--")
}

// sh runs a command where the disk is mounted, with its directory as $0.
func (d *smallDisk) sh(command string) {
	d.t.Helper()
	args := append(d.enter(), "sh", "-ec", command, d.dir)
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// protect makes the disk read-only for all that is opened from now on, and unprotect takes that back.
func (d *smallDisk) protect()   { d.sh(`mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"`) }
func (d *smallDisk) unprotect() { d.sh(`mount -o remount,bind,rw "$0"`) }

func (d *smallDisk) filler() string { return filepath.Join("/proc", d.pid, "root", d.dir, "filler") }

// fill leaves no room.
func (d *smallDisk) fill() {
	d.t.Helper()
	f, err := os.OpenFile(d.filler(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, os.Getpagesize())
	envoytest.Eventually(d.t, 15*time.Second, "the disk is full", func() error {
		for n := 0; ; n++ {
			_, err := f.Write(page)
			switch {
			case !errors.Is(err, syscall.ENOSPC) && err != nil:
				return err
			case err == nil:
			case n > 0:
				return fmt.Errorf("%d pages were free", n)
			default:
				return nil
			}
		}
	})
}

func (d *smallDisk) empty() {
	d.t.Helper()
	if err := os.Remove(d.filler()); err != nil {
		d.t.Fatal(err)
	}
}

// TestOverridesThatCannotBeSaved: a state directory that is full or read-only disarms nobody and stops no start, and what
// could not be saved is said until it is. A full one has no file yet, for in a file there is room for a while, and one
// becomes read-only while nobody has its file open.
func TestOverridesThatCannotBeSaved(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name           string
		breaks, repair func(d *smallDisk)
		begins         bool // with what breaks
	}{
		{"full", (*smallDisk).fill, (*smallDisk).empty, true},
		{"read-only", (*smallDisk).protect, (*smallDisk).unprotect, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := prepared(t, quiet(at("svc", newScript(t))))
			d := newSmallDisk(t, s.stateDir)
			s.within = d.enter()
			if tt.begins {
				tt.breaks(d)
			}
			s.startForTest()
			s.envoy = s.startEnvoy("e2e")
			answers := func(status int) {
				t.Helper()
				if r := s.get("/svc"); r.status != status {
					t.Errorf("callers get %d %s, want %d", r.status, r.body, status)
				}
			}
			force := func(saved bool) {
				t.Helper()
				out := s.run("force-open", "svc", "--reason", "a drill", "--for-ever")
				if strings.Contains(out, "not saved: ") == saved || strings.Contains(out, " until ") == saved {
					t.Errorf("saved is %t, but force-open says\n%s", saved, out)
				}
				answers(http.StatusServiceUnavailable)
			}
			if !tt.begins {
				force(true)
				s.run("release", "svc")
				s.stop()
				tt.breaks(d)
				s.start()
				s.untilState("svc", "closed", map[string]string{"e2e": "closed"})
			}
			force(false)
			if out := s.run("status"); !strings.Contains(out, "(not saved) a drill") || !strings.Contains(out, "not saved since ") {
				t.Errorf("status says\n%s", out)
			}
			if got := s.metric(`breakwater_store_unsaved{document="orders"}`); got != 1 {
				t.Errorf("breakwater_store_unsaved is %v", got)
			}
			if out := s.run("reset", "svc"); !strings.Contains(out, "not saved: ") {
				t.Errorf("reset says\n%s", out)
			}
			answers(http.StatusOK)

			s.stop()
			s.start()
			s.untilState("svc", "closed", map[string]string{"e2e": "closed"})
			force(false)
			tt.repair(d)
			s.until("it is saved", func() error {
				if out := s.run("status"); strings.Contains(out, "not saved") {
					return fmt.Errorf("status says\n%s", out)
				}
				return nil
			})
			s.kill()
			s.start()
			s.untilState("svc", "forced_open", map[string]string{"e2e": "forced_open"})
			answers(http.StatusServiceUnavailable)
		})
	}
}
