package transform

import (
	"context"
	"sync"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/pipeline"
)

// maxRewrittenBytes bounds a batch that a transform made larger than the producer sent it.
const maxRewrittenBytes = 8 << 20

// Input describes the batches that a pipeline is given.
type Input struct {
	Topic     string
	Partition int32
	Place     abi.Place
	// Resolve says whether a record may be routed to a topic and partition; nil allows everything.
	Resolve func(topic string, partition int32) error
}

// Transformer runs a pipeline over batches, one at a time, and builds what comes of them. It owns scratch
// memory. Not for concurrent use.
type Transformer struct {
	// Result is what the last Run made, valid until the next.
	Result pipeline.Result

	unpacker record.Unpacker
	unpacked bool            // decoded is the unpacker's
	decoded  *record.Decoded // the batch at hand
	own      record.Builder
	extra    record.Builder
}

var transformers = sync.Pool{New: func() any { return new(Transformer) }}

// GetTransformer takes a transformer for a while; its memory is used again after PutTransformer.
func GetTransformer() *Transformer { return transformers.Get().(*Transformer) }

// PutTransformer gives a transformer back. It must not be used afterwards.
func PutTransformer(x *Transformer) { transformers.Put(x) }

// Decode makes a batch the one at hand; after a success it is to be given back with Release. The caller must
// hold no share of the budget. Errors: those of record.Unpacker.
func (x *Transformer) Decode(ctx context.Context, budget *record.Budget, batch record.Batch) error {
	if err := x.unpacker.Decode(ctx, budget, batch); err != nil {
		return err
	}
	x.decoded, x.unpacked = &x.unpacker.Decoded, true
	return nil
}

// take is Decode, unless the batch is decoded already; then its records stay its owner's.
func (x *Transformer) take(ctx context.Context, budget *record.Budget, b *Batch) error {
	if b.Decoded == nil {
		return x.Decode(ctx, budget, b.Data)
	}
	x.decoded, x.unpacked = b.Decoded, false
	return nil
}

// Release gives the batch at hand back.
func (x *Transformer) Release() {
	if x.unpacked {
		x.unpacker.Release()
	}
	x.decoded, x.unpacked = nil, false
}

// Records are those of the batch at hand.
func (x *Transformer) Records() []record.Record { return x.decoded.Records }

// Run takes the batch at hand through a pipeline, into Result. Its error is never a module's or a record's
// fault.
func (x *Transformer) Run(ctx context.Context, p *Pipeline, in Input) error {
	baseOffset := int64(-1) // not known before the append
	if b := x.decoded.Batch(); b != nil && in.Place != abi.PlaceWrite {
		baseOffset = b.BaseOffset()
	}
	return p.run.Run(ctx, pipeline.Input{
		Topic: in.Topic, Partition: in.Partition, Place: in.Place, BaseOffset: baseOffset,
		Records: x.decoded.Records, Resolve: in.Resolve,
	}, &x.Result)
}

// Rebuild appends to dst what the pipeline left of the batch at hand for its own topic. Untouched batches
// and untouched records keep their bytes; records that only changed keep their offsets; records beyond the
// first of their source follow in a batch of their own. keepSpan keeps a batch of which nothing is left as
// an empty one that spans its offsets.
func (x *Transformer) Rebuild(dst []byte, keepSpan bool) ([]byte, error) {
	d := x.decoded
	if d.Batch() != nil && x.Result.Unchanged() {
		return append(dst, d.Batch()...), nil
	}
	x.own.Replace(d)
	x.extra.Reset(record.BuilderOptions{Codec: d.Codec()})
	if x.Result.OnlyFiltered() {
		for i := range x.Result.Own {
			x.own.AppendFrom(d, x.Result.Own[i].Source)
		}
	} else {
		x.appendChanged()
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

// appendChanged encodes what came out, some of which is not as it went in.
func (x *Transformer) appendChanged() {
	for _, e := range x.Result.Own {
		if e.Extra {
			x.extra.Append(e.Record)
			continue
		}
		e.Record.OffsetDelta = x.decoded.Records[e.Source].OffsetDelta
		x.own.Append(e.Record)
	}
}
