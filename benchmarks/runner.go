package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	client "github.com/wasmill/wasmill/sdk/client/go"
)

// runner builds and starts brokers for the benchmarks.
type runner struct {
	settings
	binary string
	runs   int
}

// process is a broker that runs on its own.
type process struct {
	cmd  *exec.Cmd
	data string
	url  string
	c    *client.Client
}

func (r *runner) build(ctx context.Context) error {
	r.binary = filepath.Join(r.dir, "wasmill")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", r.binary, "github.com/wasmill/wasmill/cmd/wasmill")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build the broker: %w", err)
	}
	return nil
}

// start runs a broker on a fresh data directory.
func (r *runner) start(ctx context.Context, args ...string) (*process, error) {
	r.runs++
	return r.startOn(ctx, filepath.Join(r.dir, "data-"+strconv.Itoa(r.runs)), args...)
}

func (r *runner) startOn(ctx context.Context, data string, args ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, r.binary, append([]string{"serve", "--data", data, "--http", "127.0.0.1:0", "--log-level", "warn"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	fields := strings.Fields(line)
	if err != nil || len(fields) < 4 {
		return nil, errors.Join(fmt.Errorf("the broker said %q", line), err, cmd.Process.Kill(), cmd.Wait())
	}
	p := &process{cmd: cmd, data: data, url: fields[3]}
	p.c, err = client.New(client.Options{Server: p.url})
	return p, err
}

// stop ends the broker in order and removes its data.
func (p *process) stop() error {
	err := errors.Join(p.c.Close(), p.cmd.Process.Signal(syscall.SIGTERM), p.cmd.Wait())
	return errors.Join(err, os.RemoveAll(p.data))
}

// kill ends the broker at once and keeps its data.
func (p *process) kill() error {
	err := errors.Join(p.c.Close(), p.cmd.Process.Kill())
	_ = p.cmd.Wait() // it was killed: its status says so
	return err
}

// residentMB is the broker's resident memory.
func (p *process) residentMB() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1024, err
		}
	}
	return 0, errors.New("no VmRSS in /proc status")
}

// machine prints where the figures come from.
func machine() {
	cpu := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if _, model, ok := strings.Cut(line, ":"); ok && strings.HasPrefix(line, "model name") {
				cpu = strings.TrimSpace(model)
				break
			}
		}
	}
	fmt.Printf("%d processors (%s), %s, %s/%s\n", runtime.NumCPU(), cpu, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// duel measures two things in turn and prints the median of each and of the ratios.
func (r *runner) duel(label string, raw, broker func() (float64, error), unit string) error {
	var a, b, ratios []float64
	for range r.rounds {
		x, err := raw()
		if err != nil {
			return err
		}
		y, err := broker()
		if err != nil {
			return err
		}
		a, b, ratios = append(a, x), append(b, y), append(ratios, y/x)
	}
	fmt.Printf("%-44s base %8.1f  measured %8.1f %s  ratio %5.1f %% (%.1f to %.1f)\n", label,
		median(a), median(b), unit, 100*median(ratios), 100*slices.Min(ratios), 100*slices.Max(ratios))
	return nil
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
