package transform

import (
	"context"
	"fmt"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/wasm/abi"
)

// Read is a read through a view's pipeline, or one of the reader's own.
type Read struct {
	Pipeline  *Pipeline
	Name      string // the topic or view that is read, as the pipeline sees it
	Partition int32
	Source    string // the topic's partition, for errors
	Limit     int    // bytes after which no further batch is run
}

// Through appends to dst what the pipeline leaves of batches, until Limit bytes have been added. next is the
// offset after the last batch that was run, or from when none was. Offsets stay the source's. What was
// appended before an error is sound.
func (r Read) Through(ctx context.Context, budget *record.Budget, dst, batches []byte, from int64) (out []byte, next int64, err error) {
	x := GetTransformer()
	defer PutTransformer(x)
	out, next = dst, from
	for batch, err := range record.All(batches) {
		if err != nil {
			return out, next, fmt.Errorf("read %s: %w", r.Source, err)
		}
		if len(out)-len(dst) >= r.Limit {
			break
		}
		if out, err = r.through(ctx, x, budget, out, batch); err != nil {
			return out, next, err
		}
		next = batch.NextOffset()
	}
	return out, next, nil
}

func (r Read) through(ctx context.Context, x *Transformer, budget *record.Budget, dst []byte, batch record.Batch) ([]byte, error) {
	if err := x.Decode(ctx, budget, batch); err != nil {
		return dst, codedError(err, "read %s: %w", r.Source, err)
	}
	defer x.Release()
	in := Input{Topic: r.Name, Partition: r.Partition, Place: abi.PlaceView, Resolve: refuseRoute}
	if err := x.Run(ctx, r.Pipeline, in); err != nil {
		return dst, errcode.New(errcode.TransformFailed, "read %s through %q: %w", r.Source, r.Name, err)
	}
	dst, err := x.Rebuild(dst, false)
	if err != nil {
		return dst, fmt.Errorf("read %s: %w", r.Source, err)
	}
	return dst, nil
}

// refuseRoute is for views: they show records and write none.
func refuseRoute(topic string, _ int32) error {
	return fmt.Errorf("a view cannot route records (to %q); use a write pipeline or a derivation", topic)
}
