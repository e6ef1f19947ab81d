// Package launch builds the broker and runs it as a process of its own, for programs that show or
// measure it. Tests use tests/harness, which also watches for leaks and data races.
package launch

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	client "github.com/wasmill/wasmill/sdk/client/go"
)

// Build compiles the broker into dir and returns the binary's path. The working directory must lie
// inside the repository.
func Build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "wasmill")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/wasmill/wasmill/cmd/wasmill")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build the broker: %w", err)
	}
	return binary, nil
}

// Options start a broker.
type Options struct {
	Binary  string
	DataDir string
	Address string    // "" for a free port of this machine
	Args    []string  // further flags of serve
	Log     io.Writer // its standard error; nil for ours
}

// Broker is a running broker.
type Broker struct {
	Client *client.Client
	URL    string

	cmd *exec.Cmd
}

// Start runs a broker and returns when it serves. It ends with ctx at the latest.
func Start(ctx context.Context, o Options) (*Broker, error) {
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	if o.Log == nil {
		o.Log = os.Stderr
	}
	args := append([]string{"serve", "--data", o.DataDir, "--http", o.Address}, o.Args...)
	cmd := exec.CommandContext(ctx, o.Binary, args...)
	cmd.Stderr = o.Log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	fields := strings.Fields(line) // wasmill ready on URL ...
	if err != nil || len(fields) < 4 {
		return nil, errors.Join(fmt.Errorf("the broker did not start; it said %q", line), cmd.Process.Kill(), cmd.Wait())
	}
	b := &Broker{URL: fields[3], cmd: cmd}
	b.Client, err = client.New(client.Options{Server: b.URL})
	if err != nil {
		return nil, errors.Join(err, b.Kill())
	}
	return b, nil
}

// Address is host and port, for a broker that is to come back at the same place.
func (b *Broker) Address() string { return strings.TrimPrefix(b.URL, "http://") }

// Pid is the process id.
func (b *Broker) Pid() int { return b.cmd.Process.Pid }

// Stop ends the broker in order and waits for it.
func (b *Broker) Stop() error {
	return errors.Join(b.Client.Close(), b.cmd.Process.Signal(syscall.SIGTERM), b.cmd.Wait())
}

// Kill ends the broker at once (SIGKILL) and waits for it.
func (b *Broker) Kill() error {
	var err error
	if b.Client != nil {
		err = b.Client.Close()
	}
	err = errors.Join(err, b.cmd.Process.Kill())
	_ = b.cmd.Wait() // it was killed: its status says nothing else
	return err
}
