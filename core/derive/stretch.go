package derive

import (
	"context"
	"fmt"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/partition"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/transform"
	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/pipeline"
)

// stretch is one attempt to derive a part of the source. What decides where its records go is fixed when it
// begins: the pipeline's version, how many partitions the source has, and the state of each output topic
// (in outputs, from its first record on).
type stretch struct {
	*task
	sources int32 // partitions of the source topic
	outputs *transform.Outputs
	failed  error // the first failure to read an output partition's position
}

// newStretch plans an attempt.
func (t *task) newStretch(ctx context.Context) (*stretch, error) {
	source, err := t.Topics.Topic(t.meta.Topic)
	if err != nil {
		return nil, err
	}
	s := &stretch{task: t, sources: source.Partitions}
	s.outputs = transform.NewOutputs(t.Topics, func(to transform.Topic) transform.PartitionerOptions {
		return transform.PartitionerOptions{Sticky: true, Origin: int64(t.number), Skip: s.skip(ctx, to)}
	})
	return s, nil
}

// derive runs one stretch of the source and writes what it becomes.
func (t *task) derive(ctx context.Context, f partition.Fetched) error {
	s, err := t.newStretch(ctx)
	if err != nil {
		return err
	}
	x := transform.GetTransformer()
	defer transform.PutTransformer(x)
	for batch, err := range record.All(f.Batches) {
		if err == nil {
			err = s.transform(ctx, x, batch)
		}
		if err != nil {
			return fmt.Errorf("derive from %s: %w", t.source.Name(), err)
		}
	}
	outputs, err := s.outputs.Finish()
	if err != nil {
		return err
	}
	// A stretch that is begun is finished: another version of the derivation might send what is missing to
	// partitions that have theirs already, and take it for written.
	return s.write(context.WithoutCancel(ctx), outputs, t.positions(f.Next))
}

// skip leaves out the records that a partition of an output has already. Nobody but this task moves the
// position, so it is read once for a stretch. A partition whose position cannot be read gets nothing, and the
// stretch fails in the end; the others get theirs.
func (s *stretch) skip(ctx context.Context, to transform.Topic) func(number int32, index int) (bool, error) {
	reached := map[int32]int64{}
	const unreachable = int64(1<<63 - 1)
	return func(number int32, sourceOffset int) (bool, error) {
		next, known := reached[number]
		if !known {
			var err error
			if next, err = s.reached(ctx, to, number); err != nil {
				s.fail(fmt.Errorf("derive into %q: %w", to.Name, err))
				next = unreachable
			}
			reached[number] = next
		}
		return int64(sourceOffset) < next, nil
	}
}

// reached is the source offset up to which a partition of an output has everything.
func (s *stretch) reached(ctx context.Context, to transform.Topic, number int32) (int64, error) {
	d, err := s.Topics.Destination(to, number)
	if err != nil {
		return 0, err
	}
	p, ok, err := d.Position(ctx, s.origin)
	if err != nil || !ok {
		return 0, err
	}
	s.written.note(to, number, p.Next)
	return p.Next, nil
}

func (s *stretch) fail(err error) {
	if s.failed == nil {
		s.failed = err
	}
}

// transform runs one batch and sorts its results by destination.
func (s *stretch) transform(ctx context.Context, x *transform.Transformer, batch record.Batch) error {
	if err := x.Decode(ctx, s.Budget, batch); err != nil {
		return err
	}
	defer x.Release()
	in := transform.Input{
		Topic: s.meta.Topic, Partition: s.number, Place: abi.PlaceDerivation, Resolve: transform.Resolve(s.Topics),
	}
	if err := x.Run(ctx, s.pipeline, in); err != nil {
		return err
	}
	records := x.Records()
	sourceOffset := func(e pipeline.Emitted) int64 { return batch.BaseOffset() + int64(records[e.Source].OffsetDelta) }
	if len(x.Result.Own) > 0 {
		output, err := s.outputs.Topic(s.meta.Output)
		if err != nil {
			return err
		}
		for _, e := range x.Result.Own {
			if err := s.add(output.Name, s.outputPartition(output, e), e, sourceOffset(e)); err != nil {
				return err
			}
		}
	}
	for _, e := range x.Result.Routed {
		if err := s.add(e.Topic, e.Partition, e, sourceOffset(e)); err != nil {
			return err
		}
	}
	return nil
}

// outputPartition keeps records in the partition of their number when the output has as many as the
// source, so that order per key survives; else the key decides.
func (s *stretch) outputPartition(output transform.Topic, e pipeline.Emitted) int32 {
	if output.Partitions == s.sources || e.Record.Key == nil {
		return s.number % output.Partitions
	}
	return transform.AnyPartition
}

func (s *stretch) add(topicName string, number int32, e pipeline.Emitted, sourceOffset int64) error {
	err := s.outputs.Add(topicName, number, e.Record, int(sourceOffset))
	if err != nil && errcode.Is(err, errcode.MessageTooLarge) {
		// It will never fit, and there is no producer to refuse it to: one record must not stop those behind it.
		s.logger.Warn("a derivation left out a record that is too large for its destination",
			"offset", sourceOffset, "destination", topicName, "error", err)
		return nil
	}
	return err
}

// write appends what the stretch became. A failure keeps none of the other partitions from getting theirs, as
// the next attempt leaves out what is there.
func (s *stretch) write(ctx context.Context, outputs []transform.Output, positions []partition.Position) (err error) {
	if len(outputs) > 0 {
		var end func(error)
		ctx, end = s.Route(ctx)
		defer func() { end(err) }()
	}
	for _, o := range outputs {
		d, err := s.Topics.Destination(o.Topic, o.Number)
		if err == nil {
			_, err = d.Append(ctx, partition.Append{Data: transform.Join(o.Batches), Positions: positions})
		}
		if err != nil {
			s.fail(fmt.Errorf("derive into %q: %w", o.Topic.Name, err))
			continue
		}
		s.written.note(o.Topic, o.Number, positions[0].Next)
	}
	return s.failed
}
