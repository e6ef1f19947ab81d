package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wasmill/wasmill/benchmarks/load"
	"github.com/wasmill/wasmill/benchmarks/rawlimit"
	client "github.com/wasmill/wasmill/sdk/client/go"
)

const (
	batchBytes  = 64 << 10
	recordBytes = 1 << 10
	// fileBytes is what raw limits write round and round and what topics keep: small enough to stay in
	// the page cache, large enough that segments are sealed and reused all the time.
	fileBytes = 512 << 20
	mega      = 1 << 20
)

// benchmark is one question to the machine.
type benchmark struct {
	name, what string
	run        func(context.Context, *runner) error
}

var benchmarks []benchmark

// The table refers to functions that refer to names(); an initializer would be a cycle.
func init() {
	benchmarks = []benchmark{
		{"produce-relaxed", "1 KiB records in 64 KiB batches, flush=relaxed, against TCP into a preallocated file", produceRelaxed},
		{"produce-fsync", "the same with fsync, against write + fdatasync per batch", produceSync},
		{"fetch", "catch-up reads of 1 MiB, against sendfile from a cached file", fetchCatchUp},
		{"tail", "1 KiB records one by one, fsync, to a consumer that waits", tail},
		{"transforms", "a write pipeline of one stage, against none", transforms},
		{"restart", "SIGKILL with 10 GB of log", restart},
		{"memory", "16 partitions under full load for ten minutes", memory},
	}
}

func names() []string {
	all := make([]string, len(benchmarks))
	for i, b := range benchmarks {
		all[i] = b.name
	}
	return all
}

// topic makes a topic that keeps fileBytes.
func (p *process) topic(ctx context.Context, name string, partitions int32, flush string) error {
	_, err := p.Client.CreateTopic(ctx, client.TopicSpec{Name: name, Partitions: partitions, Config: map[string]string{
		"flush": flush, "retention.bytes": fmt.Sprint(fileBytes / int64(partitions)),
	}})
	return err
}

func (p *process) options(topic string, partitions int32, connections int, each time.Duration) load.Options {
	return load.Options{
		Server: p.URL, Topic: topic, Partitions: partitions, RecordBytes: recordBytes, BatchBytes: batchBytes,
		Connections: connections, Duration: each,
	}
}

// warmUp writes a topic over until its segments are recycled: what is measured then is a broker that has
// run for a while, on pages that were written before, as the raw limit's are.
func warmUp(ctx context.Context, o load.Options) error {
	for written := int64(0); written < 3*fileBytes; {
		res, err := load.Produce(ctx, o)
		if err != nil {
			return err
		}
		written += res.Bytes
	}
	return nil
}

func produceRelaxed(ctx context.Context, r *runner) error {
	return r.produce(ctx, "relaxed", []shape{{1, 1}, {4, 4}, {8, 1}})
}
func produceSync(ctx context.Context, r *runner) error {
	return r.produce(ctx, "fsync", []shape{{1, 1}, {8, 4}, {8, 1}, {16, 1}})
}

// shape is how many connections write to how many partitions.
type shape struct {
	connections int
	partitions  int32
}

func (r *runner) produce(ctx context.Context, flush string, shapes []shape) (err error) {
	p, err := r.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	for _, shape := range shapes {
		n, partitions := shape.connections, shape.partitions
		topic := fmt.Sprintf("produce-%s-%d-%d", flush, n, partitions)
		if err := p.topic(ctx, topic, partitions, flush); err != nil {
			return err
		}
		o := p.options(topic, partitions, n, r.each)
		if err := warmUp(ctx, o); err != nil {
			return err
		}
		raw := func() (float64, error) {
			res, err := rawlimit.Produce(ctx, rawlimit.Options{
				Dir: r.dir, BatchBytes: batchBytes, Connections: n, Duration: r.each, FileBytes: fileBytes, Sync: flush == "fsync",
			})
			return res.BytesPerSecond() / mega, err
		}
		broker := func() (float64, error) {
			res, err := load.Produce(ctx, o)
			return res.BytesPerSecond() / mega, err
		}
		if err := r.duel(fmt.Sprintf("%s, %d connections, %d partitions", flush, n, partitions), raw, broker, "MB/s"); err != nil {
			return err
		}
	}
	mb, err := p.residentMB()
	fmt.Printf("resident memory after the load: %.0f MB\n", mb)
	return err
}

func fetchCatchUp(ctx context.Context, r *runner) (err error) {
	p, err := r.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	for _, n := range []int{1, 4} {
		topic := fmt.Sprintf("fetch-%d", n)
		if err := p.topic(ctx, topic, int32(n), "relaxed"); err != nil {
			return err
		}
		o := p.options(topic, int32(n), n, r.each)
		if err := warmUp(ctx, o); err != nil {
			return err
		}
		raw := func() (float64, error) {
			res, err := rawlimit.Fetch(ctx, rawlimit.Options{
				Dir: r.dir, BatchBytes: batchBytes, Connections: n, Duration: r.each, FileBytes: fileBytes,
			})
			return res.BytesPerSecond() / mega, err
		}
		broker := func() (float64, error) {
			res, err := load.Fetch(ctx, o, 1<<20)
			return res.BytesPerSecond() / mega, err
		}
		if err := r.duel(fmt.Sprintf("catch-up, %d connections", n), raw, broker, "MB/s"); err != nil {
			return err
		}
	}
	return nil
}
