package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wasmill/wasmill/benchmarks/load"
	"github.com/wasmill/wasmill/core/record"
	client "github.com/wasmill/wasmill/sdk/client/go"
)

// tail measures how long after its acknowledgement a record reaches a consumer that waits for it.
func tail(ctx context.Context, r *runner) (err error) {
	p, err := r.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := p.topic(ctx, "tail", 1, "fsync"); err != nil {
		return err
	}
	const records = 5000
	arrived := make(chan time.Time, records)
	failed := make(chan error, 1)
	go func() { failed <- p.followTail(ctx, records, arrived) }()
	var acks, lags []time.Duration
	for range records {
		var b record.Builder
		b.Append(record.Record{Timestamp: time.Now().UnixMilli(), Value: make([]byte, recordBytes)})
		batch, err := b.Build(nil)
		if err != nil {
			return err
		}
		sent := time.Now()
		if _, err := p.Client.ProduceBatches(ctx, "tail", 0, batch); err != nil {
			return err
		}
		acked := time.Now()
		select {
		case at := <-arrived:
			acks, lags = append(acks, acked.Sub(sent)), append(lags, max(at.Sub(acked), 0))
		case err := <-failed:
			return err
		}
	}
	slices.Sort(acks)
	slices.Sort(lags)
	at := func(v []time.Duration, q float64) time.Duration {
		return v[int(q*float64(len(v)))].Round(time.Microsecond)
	}
	fmt.Printf("produce ack p50 %v p99 %v; seen by the consumer after the ack: p50 %v p99 %v (target: p99 < 2ms)\n",
		at(acks, .5), at(acks, .99), at(lags, .5), at(lags, .99))
	return nil
}

// followTail reports when each record of the partition came.
func (p *process) followTail(ctx context.Context, records int, arrived chan<- time.Time) error {
	c, err := client.New(client.Options{Server: p.URL})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // only idle connections are left
	from := client.FetchFrom{Topic: "tail"}
	for seen := 0; seen < records; {
		f, err := c.Fetch(ctx, client.FetchRequest{Partitions: []client.FetchFrom{from}, MinBytes: 1, Wait: 10 * time.Second})
		if err != nil {
			return err
		}
		now := time.Now()
		for n := f.Partitions[0].NextOffset - from.Offset; n > 0; n-- {
			arrived <- now
			seen++
		}
		from.Offset = f.Partitions[0].NextOffset
		f.Release()
	}
	return nil
}

// restart fills a log with 10 GB, kills the broker and takes the time until it serves again.
func restart(ctx context.Context, r *runner) error {
	const total, partitions = 10_000_000_000, 4
	p, err := r.start(ctx)
	if err != nil {
		return err
	}
	keepAll := client.TopicSpec{Name: "big", Partitions: partitions, Config: map[string]string{"flush": "relaxed"}}
	if _, err := p.Client.CreateTopic(ctx, keepAll); err != nil {
		return errors.Join(err, p.stop())
	}
	o := p.options("big", partitions, partitions, 10*time.Second)
	o.BatchBytes = 512 << 10
	for written := int64(0); written < total; {
		res, err := load.Produce(ctx, o)
		if err != nil {
			return errors.Join(err, p.stop())
		}
		written += res.Bytes
	}
	var took []float64
	for range r.rounds {
		if err := p.Kill(); err != nil {
			return err
		}
		began := time.Now()
		if p, err = r.startOn(ctx, p.data); err != nil {
			return err
		}
		if _, err := p.Client.Topic(ctx, "big"); err != nil {
			return errors.Join(err, p.stop())
		}
		took = append(took, time.Since(began).Seconds())
	}
	fmt.Printf("SIGKILL with 10 GB in %d partitions: serves again after %.2f s (%.2f to %.2f; target < 2 s)\n",
		partitions, median(took), slices.Min(took), slices.Max(took))
	return p.stop()
}

// memory loads 16 partitions for ten minutes and watches the broker's resident memory.
func memory(ctx context.Context, r *runner) (err error) {
	p, err := r.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := p.topic(ctx, "memory", 16, "relaxed"); err != nil {
		return err
	}
	o := p.options("memory", 16, 16, 30*time.Second)
	for minute := 0.5; minute <= 10; minute += 0.5 {
		res, err := load.Produce(ctx, o)
		if err != nil {
			return err
		}
		mb, err := p.residentMB()
		if err != nil {
			return err
		}
		fmt.Printf("after %4.1f min: %4.0f MB resident, %4.0f MB/s\n", minute, mb, res.BytesPerSecond()/mega)
	}
	return nil
}
