package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/wasmill/wasmill/tests/launch"
)

// runner builds and starts brokers for the benchmarks.
type runner struct {
	settings
	runs int
}

// process is a broker that is measured.
type process struct {
	*launch.Broker
	data string
}

// build makes the binary to measure, unless one was named.
func (r *runner) build(ctx context.Context) (err error) {
	if r.binary != "" {
		return nil
	}
	r.binary, err = launch.Build(ctx, r.dir)
	return err
}

// start runs a broker on a fresh data directory.
func (r *runner) start(ctx context.Context, args ...string) (*process, error) {
	r.runs++
	return r.startOn(ctx, filepath.Join(r.dir, "data-"+strconv.Itoa(r.runs)), args...)
}

func (r *runner) startOn(ctx context.Context, data string, args ...string) (*process, error) {
	return startProcess(ctx, r.binary, data, args...)
}

// startBinary runs another broker than the runner's on a fresh data directory.
func (r *runner) startBinary(ctx context.Context, binary string) (*process, error) {
	r.runs++
	return startProcess(ctx, binary, filepath.Join(r.dir, "data-"+strconv.Itoa(r.runs)))
}

func startProcess(ctx context.Context, binary, data string, args ...string) (*process, error) {
	b, err := launch.Start(ctx, launch.Options{Binary: binary, DataDir: data, Args: append([]string{"--log-level", "warn"}, args...)})
	if err != nil {
		return nil, err
	}
	return &process{Broker: b, data: data}, nil
}

// stop ends the broker in order and removes its data.
func (p *process) stop() error { return errors.Join(p.Stop(), os.RemoveAll(p.data)) }

// residentMB is the broker's resident memory.
func (p *process) residentMB() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
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
