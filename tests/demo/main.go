// Command demo shows the main job of Wasmill on real input: 5,000 packages of the Debian index go into
// a broker that redacts e-mail addresses and routes one section to a topic of its own before anything
// is written, are read through a filter and followed live, and survive a broker that is killed in the
// middle. It builds what it needs, takes a free port and leaves nothing behind.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"
)

// patience bounds the whole demo.
const patience = 5 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo FAILED:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	began := time.Now()
	dir, err := os.MkdirTemp("", "wasmill-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d := &demo{dir: dir}
	defer func() { err = errors.Join(err, d.end()) }()
	for i, step := range []struct {
		title string
		do    func(context.Context) error
	}{
		{"build the broker and three transforms", d.build},
		{"start a broker on a free port", d.start},
		{"create topics, push modules, set the write pipeline and a view", d.configure},
		{"produce, follow live, and kill the broker in the middle", d.produce},
		{"prove that nothing acknowledged is gone and nothing is there twice", d.verify},
		{"prove that no e-mail address was written, and read the filtered view", d.inspect},
	} {
		fmt.Printf("\n%d. %s\n", i+1, step.title)
		start := time.Now()
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, step.title, err)
		}
		fmt.Printf("   done in %v\n", time.Since(start).Round(time.Millisecond))
	}
	fmt.Printf("\ndemo passed in %v: redacted and routed before the write, filtered at the read, survived SIGKILL\n",
		time.Since(began).Round(100*time.Millisecond))
	return nil
}
