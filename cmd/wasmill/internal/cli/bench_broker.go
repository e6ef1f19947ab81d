package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// brokerProcess is a broker that a command runs for itself, as a process of its own so that what is
// measured is what users get.
type brokerProcess struct {
	cmd *exec.Cmd
	dir string
	url string
}

// startBroker runs this program's serve in a fresh directory below parent and waits until it is ready.
func (a *app) startBroker(ctx context.Context, parent string) (*brokerProcess, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start a broker: %w", err)
	}
	dir, err := os.MkdirTemp(parent, "wasmill-bench-")
	if err != nil {
		return nil, hinted{error: fmt.Errorf("start a broker: %w", err), hint: "Name a directory that can be written to with --data."}
	}
	b := &brokerProcess{dir: dir, cmd: exec.CommandContext(ctx, exe, "serve", "--data", dir, "--http", "127.0.0.1:0", "--log-level", "warn")}
	b.cmd.Stderr = a.Err
	b.cmd.Cancel = func() error { return b.cmd.Process.Signal(syscall.SIGTERM) }
	b.cmd.WaitDelay = 10 * time.Second
	out, err := b.cmd.StdoutPipe()
	if err == nil {
		err = b.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start a broker: %w", errors.Join(err, os.RemoveAll(dir)))
	}
	// The read ends with the line, or with the process.
	line, err := bufio.NewReader(out).ReadString('\n')
	_, rest, ready := strings.Cut(line, "ready on ")
	if err != nil || !ready {
		return nil, errors.Join(errors.New("the broker did not start; its messages are above"), b.stop())
	}
	b.url, _, _ = strings.Cut(rest, " ")
	return b, nil
}

// stop ends the broker in order and removes its directory.
func (b *brokerProcess) stop() error {
	err := b.cmd.Process.Signal(syscall.SIGTERM)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	if waitErr := b.cmd.Wait(); waitErr != nil && !errors.Is(waitErr, context.Canceled) {
		err = errors.Join(err, fmt.Errorf("broker: %w", waitErr))
	}
	return errors.Join(err, os.RemoveAll(b.dir))
}
