package harness

import (
	"bytes"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestMain(m *testing.M) {
	os.Exit(Main(m, os.Stderr)) //nolint:forbidigo // this is the test binary's main
}

// reporter takes down failures in place of failing.
type reporter struct {
	testing.TB
	errors []string
}

func (r *reporter) Helper() {}

func (r *reporter) Errorf(format string, args ...any) { r.errors = append(r.errors, format) }

func TestBrokerComesAndGoes(t *testing.T) {
	b := Start(t, Options{})
	if err := b.Client(t).Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now, peak := b.Memory(t); now > peak {
		t.Errorf("resident memory %d is above its peak %d", now, peak)
	}
	b.Pause(t)
	b.Resume(t)
	b.Kill(t)
	if code := b.ExitCode(); code != -1 {
		t.Errorf("a killed broker has exit code %d", code)
	}
	again := b.Restart(t)
	again.Stop(t)
	if len(processes.all()) != 0 {
		t.Errorf("%d processes are left", len(processes.all()))
	}
}

func TestLogOfABrokenProcessIsFound(t *testing.T) {
	b := Start(t, Options{})
	b.Signal(t, syscall.SIGQUIT) // the runtime prints its goroutines, as it does on a crash
	<-b.Exited()
	b.done = true
	if code := b.ExitCode(); code != 2 {
		t.Fatalf("exit code %d after SIGQUIT", code)
	}
	for _, line := range []string{"WARNING: DATA RACE", "panic: oh", "fatal error: all goroutines are asleep", "[signal SIGSEGV: x]"} {
		p := &Process{cmd: b.cmd}
		if _, err := p.stderr.Write([]byte("level=INFO msg=x\n" + line + "\nmore\n")); err != nil {
			t.Fatal(err)
		}
		r := &reporter{TB: t}
		p.inspect(r)
		if len(r.errors) != 1 {
			t.Errorf("%q in a log was reported %d times", line, len(r.errors))
		}
	}
	if f := faults("level=WARN msg=\"panic: only said\"\n"); len(f) != 0 {
		t.Errorf("found %q in a healthy log", f)
	}
}

func TestLeftoverProcessFailsTheRun(t *testing.T) {
	p, err := spawn(nil, "serve", "--data", t.TempDir(), "--http", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	if code := reap(&said); code != 1 || !strings.Contains(said.String(), "left process") {
		t.Errorf("exit code %d, said %q", code, said.String())
	}
	select {
	case <-p.Exited():
	default:
		t.Error("the leftover is still there")
	}
	if code := reap(&said); code != 0 {
		t.Error("the leftover was found again")
	}
}
