package broker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/transform"
)

// ProduceBatches writes record batches that lie back to back in body, to one partition or, with
// AnyPartition, split by key as Kafka's clients do. body is patched in place and must be left alone
// until the call returns. Batches of one partition are written as a unit if none of their records is
// an idempotent producer's, else one by one in order. The result is valid although some partitions
// failed, which then carry their error; the call's error is for requests of which nothing was tried.
func (b *Broker) ProduceBatches(ctx context.Context, topicName string, number int32, body []byte) (*ProduceResult, error) {
	r, err := b.writer.open(topicName)
	if err != nil {
		return nil, err
	}
	defer r.close()
	batches, err := r.check(ctx, number, body)
	if err != nil {
		return nil, err
	}
	parts, err := r.distribute(ctx, number, batches)
	if err != nil {
		return nil, err
	}
	last := batches[len(batches)-1]
	return r.produce(ctx, parts, size{batches: len(batches), records: last.First + last.Count(), bytes: len(body)})
}

// ProduceRecords writes records that came one by one. Records without a timestamp get the present
// time. The rest is as with ProduceBatches.
func (b *Broker) ProduceRecords(ctx context.Context, topicName string, recs []InputRecord) (*ProduceResult, error) {
	r, err := b.writer.open(topicName)
	if err != nil {
		return nil, err
	}
	defer r.close()
	parts, err := r.collect(recs)
	if err != nil {
		return nil, err
	}
	came := size{records: len(recs)}
	for _, p := range parts {
		came.batches += len(p.Batches)
		for i := range p.Batches {
			came.bytes += p.Batches[i].Bytes()
		}
	}
	return r.produce(ctx, parts, came)
}

// size is what a request brought, for the observer.
type size struct{ batches, records, bytes int }

// writer is the way of records in.
type writer struct {
	destinations
	observer Observer
	unpack   *record.Budget
	rewriter *transform.Rewriter
}

// produceRequest is a request to one topic. It sees one state of the topic and one version of its pipeline.
type produceRequest struct {
	*writer
	topic     *topicState
	pipeline  *transform.Pipeline // nil: the topic has none
	unpacked  *record.Unpacked    // the batches' records, if they are needed; nil if not
	rewriting atomic.Int32        // parts that have not yet been through the pipeline
	out       outcome

	// few is room for what the usual request has: one batch for one partition.
	few struct {
		batches [1]transform.Batch
		parts   [1]transform.Part
		writes  [1]write
	}
}

var unpackedRequests = sync.Pool{New: func() any { return new(record.Unpacked) }}

// open begins a request; close must end it.
func (w *writer) open(topicName string) (*produceRequest, error) {
	t, err := w.topic(topicName)
	if err != nil {
		return nil, err
	}
	return &produceRequest{
		writer: w, topic: t, pipeline: t.write.Acquire(), out: outcome{result: ProduceResult{Topic: t.name}},
	}, nil
}

func (r *produceRequest) close() {
	r.pipeline.Release()
	if r.unpacked != nil {
		r.unpacked.Release()
		unpackedRequests.Put(r.unpacked)
	}
}

// check validates the batches against the topic's limits. Their records stay decoded if they are needed
// again: to be split by key, or for the pipeline.
func (r *produceRequest) check(ctx context.Context, number int32, body []byte) ([]transform.Batch, error) {
	name := r.topic.name
	if len(body) == 0 {
		return nil, errcode.New(errcode.InvalidRequest, "produce to %q: the body holds no record batch", name)
	}
	if r.pipeline != nil || r.splits(number) {
		r.unpacked = unpackedRequests.Get().(*record.Unpacked)
	}
	limits := record.DefaultLimits()
	limits.MaxBatchBytes = r.topic.config.MaxMessageBytes
	batches := r.few.batches[:0]
	position, records := 0, 0
	for data, err := range record.All(body) {
		if err == nil {
			err = r.validate(ctx, data, limits)
		}
		if err != nil {
			return nil, transform.BatchError(name, len(batches), position, err)
		}
		if data.IsTransactional() {
			return nil, errcode.New(errcode.InvalidRequest,
				"produce to %q: batch %d belongs to a transaction, which this version does not have; produce without transactional.id", name, len(batches))
		}
		batches = append(batches, transform.Batch{Data: data, First: records})
		position += len(data)
		records += int(data.Count())
	}
	if r.unpacked != nil && r.unpacked.Kept() {
		for i := range batches {
			batches[i].Decoded = r.unpacked.Batch(i)
		}
	}
	return batches, nil
}

func (r *produceRequest) validate(ctx context.Context, data record.Batch, limits record.Limits) error {
	if r.unpacked == nil {
		return r.unpack.ValidateProduced(ctx, data, limits)
	}
	return r.unpacked.Add(ctx, r.unpack, data, limits)
}

// splits says whether batches for a partition number must be taken apart.
func (r *produceRequest) splits(number int32) bool {
	return number == AnyPartition && r.topic.meta.Partitions > 1
}

// distribute assigns the batches to partitions: as they are, or taken apart into one batch per partition, in
// the codec that they came in.
func (r *produceRequest) distribute(ctx context.Context, number int32, batches []transform.Batch) ([]transform.Part, error) {
	if !r.splits(number) {
		if number == AnyPartition {
			number = 0
		}
		return append(r.few.parts[:0], transform.Part{Number: number, Batches: batches}), nil
	}
	for i := range batches {
		if batches[i].ProducerID() >= 0 {
			return nil, errcode.New(errcode.InvalidRequest,
				"produce to %q: batches of an idempotent producer must name their partition (?partition=)", r.topic.name)
		}
	}
	return r.partitioner(batches[0].Data.Codec(), batches[0].Decoded != nil).Split(ctx, r.unpack, batches)
}

// partitioner sorts the request's own records. With a pipeline to come they are not encoded before it, if
// they stay in memory until then.
func (r *produceRequest) partitioner(codec record.Codec, stay bool) *transform.Partitioner {
	return transform.NewPartitioner(r.topic.routing(), transform.PartitionerOptions{Codec: codec, Drafts: stay && r.pipeline != nil})
}

// collect sorts records that came one by one into batches.
func (r *produceRequest) collect(recs []InputRecord) ([]transform.Part, error) {
	if len(recs) == 0 {
		return nil, errcode.New(errcode.InvalidRequest, "produce to %q: the request holds no records", r.topic.name)
	}
	now := time.Now().UnixMilli()
	p := r.partitioner(record.CodecNone, true)
	for i, rec := range recs {
		if rec.Timestamp == 0 {
			rec.Timestamp = now
		}
		if err := p.Add(rec.Record, rec.Partition, i); err != nil {
			return nil, err
		}
	}
	return p.Finish()
}
