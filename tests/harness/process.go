//go:build unix

package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// How long a process may take. They are generous: only a hang should reach them.
const (
	readyWithin = 90 * time.Second
	exitWithin  = 60 * time.Second
)

// Process is a running wasmill. It is reaped when the test ends at the latest.
type Process struct {
	cmd    *exec.Cmd
	stdout output
	stderr output
	exited chan struct{} // closed when the process was reaped
}

// processes are those that are not reaped yet.
var processes registry

type registry struct {
	mu   sync.Mutex
	live map[*Process]bool
}

func (r *registry) set(p *Process, live bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.live == nil {
		r.live = map[*Process]bool{}
	}
	if live {
		r.live[p] = true
	} else {
		delete(r.live, p)
	}
}

func (r *registry) all() []*Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*Process
	for p := range r.live {
		all = append(all, p)
	}
	return all
}

// spawn starts the binary. env is added to this process's environment without its WASMILL_ variables.
func spawn(env []string, args ...string) (*Process, error) {
	bin, err := Binary()
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.Command(bin, args...), exited: make(chan struct{})}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "WASMILL_") {
			p.cmd.Env = append(p.cmd.Env, v)
		}
	}
	p.cmd.Env = append(p.cmd.Env, "GOTRACEBACK=all", "GORACE=atexit_sleep_ms=0")
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.SysProcAttr = spawnAttributes()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", strings.Join(p.cmd.Args, " "), err)
	}
	processes.set(p, true)
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // the outcome is in ProcessState
		processes.set(p, false)
	}()
	return p, nil
}

// Pid is the process's id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Stdout is what the process has written to standard output so far.
func (p *Process) Stdout() string { return p.stdout.String() }

// Log is what the process has written to standard error so far.
func (p *Process) Log() string { return p.stderr.String() }

// Exited is closed when the process has ended and was reaped.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// ExitCode is the exit code of a process that has ended; -1 when a signal ended it.
func (p *Process) ExitCode() int {
	<-p.exited
	return p.cmd.ProcessState.ExitCode()
}

// Signal sends a signal to the process; one that has ended already is none to complain about.
func (p *Process) Signal(tb testing.TB, s syscall.Signal) {
	tb.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		tb.Fatalf("signal %v to process %d: %v", s, p.Pid(), err)
	}
}

// destroy ends the process whatever state it is in.
func (p *Process) destroy() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.exited
}

// wait waits for the process to end; one that does not is killed with a dump of its goroutines.
func (p *Process) wait(tb testing.TB) {
	tb.Helper()
	select {
	case <-p.exited:
	case <-time.After(exitWithin):
		p.dump(tb)
		tb.Errorf("process %d did not end within %v; its log ends with:\n%s", p.Pid(), exitWithin, tail(p.Log(), 400))
	}
}

// dump makes the Go runtime print all goroutines and ends the process.
func (p *Process) dump(tb testing.TB) {
	tb.Helper()
	p.Signal(tb, syscall.SIGCONT)
	p.Signal(tb, syscall.SIGQUIT)
	select {
	case <-p.exited:
	case <-time.After(5 * time.Second):
		p.destroy()
	}
}

// inspect reports what the log says about the process itself.
func (p *Process) inspect(tb testing.TB) {
	tb.Helper()
	if f := faults(p.Log()); len(f) > 0 {
		tb.Errorf("process %d: %q; its log ends with:\n%s", p.Pid(), f, tail(p.Log(), 200))
	}
}

// Result is a command that has ended.
type Result struct {
	Code           int
	Stdout, Stderr string
}

// Run runs a wasmill command to its end and returns what it said; it must end by itself.
func Run(tb testing.TB, env []string, args ...string) Result {
	tb.Helper()
	p, err := spawn(env, args...)
	if err != nil {
		tb.Fatal(err)
	}
	p.wait(tb)
	p.inspect(tb)
	return Result{Code: p.ExitCode(), Stdout: p.Stdout(), Stderr: p.Log()}
}
