package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/wasmill/wasmill/benchmarks/load"
	client "github.com/wasmill/wasmill/sdk/client/go"
)

// transforms measures what a write pipeline costs: the same load into a topic without one and into a
// topic with a guest in C.
func transforms(ctx context.Context, r *runner) (err error) {
	p, err := r.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	const connections = 4
	if err := p.topic(ctx, "plain", connections, "relaxed"); err != nil {
		return err
	}
	plain := p.options("plain", connections, connections, r.each)
	plain.Value = logLine
	if err := warmUp(ctx, plain); err != nil {
		return err
	}
	for _, guest := range []struct{ label, file, config string }{
		{"C guest searches 1 KiB values, half are dropped", "sdk/c/examples/filter/filter.wasm", `{"contains": "\"level\":\"error\""}`},
		{"C guest routes by key alone, all are kept", "sdk/c/examples/router/router.wasm", `{"prefix": "by-kind-"}`},
	} {
		name := filepath.Base(filepath.Dir(guest.file))
		if err := p.transformed(ctx, name, guest.file, guest.config, connections); err != nil {
			return err
		}
		with := plain
		with.Topic = name
		if err := warmUp(ctx, with); err != nil {
			return err
		}
		if err := r.duel(guest.label, recordRate(ctx, plain), recordRate(ctx, with), "k records/s"); err != nil {
			return err
		}
	}
	return nil
}

func recordRate(ctx context.Context, o load.Options) func() (float64, error) {
	return func() (float64, error) {
		res, err := load.Produce(ctx, o)
		return float64(res.Records) / res.Elapsed.Seconds() / 1000, err
	}
}

// transformed makes a topic with a pipeline of one prebuilt guest.
func (p *process) transformed(ctx context.Context, name, file, config string, partitions int32) error {
	wasm, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("run this at the top of the repository: %w", err)
	}
	if err := p.topic(ctx, name, partitions, "relaxed"); err != nil {
		return err
	}
	if _, err := p.Client.PutModule(ctx, name, wasm); err != nil {
		return err
	}
	_, err = p.Client.SetPipeline(ctx, name, []client.Stage{{Module: name, Config: json.RawMessage(config)}})
	return err
}

// logLine fills a value with JSON; every second line is an error, which it says at its end.
func logLine(rng *rand.Rand, dst []byte) {
	level := []string{`"level":"error"}`, `"level":"info_"}`}[rng.IntN(2)]
	head := append(dst[:0], `{"message":"`...)
	tail := dst[len(dst)-len(level)-2:]
	noise := dst[len(head) : len(dst)-len(tail)]
	load.Noise(rng, noise)
	copy(tail, `",`+level)
}
