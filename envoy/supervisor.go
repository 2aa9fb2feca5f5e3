package envoy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"github.com/google/renameio/v2"
	"github.com/hashicorp/go-hclog"

	"github.com/breakwater/breakwater/envoy/child"
)

const (
	defaultStopGrace = 5 * time.Second
	// hangGrace is the time between SIGTERM and SIGKILL for an Envoy that hangs.
	hangGrace = 2 * time.Second

	// restartBase doubles with each exit up to restartMax, and starts anew after an
	// Envoy that lived for settled.
	restartBase = 100 * time.Millisecond
	restartMax  = 5 * time.Second
	settled     = 10 * time.Second

	// maxFailedStarts in a row end Run: such an Envoy will not start by trying again.
	maxFailedStarts = 3
)

// Supervisor keeps one Envoy running on this host. Its fields must not be changed
// once Run was called, and a Supervisor must not be copied.
type Supervisor struct {
	Binary    Binary
	Bootstrap *bootstrapv3.Bootstrap
	// Dir is where bootstrap.yaml is written. It is created if it is missing.
	Dir string
	// Log is for starts and exits. Nil discards it.
	Log hclog.Logger
	// Stdout and Stderr receive Envoy's output; its log goes to Stderr. Nil discards it.
	Stdout, Stderr io.Writer
	// LogLevel is one of LogLevels; empty means Envoy's own default, info.
	LogLevel string
	// Concurrency is the number of Envoy's worker threads; 0 means one per CPU.
	Concurrency uint32
	// ExtraArgs are appended to Envoy's command line.
	ExtraArgs []string
	// StopGrace is the time between SIGTERM and SIGKILL when Run ends; 0 means 5 s.
	StopGrace time.Duration
	// OnStart is called by Run's goroutine after each start. May be nil.
	OnStart func(pid int)
	// OnHang is called by Run's goroutine before an Envoy that hangs is ended. May be nil.
	OnHang func(pid int)

	pid atomic.Int64
}

// Pid is the process id of the running Envoy, or 0 if there is none now.
func (s *Supervisor) Pid() int { return int(s.pid.Load()) }

// Run writes the bootstrap, starts Envoy and starts it again whenever it ends or hangs,
// until ctx ends: then it stops Envoy and returns nil. An Envoy hangs if its admin API
// does not answer for 8 s (20 s before its first answer, 60 s while its main thread
// works). It gets the variables that environment allows, and no other.
//
// Run returns an error, with Envoy's own reason in one line, if Envoy can not be started
// or fails to start three times in a row. No Envoy is left when it returns; on Linux none
// is left either when this process is killed.
func (s *Supervisor) Run(ctx context.Context) error {
	log := s.Log
	if log == nil {
		log = hclog.NewNullLogger()
	}
	config, err := s.writeBootstrap()
	if err != nil {
		return err
	}
	delay, failedStarts := restartBase, 0
	for ctx.Err() == nil {
		exit, err := s.runOnce(ctx, log, config)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		if exit.lived >= settled {
			delay, failedStarts = restartBase, 0
		}
		if exit.refused() {
			failedStarts++
			if failedStarts == maxFailedStarts {
				return fmt.Errorf("envoy does not start: %s", exit.reason)
			}
		} else {
			failedStarts = 0
		}
		log.Error("envoy ended", "exit", exit.status, "after", exit.lived.Round(time.Millisecond),
			"restart_in", delay, "last_output", strings.Join(exit.lines, "\n"))
		if !wait(ctx, delay) {
			return nil
		}
		delay = min(2*delay, restartMax)
	}
	return nil
}

func (s *Supervisor) writeBootstrap() (string, error) {
	data, err := MarshalYAML(s.Bootstrap)
	if err != nil {
		return "", fmt.Errorf("bootstrap: %w", err)
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return "", fmt.Errorf("bootstrap: %w", err)
	}
	path := filepath.Join(s.Dir, "bootstrap.yaml")
	if err := renameio.WriteFile(path, data, 0o644); err != nil {
		return "", fmt.Errorf("bootstrap: %w", err)
	}
	return path, nil
}

// exit is how one Envoy ended.
type exit struct {
	code   int    // -1 if a signal ended it
	status string // "exit status 1", "signal: killed"
	lived  time.Duration
	lines  []string
	reason string
}

// refused reports whether Envoy gave up while it started, for a reason that it named:
// a configuration that it does not take, or an address in use.
func (e exit) refused() bool { return e.code == 1 && e.lived < settled && e.reason != "" }

// runOnce starts one Envoy and returns when it is gone. Its error says that none
// could be started.
func (s *Supervisor) runOnce(ctx context.Context, log hclog.Logger, config string) (exit, error) {
	var last tail
	// Not CommandContext: it kills at once, and Envoy gets time to end in order.
	cmd := exec.Command(s.Binary.Path, s.args(config)...)
	cmd.Env = environment()
	cmd.Stdout = s.Stdout
	cmd.Stderr = &last
	if s.Stderr != nil {
		cmd.Stderr = io.MultiWriter(&last, s.Stderr)
	}
	process, err := child.Start(cmd)
	if err != nil {
		return exit{}, fmt.Errorf("envoy can not be started: %w", err)
	}
	started := time.Now()
	s.pid.Store(int64(process.Pid()))
	defer s.pid.Store(0)
	log.Info("envoy started", "pid", process.Pid(), "version", s.Binary.Version)
	if s.OnStart != nil {
		s.OnStart(process.Pid())
	}

	hung, stopWatching := s.watch(process.Pid())
	defer stopWatching()
	select {
	case <-hung:
		log.Error("envoy hangs: its admin API does not answer; it is replaced", "pid", process.Pid())
		if s.OnHang != nil {
			s.OnHang(process.Pid())
		}
		process.Stop(hangGrace)
	case <-ctx.Done():
		if grace := s.stopGrace(); process.Stop(grace) {
			log.Warn("envoy did not end and was killed", "pid", process.Pid(), "after", grace)
		}
	case <-process.Done():
	}
	e := exit{status: "exit status 0", lived: time.Since(started), lines: last.Lines()}
	if err := process.Err(); err != nil {
		e.status, e.code = err.Error(), -1
		var exitErr *exec.ExitError
		if errors.As(err, &exitErr) {
			e.code = exitErr.ExitCode()
		}
	}
	e.reason = reason(e.lines)
	return e, nil
}

// watch closes hung once the Envoy of that pid hangs. It watches until stop is called.
func (s *Supervisor) watch(pid int) (hung <-chan struct{}, stop func()) {
	at := s.Bootstrap.GetAdmin().GetAddress().GetSocketAddress()
	if at.GetPortValue() == 0 {
		return nil, func() {}
	}
	admin := NewAdmin(net.JoinHostPort(at.GetAddress(), strconv.Itoa(int(at.GetPortValue()))))
	ctx, cancel := context.WithCancel(context.Background())
	found, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		if untilHang(ctx, pid, admin.Ready) {
			close(found)
		}
	}()
	return found, func() { cancel(); <-ended; admin.Close() }
}

func (s *Supervisor) args(config string) []string {
	args := []string{"--config-path", config, "--disable-hot-restart"}
	if s.LogLevel != "" {
		args = append(args, "--log-level", s.LogLevel)
	}
	if s.Concurrency != 0 {
		args = append(args, "--concurrency", strconv.FormatUint(uint64(s.Concurrency), 10))
	}
	return append(args, s.ExtraArgs...)
}

func (s *Supervisor) stopGrace() time.Duration {
	if s.StopGrace == 0 {
		return defaultStopGrace
	}
	return s.StopGrace
}

// wait returns false if ctx ended before d was over.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
