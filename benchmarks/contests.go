package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"time"

	"github.com/wasmill/wasmill/benchmarks/load"
	"github.com/wasmill/wasmill/core/record"
	client "github.com/wasmill/wasmill/sdk/client/go"
)

// contests are the workloads of compare.
var contests = []contest{
	producing("produce-relaxed-1", "relaxed", load.Options{Connections: 1, Partitions: 1, BatchBytes: batchBytes}),
	producing("produce-relaxed-4", "relaxed", load.Options{Connections: 4, Partitions: 4, BatchBytes: batchBytes}),
	producing("produce-fsync-8", "fsync", load.Options{Connections: 8, Partitions: 4, BatchBytes: batchBytes}),
	producing("record-relaxed-16", "relaxed", load.Options{Connections: 16, Partitions: 4}),
	producing("record-fsync-16", "fsync", load.Options{Connections: 16, Partitions: 4}),
	producing("split-zstd-4", "relaxed", load.Options{Connections: 4, BatchBytes: batchBytes, Codec: record.CodecZstd}),
	filtering("filter-4", load.Options{Connections: 4, Partitions: 4, BatchBytes: batchBytes}),
	filtering("split-filter-zstd-4", load.Options{Connections: 4, BatchBytes: batchBytes, Codec: record.CodecZstd}),
	{"ndjson-4", plainTopic("relaxed"), produceNDJSON},
	{"ndjson-filter-4", filteredTopic, produceNDJSON},
	{"fetch-4", filledTopic, fetchBatches("contest")},
	{"fetch-json-4", filledTopic, fetchJSON},
	{"fetch-view-4", filledTopic, fetchBatches("seen")},
	{"derive-4", derivedTopic, produceAndDerive},
	{"producer-ids-300-topics", manyTopics, allocateIDs},
	{"create-delete-300-topics", manyTopics, createAndDelete},
}

const contestTopic = "contest"

// contestPartitions is how many partitions the topics have that are written by 4 connections and more.
const contestPartitions = 4

// workload completes a workload's options for one broker.
func (p *process) workload(o load.Options, each time.Duration) load.Options {
	o.Server, o.Topic, o.Duration, o.RecordBytes = p.URL, contestTopic, each, recordBytes
	return o
}

func plainTopic(flush string) func(context.Context, *process) error {
	return func(ctx context.Context, p *process) error {
		return p.topic(ctx, contestTopic, contestPartitions, flush)
	}
}

// producing is a workload of record batches.
func producing(name, flush string, o load.Options) contest {
	return contest{name, plainTopic(flush), func(ctx context.Context, p *process, each time.Duration) (load.Result, error) {
		return load.Produce(ctx, p.workload(o, each))
	}}
}

// filtering is a workload of record batches through a pipeline that drops half of the records.
func filtering(name string, o load.Options) contest {
	o.Value = logLine
	c := producing(name, "", o)
	c.setup = filteredTopic
	return c
}

const (
	filterModule = "sdk/c/examples/filter/filter.wasm"
	filterConfig = `{"contains": "\"level\":\"error\""}`
)

func filteredTopic(ctx context.Context, p *process) error {
	return p.transformed(ctx, contestTopic, filterModule, filterConfig, contestPartitions)
}

// filledTopic makes a topic of 64 MiB and a view of it.
func filledTopic(ctx context.Context, p *process) error {
	if err := p.topic(ctx, contestTopic, contestPartitions, "relaxed"); err != nil {
		return err
	}
	o := p.workload(load.Options{Connections: 4, Partitions: contestPartitions, BatchBytes: batchBytes, Value: logLine}, 100*time.Millisecond)
	for written := int64(0); written < 64<<20; {
		res, err := load.Produce(ctx, o)
		if err != nil {
			return err
		}
		written += res.Bytes
	}
	if err := p.pushFilter(ctx); err != nil {
		return err
	}
	_, err := p.Client.PutView(ctx, "seen", contestTopic, []client.Stage{{Module: "filter", Config: []byte(filterConfig)}})
	return err
}

func (p *process) pushFilter(ctx context.Context) error {
	wasm, err := os.ReadFile(filterModule)
	if err != nil {
		return fmt.Errorf("run this at the top of the repository: %w", err)
	}
	_, err = p.Client.PutModule(ctx, "filter", wasm)
	return err
}

func fetchBatches(topic string) func(context.Context, *process, time.Duration) (load.Result, error) {
	return func(ctx context.Context, p *process, each time.Duration) (load.Result, error) {
		o := p.workload(load.Options{Connections: 4, Partitions: contestPartitions}, each)
		o.Topic = topic
		return load.Fetch(ctx, o, 1<<20)
	}
}

// fetchJSON reads the first 64 KiB of each partition as JSON, again and again.
func fetchJSON(ctx context.Context, p *process, each time.Duration) (load.Result, error) {
	o := p.workload(load.Options{Connections: 4}, each)
	return load.Run(ctx, o, func(ctx context.Context, _ *client.Client, i int, out *load.Result) error {
		url := fmt.Sprintf("%s/v1/topics/%s/partitions/%d/records?max_bytes=65536", p.URL, contestTopic, i%contestPartitions)
		for ctx.Err() == nil {
			began := time.Now()
			n, err := get(context.WithoutCancel(ctx), url)
			if err != nil {
				return err
			}
			out.Latencies = append(out.Latencies, time.Since(began))
			out.Bytes += n
		}
		return nil
	})
}

func get(ctx context.Context, url string) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return io.Copy(io.Discard, resp.Body)
}

// produceNDJSON writes a hundred lines a request, and leaves the partition to the broker.
func produceNDJSON(ctx context.Context, p *process, each time.Duration) (load.Result, error) {
	o := p.workload(load.Options{Connections: 4}, each)
	return load.Run(ctx, o, func(ctx context.Context, c *client.Client, i int, out *load.Result) error {
		rng := rand.New(rand.NewPCG(uint64(i), 1))
		value := make([]byte, 256)
		var body bytes.Buffer
		for range 100 {
			logLine(rng, value)
			fmt.Fprintf(&body, `{"key":"key-%04d","value":%s}`+"\n", rng.IntN(10_000), value)
		}
		for ctx.Err() == nil {
			began := time.Now()
			if _, err := c.ProduceNDJSON(context.WithoutCancel(ctx), contestTopic, client.AnyPartition, body.Bytes()); err != nil {
				return err
			}
			out.Latencies = append(out.Latencies, time.Since(began))
			out.Bytes += int64(body.Len())
		}
		return nil
	})
}

func derivedTopic(ctx context.Context, p *process) error {
	if err := p.topic(ctx, contestTopic, contestPartitions, "relaxed"); err != nil {
		return err
	}
	if err := p.topic(ctx, "derived", contestPartitions, "relaxed"); err != nil {
		return err
	}
	if err := p.pushFilter(ctx); err != nil {
		return err
	}
	_, err := p.Client.PutDerivation(ctx, "filtered", client.DerivationSpec{
		Topic: contestTopic, Output: "derived", Stages: []client.Stage{{Module: "filter", Config: []byte(filterConfig)}},
	})
	return err
}

// produceAndDerive counts the time until the derivation has caught up as well.
func produceAndDerive(ctx context.Context, p *process, each time.Duration) (load.Result, error) {
	o := p.workload(load.Options{Connections: 4, Partitions: contestPartitions, BatchBytes: batchBytes, Value: logLine}, each)
	began := time.Now()
	res, err := load.Produce(ctx, o)
	for behind := true; err == nil && behind; {
		var d *client.Derivation
		if d, err = p.Client.Derivation(ctx, "filtered"); err != nil {
			break
		}
		behind = false
		for _, progress := range d.Progress {
			behind = behind || progress.Lag > 0
		}
	}
	res.Elapsed = time.Since(began)
	return res, err
}

// manyTopics makes topics that nothing is written to.
func manyTopics(ctx context.Context, p *process) error {
	for i := range 300 {
		spec := client.TopicSpec{Name: fmt.Sprintf("idle-%03d", i), Config: map[string]string{"segment.bytes": "65536"}}
		if _, err := p.Client.CreateTopic(ctx, spec); err != nil {
			return err
		}
	}
	return nil
}

func allocateIDs(ctx context.Context, p *process, each time.Duration) (load.Result, error) {
	o := p.workload(load.Options{Connections: 4}, each)
	return load.Run(ctx, o, func(ctx context.Context, c *client.Client, _ int, out *load.Result) error {
		for ctx.Err() == nil {
			began := time.Now()
			if _, err := c.AllocateProducerID(context.WithoutCancel(ctx)); err != nil {
				return err
			}
			out.Latencies = append(out.Latencies, time.Since(began))
		}
		return nil
	})
}

func createAndDelete(ctx context.Context, p *process, each time.Duration) (load.Result, error) {
	o := p.workload(load.Options{Connections: 1}, each)
	return load.Run(ctx, o, func(ctx context.Context, c *client.Client, _ int, out *load.Result) error {
		spec := client.TopicSpec{Name: contestTopic, Config: map[string]string{"segment.bytes": "65536"}}
		for ctx.Err() == nil {
			began := time.Now()
			if _, err := c.CreateTopic(context.WithoutCancel(ctx), spec); err != nil {
				return err
			}
			if err := c.DeleteTopic(context.WithoutCancel(ctx), contestTopic); err != nil {
				return err
			}
			out.Latencies = append(out.Latencies, time.Since(began))
		}
		return nil
	})
}
