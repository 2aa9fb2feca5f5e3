package deploy

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
)

// The test binary has three roles: what `go test` starts builds breakwater and starts itself
// again as the host, in namespaces of its own, where the tests run; the host starts itself
// again for each container, which becomes what the container runs.
const (
	roleVariable  = "BREAKWATER_DEPLOY_TEST_ROLE"
	roleHost      = "host"
	roleContainer = "container"
	// outVariable is the directory of what the Dockerfile has built, for the host.
	outVariable = "BREAKWATER_DEPLOY_TEST_OUT"
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case roleContainer:
		// It returns only if it fails.
		fmt.Fprintln(os.Stderr, "container:", runContainer())
		os.Exit(125)
	case roleHost:
		if err := prepareHost(); err != nil {
			fmt.Fprintln(os.Stderr, "namespaces of the test host:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	code, err := startHost()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// startHost builds what the images have in them and runs the tests on a host of their own.
func startHost() (int, error) {
	out, err := os.MkdirTemp("", "breakwater-deploy-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(out)
	// An image's files are read by other users than ours.
	if err := os.Chmod(out, 0o755); err != nil {
		return 1, err
	}
	if err := buildImages(out); err != nil {
		return 1, err
	}
	// The parent-death signal comes when this thread ends.
	runtime.LockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), roleVariable+"="+roleHost, outVariable+"="+out)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		// Containers all run as this user then, for it can map no other.
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1), nil
	}
	return 1, fmt.Errorf("the test needs namespaces of its own: run it as root, or allow unprivileged user namespaces: %w", err)
}

// prepareHost makes the namespaces usable that this process has begun in.
func prepareHost() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	return ip("link", "set", "lo", "up")
}

// ip runs iproute2's ip.
func ip(args ...string) error { return run("ip", args...) }

func run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w; on Debian and Ubuntu: apt-get install iproute2 util-linux", err)
	}
	if err != nil {
		return fmt.Errorf("%s %q: %w: %s", name, args, err, out)
	}
	return nil
}
