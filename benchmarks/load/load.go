// Package load drives a running broker as its users would: batches in, batches out, with as many
// connections as asked, each sending its next request when the last one is answered.
package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/wasmill/wasmill/core/record"
	client "github.com/wasmill/wasmill/sdk/client/go"
)

// Options describe a workload.
type Options struct {
	Server      string
	Topic       string
	Partitions  int32 // connections take them in turn; 0: the broker chooses them
	RecordBytes int   // of a value
	BatchBytes  int   // of a record batch before it is compressed, about
	Codec       record.Codec
	Connections int
	Duration    time.Duration
	Value       func(rng *rand.Rand, dst []byte) // fills a record's value; nil: printable noise
}

// Result is what a workload did.
type Result struct {
	Bytes     int64 // of record batches
	Batches   int64
	Records   int64
	Elapsed   time.Duration
	Latencies []time.Duration // one per request, sorted
}

// BytesPerSecond is the rate.
func (r Result) BytesPerSecond() float64 { return float64(r.Bytes) / r.Elapsed.Seconds() }

// Percentile of the latencies; p from 0 to 1.
func (r Result) Percentile(p float64) time.Duration {
	if len(r.Latencies) == 0 {
		return 0
	}
	return r.Latencies[min(int(p*float64(len(r.Latencies))), len(r.Latencies)-1)]
}

// Batch builds one record batch of the workload.
func (o Options) Batch(rng *rand.Rand) ([]byte, int, error) {
	var b record.Builder
	b.Reset(record.BuilderOptions{Codec: o.Codec})
	value := make([]byte, o.RecordBytes)
	fill := o.Value
	if fill == nil {
		fill = Noise
	}
	n := 0
	for n == 0 || b.Bytes()+o.RecordBytes+64 <= o.BatchBytes {
		fill(rng, value)
		b.Append(record.Record{Timestamp: time.Now().UnixMilli(), Key: fmt.Appendf(nil, "key-%04d", rng.IntN(10_000)), Value: value})
		n++
	}
	data, err := b.Build(nil)
	return data, n, err
}

// Noise fills a value with printable characters.
func Noise(rng *rand.Rand, dst []byte) {
	for i := range dst {
		dst[i] = byte('a' + rng.IntN(26))
	}
}

// partition is where the i-th connection writes to.
func (o Options) partition(i int) int32 {
	if o.Partitions == 0 {
		return client.AnyPartition
	}
	return int32(i) % o.Partitions
}

// Produce writes for the duration.
func Produce(ctx context.Context, o Options) (Result, error) {
	return Run(ctx, o, func(ctx context.Context, c *client.Client, i int, out *Result) error {
		rng := rand.New(rand.NewPCG(uint64(i), 1))
		batch, records, err := o.Batch(rng)
		if err != nil {
			return err
		}
		for ctx.Err() == nil {
			began := time.Now()
			if _, err := c.ProduceBatches(context.WithoutCancel(ctx), o.Topic, o.partition(i), batch); err != nil {
				return err
			}
			out.Latencies = append(out.Latencies, time.Since(began))
			out.Bytes += int64(len(batch))
			out.Records += int64(records)
			out.Batches++
		}
		return nil
	})
}

// Fetch reads each connection's partition from its start, again and again, for the duration.
func Fetch(ctx context.Context, o Options, maxBytes int) (Result, error) {
	return Run(ctx, o, func(ctx context.Context, c *client.Client, i int, out *Result) error {
		from := client.FetchFrom{Topic: o.Topic, Partition: int32(i) % o.Partitions, MaxBytes: maxBytes}
		for ctx.Err() == nil {
			began := time.Now()
			r, err := c.Fetch(context.WithoutCancel(ctx), client.FetchRequest{Partitions: []client.FetchFrom{from}})
			if err != nil {
				return err
			}
			p := &r.Partitions[0]
			from.Offset = p.NextOffset
			if p.Error != nil || p.NextOffset >= p.HighWatermark { // retention has been here, or the end
				from.Offset = p.LogStartOffset
			}
			out.Latencies = append(out.Latencies, time.Since(began))
			out.Bytes += int64(len(p.Batches))
			out.Batches++
			r.Release()
		}
		return nil
	})
}

// Drive works over one connection, the i-th, until ctx ends, and writes down what it did.
type Drive func(ctx context.Context, c *client.Client, i int, out *Result) error

// Run gives every connection a client of its own and adds up what they did.
func Run(ctx context.Context, o Options, drive Drive) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Duration)
	defer cancel()
	results := make([]Result, o.Connections)
	errs := make([]error, o.Connections)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range o.Connections {
		wg.Go(func() {
			c, err := client.New(client.Options{Server: o.Server})
			if err != nil {
				errs[i] = err
				return
			}
			errs[i] = errors.Join(drive(ctx, c, i, &results[i]), c.Close())
		})
	}
	wg.Wait()
	total := Result{Elapsed: time.Since(start)}
	for _, r := range results {
		total.Bytes += r.Bytes
		total.Batches += r.Batches
		total.Records += r.Records
		total.Latencies = append(total.Latencies, r.Latencies...)
	}
	slices.Sort(total.Latencies)
	return total, errors.Join(errs...)
}
