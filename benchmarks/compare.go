package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wasmill/wasmill/benchmarks/load"
)

// contest is one workload that two brokers are measured by. Both get the same requests from the same
// load generator.
type contest struct {
	name  string
	setup func(context.Context, *process) error
	run   func(context.Context, *process, time.Duration) (load.Result, error)
}

// turn is one measurement of one broker.
type turn struct {
	requests float64 // a second
	cpu      float64 // microseconds of the broker's processor time a request; 0: unknown
	p99      float64 // microseconds
}

// compare measures two brokers in turn, workload by workload. Both run all the time, and the one that
// is not measured is idle. Who is first changes from round to round, as machines drift.
func compare(ctx context.Context, r *runner, base string) error {
	fmt.Printf("\nThis broker against %s, %d rounds of %v each. Ratios are this one's to the other's: medians,\n", base, r.rounds, r.each)
	fmt.Print("lowest and highest in brackets.\n\n")
	fmt.Println("| workload | requests/s, other | this | ratio | ratio of processor time a request | ratio of p99 |")
	fmt.Println("|---|---|---|---|---|---|")
	for _, c := range contests {
		if r.only != "" && !strings.Contains(","+r.only+",", ","+c.name+",") {
			continue
		}
		if err := c.duel(ctx, r, base); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// duel runs one workload on both brokers and prints its row.
func (c contest) duel(ctx context.Context, r *runner, base string) (err error) {
	var brokers [2]*process // the other, this
	defer func() {
		for _, p := range brokers {
			if p != nil {
				err = errors.Join(err, p.stop())
			}
		}
	}()
	for i, binary := range []string{base, r.binary} {
		if brokers[i], err = r.startBinary(ctx, binary); err != nil {
			return err
		}
		if err := c.setup(ctx, brokers[i]); err != nil {
			return err
		}
		if _, err := c.run(ctx, brokers[i], r.each); err != nil { // to warm up
			return err
		}
	}
	var turns [2][]turn
	for round := range r.rounds {
		for k := range brokers {
			i := (k + round) % len(brokers)
			t, err := c.turn(ctx, brokers[i], r.each)
			if err != nil {
				return err
			}
			turns[i] = append(turns[i], t)
		}
	}
	c.print(turns[0], turns[1])
	return nil
}

func (c contest) turn(ctx context.Context, p *process, each time.Duration) (turn, error) {
	before := p.processorTime()
	res, err := c.run(ctx, p, each)
	if err != nil {
		return turn{}, err
	}
	n := float64(len(res.Latencies))
	return turn{
		requests: n / res.Elapsed.Seconds(),
		cpu:      float64((p.processorTime() - before).Microseconds()) / n,
		p99:      float64(res.Percentile(.99).Microseconds()),
	}, nil
}

func (c contest) print(base, this []turn) {
	rate := func(t turn) float64 { return t.requests }
	fmt.Printf("| %s | %.0f | %.0f | %s | %s | %s |\n", c.name, median(each(base, rate)), median(each(this, rate)),
		ratio(base, this, rate),
		ratio(base, this, func(t turn) float64 { return t.cpu }),
		ratio(base, this, func(t turn) float64 { return t.p99 }))
}

func contestNames() []string {
	all := make([]string, len(contests))
	for i, c := range contests {
		all[i] = c.name
	}
	return all
}

func each(turns []turn, of func(turn) float64) []float64 {
	values := make([]float64, len(turns))
	for i, t := range turns {
		values[i] = of(t)
	}
	return values
}

// ratio compares the turns of each round.
func ratio(base, this []turn, of func(turn) float64) string {
	var ratios []float64
	for i := range base {
		if of(base[i]) > 0 {
			ratios = append(ratios, of(this[i])/of(base[i]))
		}
	}
	if len(ratios) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f (%.2f to %.2f)", median(ratios), slices.Min(ratios), slices.Max(ratios))
}

// processorTime is what the broker has used so far, of all its threads; 0 where the system does not say.
func (p *process) processorTime() time.Duration {
	const ticksPerSecond = 100 // the kernel's unit for user space, on every architecture
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
	if err != nil {
		return 0
	}
	// The name, in brackets, may hold anything; the fields behind it begin with the third.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	var ticks int64
	for _, f := range fields[11:13] { // utime and stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond
}
