package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// containerSpec is what a container's process is told, as JSON on descriptor 3, once its
// networks are there.
type containerSpec struct {
	Hostname string
	// Root is the host's path of the root directory.
	Root     string
	ReadOnly bool
	Mounts   []mount
	Args     []string
	Env      []string
	UID, GID int
}

// mount is one of a container's; Source is the host's path, or empty for a tmpfs.
type mount struct {
	Source, Target string
	ReadOnly       bool
	// Options are those of a tmpfs.
	Options string
}

// The prctl options that package syscall has no names for.
const (
	prSetNoNewPrivs = 38
	prCapbsetDrop   = 24
	lastCapability  = 40
)

// runContainer becomes what the container runs, in the namespaces that it has begun in.
func runContainer() error {
	runtime.LockOSThread()
	pipe := os.NewFile(3, "spec")
	var c containerSpec
	text, err := io.ReadAll(pipe)
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err := errors.Join(err, pipe.Close()); err != nil {
		return err
	}
	if err := syscall.Sethostname([]byte(c.Hostname)); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	if err := c.mountAll(); err != nil {
		return err
	}
	if err := syscall.Chroot(c.Root); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := c.becomeUser(); err != nil {
		return err
	}
	os.Clearenv()
	for _, variable := range c.Env {
		name, value, _ := strings.Cut(variable, "=")
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	program, err := exec.LookPath(c.Args[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", program, syscall.Exec(program, c.Args, c.Env))
}

// mountAll lays out the container's files below its root.
func (c *containerSpec) mountAll() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := syscall.Mount(c.Root, c.Root, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	for _, m := range c.Mounts {
		target := filepath.Join(c.Root, m.Target)
		if err := m.makeTarget(target); err != nil {
			return fmt.Errorf("mount at %s: %w", m.Target, err)
		}
		if err := m.mount(target); err != nil {
			return fmt.Errorf("mount of %s at %s: %w", m.Source, m.Target, err)
		}
	}
	proc := filepath.Join(c.Root, "proc")
	if err := syscall.Mount("proc", proc, "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	if c.ReadOnly {
		if err := syscall.Mount("", c.Root, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("making the root read-only: %w", err)
		}
	}
	return nil
}

// makeTarget makes what the mount covers, as an engine does.
func (m mount) makeTarget(target string) error {
	if info, err := os.Stat(m.Source); m.Source != "" {
		if err != nil {
			return err
		}
		if !info.IsDir() {
			if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
				return err
			}
			f, err := os.OpenFile(target, os.O_CREATE, 0o644)
			if err != nil {
				return err
			}
			return f.Close()
		}
	}
	return os.MkdirAll(target, 0o755)
}

func (m mount) mount(target string) error {
	if m.Source == "" {
		options := "mode=1777"
		if m.Options != "" {
			options += "," + m.Options
		}
		return syscall.Mount("tmpfs", target, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, options)
	}
	if err := syscall.Mount(m.Source, target, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return err
	}
	if !m.ReadOnly {
		return nil
	}
	return syscall.Mount("", target, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
}

// becomeUser gives up all that the container's user does not have.
func (c *containerSpec) becomeUser() error {
	for capability := range uintptr(lastCapability + 1) {
		_, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prCapbsetDrop, capability, 0)
		if errno != 0 && errno != syscall.EINVAL { // one that this kernel does not have
			return fmt.Errorf("dropping capability %d: %w", capability, errno)
		}
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetNoNewPrivs, 1, 0); errno != 0 {
		return fmt.Errorf("no new privileges: %w", errno)
	}
	if oneUser() {
		return nil
	}
	if err := syscall.Setgroups([]int{c.GID}); err != nil {
		return fmt.Errorf("groups: %w", err)
	}
	if err := syscall.Setgid(c.GID); err != nil {
		return fmt.Errorf("gid %d: %w", c.GID, err)
	}
	if err := syscall.Setuid(c.UID); err != nil {
		return fmt.Errorf("uid %d: %w", c.UID, err)
	}
	return nil
}

// oneUser reports whether the test host's user namespace maps no user but one.
func oneUser() bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	var inside, outside, size int
	if err == nil {
		_, err = fmt.Sscan(string(text), &inside, &outside, &size)
	}
	return err == nil && size == 1
}
