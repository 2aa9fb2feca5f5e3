// Package child runs a child process that does not outlive this one.
//
// It knows nothing of what the child is. On Linux its one invariant holds even if
// this process is killed with SIGKILL; elsewhere only if this process ends in order.
package child

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// copyGrace bounds the wait for a dead child's output to be copied: a grandchild
// may hold its pipes open.
const copyGrace = time.Second

// Process is a child that was started. Its methods may be called from any goroutine.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // written before done is closed
}

// Start starts cmd in a process group of its own, so that a terminal's Ctrl-C
// reaches only this process, which then stops the child in order. It sets
// cmd.SysProcAttr and cmd.WaitDelay; the caller must not call cmd.Wait.
func Start(cmd *exec.Cmd) (*Process, error) {
	cmd.SysProcAttr = sysProcAttr()
	cmd.WaitDelay = copyGrace
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// Linux sends the parent-death signal when the thread that forked ends, not
		// the process: that thread has to live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		if err := cmd.Wait(); !errors.Is(err, exec.ErrWaitDelay) {
			p.err = err
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// Pid is the child's process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed once the child has ended and its output was copied.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the child ended: nil for exit code 0, else usually an
// *exec.ExitError. It waits for the end.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Signal sends a signal to the child. It fails with os.ErrProcessDone if that has ended.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Stop asks the child to end with SIGTERM, kills it if it has not after grace, and
// returns when it is gone. It reports whether the child had to be killed.
func (p *Process) Stop(grace time.Duration) (killed bool) {
	if err := p.Signal(syscall.SIGTERM); err == nil {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-p.done:
			return false
		case <-timer.C:
		}
	}
	select {
	case <-p.done:
		return false
	default:
	}
	// It can only fail if the child has ended meanwhile.
	_ = p.cmd.Process.Kill()
	<-p.done
	return true
}
