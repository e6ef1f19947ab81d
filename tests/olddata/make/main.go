// Command make writes the data directory that tests/olddata checks, with the broker binary of the
// version to keep:
//
//	go run ./tests/olddata/make -binary PATH -out tests/olddata/testdata/v1
//
// It produces in every form, changes pipelines, views and derivations, stops the broker once in order,
// goes on, kills it while records are written and a derivation is behind, and packs what is on disk into
// OUT.tar.gz. The same binary then says, on a copy, what must be found in it: OUT.json.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"reflect"

	"github.com/wasmill/wasmill/tests/launch"
	"github.com/wasmill/wasmill/tests/olddata"
)

// attempts is how often the broker is killed anew until a derivation was behind.
const attempts = 10

func main() {
	binary := flag.String("binary", "", "wasmill binary of the version whose data is to be kept")
	out := flag.String("out", "tests/olddata/testdata/v1", "where to write: the name without .tar.gz and .json")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *binary, *out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, binary, out string) error {
	if binary == "" {
		return errors.New("name a wasmill binary with -binary")
	}
	for range attempts {
		behind, err := attempt(ctx, binary, out)
		if err != nil || behind {
			return err
		}
		fmt.Fprintln(os.Stderr, "no derivation was behind when the broker was killed: once more")
	}
	return fmt.Errorf("in %d attempts no derivation was behind when the broker was killed", attempts)
}

// attempt makes a data directory and packs it, unless its derivations had caught up.
func attempt(ctx context.Context, binary, out string) (behind bool, err error) {
	work, err := os.MkdirTemp("", "wasmill-olddata-")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	dir := filepath.Join(work, "data")
	w := workload{
		start:   func() (*launch.Broker, error) { return start(ctx, binary, dir) },
		filters: []olddata.Filter{{Derivation: "copy", Source: "plain", Output: "derived", From: []int64{0, 0}}},
	}
	if err := w.run(ctx); err != nil {
		return false, err
	}
	if behind, err = isBehind(ctx, binary, dir, w.filters[0]); err != nil || !behind {
		return false, err
	}
	if err := olddata.Pack(dir, out+".tar.gz"); err != nil {
		return false, err
	}
	e := olddata.Expectation{Producers: w.producers, Filters: w.filters}
	if e.MadeBy, e.State, err = observe(ctx, binary, out+".tar.gz", filepath.Join(work, "copy-1"), w.filters); err != nil {
		return false, err
	}
	_, again, err := observe(ctx, binary, out+".tar.gz", filepath.Join(work, "copy-2"), w.filters)
	if err != nil {
		return false, err
	}
	if !reflect.DeepEqual(e.State, again) {
		return false, errors.New("two brokers on copies of the directory show different states")
	}
	return true, e.Save(out + ".json")
}

func start(ctx context.Context, binary, dir string) (*launch.Broker, error) {
	return launch.Start(ctx, launch.Options{Binary: binary, DataDir: dir, Args: []string{"--maintain-every", "100ms", "--log-level", "warn"}})
}

// observe lets the broker say what is in the archive.
func observe(ctx context.Context, binary, archive, dir string, filters []olddata.Filter) (version string, s olddata.State, err error) {
	if err := olddata.Unpack(archive, dir); err != nil {
		return "", s, err
	}
	b, err := start(ctx, binary, dir)
	if err != nil {
		return "", s, err
	}
	defer func() { err = errors.Join(err, b.Kill()) }()
	if s, err = olddata.Observe(ctx, b.Client); err != nil {
		return "", s, err
	}
	for _, f := range filters {
		if err := f.Check(ctx, b.Client); err != nil {
			return "", s, err
		}
	}
	cluster, err := b.Client.Cluster(ctx)
	if err != nil {
		return "", s, err
	}
	return cluster.Version, s, nil
}

// isBehind reports whether the filter has work left on disk.
func isBehind(ctx context.Context, binary, dir string, f olddata.Filter) (bool, error) {
	for p := range f.From {
		source, err := dump(ctx, binary, dir, fmt.Sprintf("%s/%d", f.Source, p))
		if err != nil {
			return false, err
		}
		output, err := dump(ctx, binary, dir, fmt.Sprintf("%s/%d", f.Output, p))
		if err != nil {
			return false, err
		}
		if len(output) > 0 && len(output) < len(source) {
			return true, nil
		}
	}
	return false, nil
}

// dump is the values of a partition of a stopped broker that a filter keeps.
func dump(ctx context.Context, binary, dir, partition string) ([]string, error) {
	text, err := exec.CommandContext(ctx, binary, "log", "dump", partition, "--data", dir, "--records", "--json").Output()
	if err != nil {
		return nil, fmt.Errorf("log dump %s: %w", partition, err)
	}
	var values []string
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var frame struct {
			Batches []struct {
				Records []struct{ Value string }
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &frame); err != nil {
			return nil, fmt.Errorf("log dump %s: %w", partition, err)
		}
		for _, b := range frame.Batches {
			for _, r := range b.Records {
				if olddata.Kept([]byte(r.Value)) {
					values = append(values, r.Value)
				}
			}
		}
	}
	return values, lines.Err()
}
