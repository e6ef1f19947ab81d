// Command benchmarks measures a broker against what the machine gives without one, in the same run and
// turn by turn, and prints the ratios. It builds the broker, starts it as a process of its own on a
// free port and removes its data afterwards. See RESULTS.md for recorded runs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"time"
)

// settings are the command's flags.
type settings struct {
	dir    string
	rounds int
	each   time.Duration
	only   string
	base   string
	binary string
}

func main() {
	var s settings
	flag.StringVar(&s.dir, "dir", "", "directory for data files; a temporary one by default")
	flag.IntVar(&s.rounds, "rounds", 5, "how often raw limit and broker are measured in turn; the median counts")
	flag.DurationVar(&s.each, "each", 3*time.Second, "length of one measurement")
	flag.StringVar(&s.only, "only", "", "comma-separated names of the benchmarks to run: "+strings.Join(names(), ", "))
	flag.StringVar(&s.base, "compare", "", "binary of another version: in place of the benchmarks, both are measured by the same workloads; -only chooses among "+strings.Join(contestNames(), ", "))
	flag.StringVar(&s.binary, "binary", "", "binary to measure; built from this tree by default")
	flag.Parse()
	// The load shares two cores with the broker: it must not spend them on its own garbage.
	debug.SetGCPercent(800)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) (err error) {
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "wasmill-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	}
	r := &runner{settings: s}
	if err := r.build(ctx); err != nil {
		return err
	}
	machine()
	if s.base != "" {
		return compare(ctx, r, s.base)
	}
	for _, b := range benchmarks {
		if s.only != "" && !strings.Contains(","+s.only+",", ","+b.name+",") {
			continue
		}
		fmt.Printf("\n## %s\n%s\n", b.name, b.what)
		if err := b.run(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	return nil
}
