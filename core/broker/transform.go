package broker

import (
	"context"
	"fmt"
	"sync"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/partition"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/pipeline"
)

// maxRewrittenBytes bounds a batch that a transform made larger than the producer sent it.
const maxRewrittenBytes = 8 << 20

// transformer runs a pipeline over batches and writes what comes of them. It owns scratch memory and
// is not for concurrent use.
type transformer struct {
	record.Unpacker
	result pipeline.Result
	own    record.Builder
	extra  record.Builder
}

var transformers = sync.Pool{New: func() any { return new(transformer) }}

// rewritten is what a unit of chunks became: bytes for its own partition and batches for others.
type rewritten struct {
	origin       record.Batch // the unit's first batch as it came
	number       int32        // of its partition
	data         []byte
	written      int
	destinations map[*topic]*splitter
	dropped      []int
	rejected     []RejectedRecord
}

// appendTransformed runs chunks through the write pipeline and writes what it makes of them: first
// the routed records, then the topic's own. An idempotent producer's retry after a failure between
// the two repeats neither, as the destinations remember how far they have its records. For the same
// reason nothing is routed of a batch whose sequence is refused: once the destinations remember it,
// they would take the missing one before it for a repetition. Of a repeated batch the verdicts are told
// again, but nothing is written, even if another version of the pipeline would route it elsewhere.
func (b *Broker) appendTransformed(ctx context.Context, t *topic, p *partition.Partition, number int32, live *livePipeline, chunks []chunk, out *outcome) {
	x := transformers.Get().(*transformer)
	defer transformers.Put(x)
	for _, unit := range units(chunks) {
		r := rewritten{origin: unit[0].batch, number: number, destinations: map[*topic]*splitter{}}
		known, err := p.Peek(r.origin)
		if err != nil {
			out.add(ProducedPartition{Partition: number}, err)
			continue
		}
		if err := b.rewriteUnit(ctx, x, t, live, unit, &r); err != nil {
			out.add(ProducedPartition{Partition: number}, err)
			return
		}
		routed, err := b.appendRouted(ctx, r.destinations, b.routePositions(t, number, unit), known.Duplicate)
		if err != nil {
			out.add(ProducedPartition{Partition: number}, err)
			continue
		}
		out.verdicts(r.dropped, r.rejected, routed)
		if len(r.data) == 0 {
			out.add(ProducedPartition{Partition: number, BaseOffset: -1}, nil)
			continue
		}
		done, err := b.append(ctx, t, p, number, partition.Append{Data: r.data})
		out.add(ProducedPartition{Partition: number, BaseOffset: done.BaseOffset, Count: r.written, Duplicate: done.Duplicate}, err)
	}
}

// rewriteUnit runs chunks that are appended at once.
func (b *Broker) rewriteUnit(ctx context.Context, x *transformer, t *topic, live *livePipeline, unit []chunk, r *rewritten) (err error) {
	ctx, s := b.begin(ctx, stagePipeline, t.name, r.number)
	defer func() { s.end(err) }()
	for _, c := range unit {
		if err := b.rewrite(ctx, x, t, r.number, live, c, len(unit) > 1, r); err != nil {
			return err
		}
	}
	return nil
}

// rewrite runs one chunk and adds what becomes of it to r. keepSpan keeps a batch of which nothing is
// left as an empty one, so that the offsets of the batches after it stay what the producer counts on.
func (b *Broker) rewrite(ctx context.Context, x *transformer, t *topic, number int32, live *livePipeline, c chunk, keepSpan bool, r *rewritten) error {
	err := x.Decode(ctx, b.unpack, c.batch)
	if err != nil {
		return batchError(t.name, 0, 0, err)
	}
	defer x.Release()
	in := pipeline.Input{
		Topic: t.name, Partition: number, Place: abi.PlaceWrite, BaseOffset: -1, Records: x.Records,
		Resolve: b.resolveRoute,
	}
	if err := live.run.Run(ctx, in, &x.result); err != nil {
		return errcode.New(errcode.TransformFailed, "produce to %q: %w", t.name, err)
	}
	for i, v := range x.result.Verdicts {
		switch v.Kind {
		case pipeline.Dropped:
			r.dropped = append(r.dropped, c.requestIndex(i))
		case pipeline.Rejected:
			r.rejected = append(r.rejected, RejectedRecord{
				Index: c.requestIndex(i), Code: int(v.Code), Message: v.Message, Module: live.run.StageName(v.Stage),
			})
		}
	}
	for _, e := range x.result.Routed {
		if err := b.addRouted(r, e, c.requestIndex(e.Source)); err != nil {
			return err
		}
	}
	if len(r.data) == 0 && x.result.Unchanged() {
		r.data = c.batch[:len(c.batch):len(c.batch)] // the usual case: no copy
	} else if r.data, err = x.rebuild(r.data, c.batch, keepSpan || c.batch.ProducerID() >= 0); err != nil {
		return fmt.Errorf("produce to %q: %w", t.name, err)
	}
	r.written += len(x.result.Own)
	return nil
}

// rebuild appends to dst what the pipeline left of the batch for its own topic. Untouched batches and
// untouched records keep their bytes; records that only changed keep their offsets; records beyond
// the first of their source follow in a batch of their own.
func (x *transformer) rebuild(dst []byte, batch record.Batch, keepSpan bool) ([]byte, error) {
	if x.result.Unchanged() {
		return append(dst, batch...), nil
	}
	x.own.ResetLike(batch)
	x.extra.Reset(record.BuilderOptions{Codec: batch.Codec()})
	if x.result.OnlyFiltered() {
		if err := x.copyKept(batch); err != nil {
			return dst, err
		}
	} else {
		for _, e := range x.result.Own {
			if e.Extra {
				x.extra.Append(e.Record)
				continue
			}
			e.Record.OffsetDelta = x.Records[e.Source].OffsetDelta
			x.own.Append(e.Record)
		}
	}
	if n := x.own.Bytes() + x.extra.Bytes(); n > maxRewrittenBytes {
		return dst, errcode.New(errcode.MessageTooLarge, "the transform made a batch of %d bytes, over the limit of %d; send smaller batches", n, maxRewrittenBytes)
	}
	var err error
	if x.own.Len() > 0 || keepSpan {
		if dst, err = x.own.Build(dst); err != nil {
			return dst, err
		}
	}
	if x.extra.Len() > 0 {
		dst, err = x.extra.Build(dst)
	}
	return dst, err
}

// copyKept copies the kept records' bytes as they are.
func (x *transformer) copyKept(batch record.Batch) error {
	cursor, err := x.Cursor(batch)
	if err != nil {
		return err
	}
	next := 0
	for i := 0; cursor.Next() && next < len(x.result.Own); i++ {
		if x.result.Own[next].Source == i {
			x.own.AppendRaw(&cursor)
			next++
		}
	}
	return cursor.Err()
}
