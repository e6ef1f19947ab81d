package broker

import (
	"context"
	"reflect"
	"sync"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/partition"
)

const (
	// defaultFetchBytes is a fetch's MaxBytes when it names none, maxFetchBytes the most it may name.
	defaultFetchBytes = 1 << 20
	maxFetchBytes     = 32 << 20
	// maxKeptBuffer is the largest buffer that is kept for the next answer.
	maxKeptBuffer = 8 << 20
	// fetchQueueWait is how long a fetch waits for memory before it is sent away.
	fetchQueueWait = 5 * time.Second
)

// buffers are the memory of fetch answers.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// keepBuffer gives a buffer back, unless it has become too large to lie about.
func keepBuffer(buf *[]byte) {
	if cap(*buf) <= maxKeptBuffer {
		buffers.Put(buf)
	}
}

// Fetch reads from every partition asked for. It answers as soon as MinBytes of batches are there, a
// partition fails or is deleted, or Wait is over; a request that waits holds no buffer. The answer's
// buffers belong to the caller until Release. The call's own error is for requests that name nothing or
// when the broker is out of memory for answers; what befalls one partition stands at that partition.
func (b *Broker) Fetch(ctx context.Context, req FetchRequest) (*FetchResponse, error) {
	if len(req.Partitions) == 0 {
		return nil, errcode.New(errcode.InvalidRequest, "fetch: the request names no partitions")
	}
	ctx, s := b.begin(ctx, stageFetch, "", AnyPartition)
	resp, err := b.fetch(ctx, req)
	if err == nil {
		b.observer.Fetched(resp)
	}
	s.end(err)
	return resp, err
}

func (b *Broker) fetch(ctx context.Context, req FetchRequest) (*FetchResponse, error) {
	sources := b.openSources(ctx, req.Partitions)
	defer closeSources(sources)
	deadline := time.NewTimer(req.Wait)
	defer deadline.Stop()
	for {
		resp, bytes, final, err := b.fetchOnce(ctx, req, sources)
		if err != nil {
			return nil, err
		}
		if final || bytes >= max(req.MinBytes, 1) || req.Wait <= 0 || b.ctx.Err() != nil {
			return resp, nil
		}
		resp.Release() // the bounds stay, the memory goes while nobody needs it
		if !b.awaitMore(ctx, resp, sources, deadline.C) {
			if bytes == 0 {
				return resp, nil
			}
			req.Wait = 0 // less than MinBytes is the answer: it is read once more
		}
	}
}

// source is one partition of a fetch, with what its records pass through.
type source struct {
	part *partition.Partition
	read *livePipeline // of a view or of the request; nil for none
	name string
	err  error
	at   int64 // scanned to: moves past records that a pipeline leaves out
}

func (b *Broker) openSources(ctx context.Context, parts []FetchPartition) []source {
	sources := make([]source, len(parts))
	for i, fp := range parts {
		sources[i] = b.openSource(ctx, fp)
	}
	return sources
}

func (b *Broker) openSource(ctx context.Context, fp FetchPartition) source {
	s := source{name: fp.Topic, at: fp.Offset}
	for {
		t, v, err := b.source(fp.Topic)
		if err == nil {
			s.part, err = t.partition(fp.Partition)
		}
		switch {
		case err != nil:
		case len(fp.Stages) > 0 && v != nil:
			err = errcode.New(errcode.InvalidRequest, "fetch %q: a view has its own pipeline; name its topic to run another", fp.Topic)
		case len(fp.Stages) > 0:
			s.read, err = b.adHoc(ctx, t, fp.Stages)
		case v != nil && v.read.failure() != nil:
			err = v.read.failure()
		case v != nil && v.read.acquire():
			s.read = v.read
		case v != nil && b.ctx.Err() == nil:
			continue // replaced just now: the table has a newer one already
		case v != nil:
			err = errcode.New(errcode.ShuttingDown, "fetch %q: the broker is shutting down; retry in a moment", fp.Topic)
		}
		s.err = err
		return s
	}
}

func closeSources(sources []source) {
	for i := range sources {
		sources[i].read.release()
	}
}

// fetchOnce reads what is there now. final says that waiting for more is no use.
func (b *Broker) fetchOnce(ctx context.Context, req FetchRequest, sources []source) (resp *FetchResponse, bytes int, final bool, err error) {
	ctx, s := b.begin(ctx, stageRead, "", AnyPartition)
	defer func() { s.end(err) }()
	budget := int64(0)
	for i, fp := range req.Partitions {
		limit := fetchLimit(fp.MaxBytes)
		budget += int64(limit)
		if sources[i].read != nil {
			budget += int64(min(limit, maxScanBytes)) // what goes into the pipeline
		}
	}
	budget = min(budget, b.opts.MaxFetchBytes)
	if err := b.acquireFetch(ctx, budget); err != nil {
		return nil, 0, true, err
	}
	var held []*[]byte
	resp = NewFetchResponse(make([]FetchedPartition, len(req.Partitions)), func() {
		for _, buf := range held {
			keepBuffer(buf)
		}
		b.fetchBudget.Release(budget)
	})
	for i, fp := range req.Partitions {
		buf := buffers.Get().(*[]byte)
		held = append(held, buf)
		out := &resp.Partitions[i]
		*out = FetchedPartition{Topic: fp.Topic, Partition: fp.Partition, NextOffset: fp.Offset}
		limit := min(fetchLimit(fp.MaxBytes), int(budget)-bytes)
		b.fetchPartition(ctx, &sources[i], limit, buf, out)
		bytes += len(out.Batches)
		final = final || out.Err != nil
	}
	return resp, bytes, final, nil
}

func fetchLimit(asked int) int {
	if asked <= 0 {
		return defaultFetchBytes
	}
	return min(asked, maxFetchBytes)
}

func (b *Broker) acquireFetch(ctx context.Context, bytes int64) error {
	if b.fetchBudget.TryAcquire(bytes) {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, fetchQueueWait)
	defer cancel()
	if err := b.fetchBudget.Acquire(wait, bytes); err != nil {
		return errcode.New(errcode.Overloaded, "fetch: answers of %d MiB are in flight; ask for less or retry", b.opts.MaxFetchBytes>>20).
			With("retry_after_ms", 1000)
	}
	return nil
}

// fetchPartition fills in one partition's part of the answer; limit is not positive when the partitions
// before it have used all the room that there is for the answer.
func (b *Broker) fetchPartition(ctx context.Context, s *source, limit int, buf *[]byte, out *FetchedPartition) {
	if s.err != nil {
		out.Err = errcode.From(s.err)
		return
	}
	var f partition.Fetched
	var err error
	switch {
	case limit <= 0:
		f = partition.Fetched{Bounds: s.part.Bounds(), Next: s.at}
	case s.read == nil:
		f, err = s.part.Fetch((*buf)[:0], s.at, limit)
	default:
		f, err = b.fetchTransformed(ctx, s, (*buf)[:0], limit, out.Partition)
		if len(f.Batches) == 0 {
			s.at = f.Next // what was scanned in vain is not scanned again
		}
	}
	out.HighWatermark, out.LogStartOffset, out.NextOffset = f.HighWatermark, f.LogStart, f.Next
	if err != nil {
		out.Err = errcode.From(err)
		return
	}
	if f.Batches != nil {
		*buf, out.Batches = f.Batches, f.Batches
	}
}

// awaitMore waits until one of the partitions has something past what the answer has scanned; false
// when the wait is over.
func (b *Broker) awaitMore(ctx context.Context, resp *FetchResponse, sources []source, deadline <-chan time.Time) bool {
	if len(sources) == 1 { // by far the most frequent
		select {
		case <-sources[0].part.Advanced(resp.Partitions[0].NextOffset):
			return true
		case <-deadline:
		case <-ctx.Done():
		case <-b.ctx.Done():
		}
		return false
	}
	cases := []reflect.SelectCase{
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(deadline)},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(b.ctx.Done())},
	}
	ends := len(cases)
	for i := range sources {
		wake := sources[i].part.Advanced(resp.Partitions[i].NextOffset)
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(wake)})
	}
	chosen, _, _ := reflect.Select(cases)
	return chosen >= ends
}

// ResolveOffset turns earliest, latest or a time into an offset of a topic's or view's partition.
func (b *Broker) ResolveOffset(ctx context.Context, name string, number int32, spec OffsetSpec) (int64, error) {
	t, _, err := b.source(name)
	if err != nil {
		return 0, err
	}
	p, err := t.partition(number)
	if err != nil {
		return 0, err
	}
	switch spec.At {
	case OffsetEarliest:
		return p.Bounds().LogStart, nil
	case OffsetLatest:
		return p.Bounds().HighWatermark, nil
	default:
		return p.OffsetForTime(ctx, spec.Time)
	}
}
