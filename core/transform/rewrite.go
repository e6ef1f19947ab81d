package transform

import (
	"context"
	"fmt"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/pipeline"
)

// Rejected is a record that a transform refused.
type Rejected struct {
	Index   int // its place in the request
	Code    int // the module's own number; 0 when the broker refused it
	Message string
	Module  string // name@version of the stage
}

// Rewritten is what a unit of batches became.
type Rewritten struct {
	Data     []byte // batches for the unit's own partition; empty when nothing is left for it
	Written  int    // how many records Data has
	Routed   []Output
	Dropped  []int
	Rejected []Rejected
}

// Unit is a unit of batches, see Units, that a write pipeline is run over.
type Unit struct {
	Pipeline *Pipeline
	Topic    string
	Number   int32
	Batches  []Batch
}

// Rewriter runs write pipelines. Safe for concurrent use.
type Rewriter struct {
	budget  *record.Budget
	topics  Topics
	resolve func(topic string, partition int32) error
}

// NewRewriter makes a rewriter that unpacks within the budget and routes to topics.
func NewRewriter(budget *record.Budget, topics Topics) *Rewriter {
	return &Rewriter{budget: budget, topics: topics, resolve: Resolve(topics)}
}

// Rewrite runs a unit through its pipeline. Data may be the unit's own bytes when nothing was changed.
func (w *Rewriter) Rewrite(ctx context.Context, unit Unit) (Rewritten, error) {
	x := GetTransformer()
	defer PutTransformer(x)
	r := rewriting{Unit: unit, outputs: NewOutputs(w.topics, unit.routeOptions)}
	for i := range unit.Batches {
		if err := w.rewrite(ctx, x, &r, &unit.Batches[i]); err != nil {
			return Rewritten{}, err
		}
	}
	var err error
	r.done.Routed, err = r.outputs.Finish()
	return r.done, err
}

// routeOptions makes an idempotent producer's retry choose the partitions of the first attempt.
func (u Unit) routeOptions(Topic) PartitionerOptions {
	producer := u.Batches[0].ProducerID()
	if producer < 0 {
		return PartitionerOptions{}
	}
	return PartitionerOptions{Sticky: true, Origin: producer + int64(u.Number)}
}

// rewriting is a unit on its way through the pipeline.
type rewriting struct {
	Unit
	outputs *Outputs
	done    Rewritten
}

func (w *Rewriter) rewrite(ctx context.Context, x *Transformer, r *rewriting, b *Batch) error {
	if err := x.take(ctx, w.budget, b); err != nil {
		return BatchError(r.Topic, 0, 0, err)
	}
	defer x.Release()
	in := Input{Topic: r.Topic, Partition: r.Number, Place: abi.PlaceWrite, Resolve: w.resolve}
	if err := x.Run(ctx, r.Pipeline, in); err != nil {
		return errcode.New(errcode.TransformFailed, "produce to %q: %w", r.Topic, err)
	}
	r.verdicts(&x.Result, b)
	for _, e := range x.Result.Routed {
		// Records that a pipeline routes are not run through the destination's own pipeline: there are no
		// loops, and a record is transformed once.
		if err := r.outputs.Add(e.Topic, e.Partition, e.Record, b.RequestIndex(e.Source)); err != nil {
			return err
		}
	}
	return r.build(x, b)
}

// verdicts notes the records that are not simply written.
func (r *rewriting) verdicts(result *pipeline.Result, b *Batch) {
	for i, v := range result.Verdicts {
		switch v.Kind {
		case pipeline.Dropped:
			r.done.Dropped = append(r.done.Dropped, b.RequestIndex(i))
		case pipeline.Rejected:
			r.done.Rejected = append(r.done.Rejected, Rejected{
				Index: b.RequestIndex(i), Code: int(v.Code), Message: v.Message, Module: r.Pipeline.StageName(v.Stage),
			})
		}
	}
}

// build adds the bytes of what is left for the topic itself.
func (r *rewriting) build(x *Transformer, b *Batch) (err error) {
	r.done.Written += len(x.Result.Own)
	if len(r.done.Data) == 0 && b.Data != nil && x.Result.Unchanged() {
		r.done.Data = b.Data[:len(b.Data):len(b.Data)] // the usual case: no copy
		return nil
	}
	// A batch of which nothing is left stays as an empty one when others of the unit follow it, or its
	// producer counts on its sequence: the offsets of what comes after it must be what the producer counts on.
	keepSpan := len(r.Batches) > 1 || b.ProducerID() >= 0
	if r.done.Data, err = x.Rebuild(r.done.Data, keepSpan); err != nil {
		return fmt.Errorf("produce to %q: %w", r.Topic, err)
	}
	return nil
}
