//go:build unix

// Package harness starts real wasmill processes for tests: it builds the binary once, waits for a
// broker's ready line in place of sleeping, sends signals by process id, reaps every process, and
// fails the test on a panic or a data race in a log and on a process that is left behind.
package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	client "github.com/wasmill/wasmill/sdk/client/go"
)

// Options start a broker. The zero value is a broker on a directory of the test's own.
type Options struct {
	Data string   // its data directory; "" for one that the test removes
	HTTP string   // the address to listen on; "" for a free port
	Args []string // further flags of wasmill serve
	Env  []string // further variables, NAME=value
}

// Broker is a running broker.
type Broker struct {
	*Process
	URL  string // http://HOST:PORT; empty before it is ready
	Data string
	opts Options
	done bool // ended by the test: the cleanup has nothing left to do
}

// Start starts a broker and waits until it is ready. When the test ends the broker is stopped,
// must then end with exit code 0, and its log is inspected.
func Start(tb testing.TB, o Options) *Broker {
	tb.Helper()
	b := Launch(tb, o)
	b.WaitReady(tb)
	return b
}

// Launch starts a broker without waiting for it.
func Launch(tb testing.TB, o Options) *Broker {
	tb.Helper()
	if o.Data == "" {
		o.Data = filepath.Join(tb.TempDir(), "data")
	}
	address := o.HTTP
	if address == "" {
		address = "127.0.0.1:0"
	}
	p, err := spawn(o.Env, append([]string{"serve", "--data", o.Data, "--http", address}, o.Args...)...)
	if err != nil {
		tb.Fatal(err)
	}
	b := &Broker{Process: p, Data: o.Data, opts: o}
	tb.Cleanup(func() {
		if !b.done {
			b.Stop(tb)
		}
		if tb.Failed() {
			tb.Logf("log of broker %d:\n%s", b.Pid(), tail(b.Log(), 60))
		}
	})
	return b
}

var readyLine = regexp.MustCompile(`(?m)^wasmill ready on (http://\S+) `)

// Await waits until the broker is ready or has ended, and returns which.
func (b *Broker) Await(tb testing.TB) (ready bool) {
	tb.Helper()
	late := time.After(readyWithin)
	for {
		m, more := b.stdout.find(readyLine)
		if m != nil {
			b.URL = m[1]
			return true
		}
		select {
		case <-more:
		case <-b.exited:
			return false
		case <-late:
			b.dump(tb)
			b.done = true
			tb.Fatalf("the broker was not ready within %v; its log ends with:\n%s", readyWithin, tail(b.Log(), 400))
		}
	}
}

// WaitReady waits until the broker serves; one that ends instead fails the test.
func (b *Broker) WaitReady(tb testing.TB) {
	tb.Helper()
	if !b.Await(tb) {
		b.done = true
		tb.Fatalf("the broker ended with exit code %d before it was ready:\n%s", b.ExitCode(), tail(b.Log(), 100))
	}
}

// Stop ends the broker in order: SIGTERM, exit code 0, nothing wrong in the log.
func (b *Broker) Stop(tb testing.TB) {
	tb.Helper()
	b.Signal(tb, syscall.SIGCONT) // a paused process would not get the signal
	b.Signal(tb, syscall.SIGTERM)
	b.Wait(tb)
	if code := b.ExitCode(); code != 0 {
		tb.Errorf("the broker ended with exit code %d:\n%s", code, tail(b.Log(), 100))
	}
}

// Wait waits for a broker that was signalled to end and inspects its log.
func (b *Broker) Wait(tb testing.TB) {
	tb.Helper()
	b.done = true
	b.wait(tb)
	b.inspect(tb)
}

// Kill ends the broker with SIGKILL, as a power switch would for the process, and reaps it.
func (b *Broker) Kill(tb testing.TB) {
	tb.Helper()
	b.Signal(tb, syscall.SIGKILL)
	b.Wait(tb)
}

// Pause stops the process in its tracks; Resume lets it go on.
func (b *Broker) Pause(tb testing.TB) { tb.Helper(); b.Signal(tb, syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (b *Broker) Resume(tb testing.TB) { tb.Helper(); b.Signal(tb, syscall.SIGCONT) }

// Restart starts a new broker, as this one was started, over this one's data. This one must have
// ended.
func (b *Broker) Restart(tb testing.TB) *Broker {
	tb.Helper()
	again := b.Relaunch(tb)
	again.WaitReady(tb)
	return again
}

// Relaunch is Restart that does not wait.
func (b *Broker) Relaunch(tb testing.TB) *Broker {
	tb.Helper()
	o := b.opts
	o.Data = b.Data
	return Launch(tb, o)
}

// Client returns a client of the broker that the test closes.
func (b *Broker) Client(tb testing.TB) *client.Client {
	tb.Helper()
	return b.ClientWith(tb, client.Options{})
}

// ClientWith is Client with options; the server is filled in.
func (b *Broker) ClientWith(tb testing.TB, o client.Options) *client.Client {
	tb.Helper()
	o.Server = b.URL
	c, err := client.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() }) // closes connections alone, nothing is lost
	return c
}

// Memory is the process's resident memory and the most that it ever was, in bytes; 0 where the
// system has no such figures.
func (b *Broker) Memory(tb testing.TB) (now, peak int64) {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.Pid()))
	if err != nil {
		tb.Logf("no memory figures: %v", err)
		return 0, 0
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch {
		case err != nil:
		case name == "VmRSS":
			now = kib << 10
		case name == "VmHWM":
			peak = kib << 10
		}
	}
	return now, peak
}
