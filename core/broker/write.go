package broker

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/wasmill/wasmill/core/partition"
	"github.com/wasmill/wasmill/core/transform"
)

// appendParallelism bounds the partitions of one request that are written at the same time.
const appendParallelism = 16

// write is what a request writes to one partition, and where that is.
type write struct {
	transform.Part
	where *place
}

// plan finds the places of the parts. A partition that is not served here fails when it is written, alone.
func (r *produceRequest) plan(parts []transform.Part) ([]write, error) {
	writes := r.few.writes[:0]
	for _, p := range parts {
		at, err := r.topic.place(p.Number)
		if err != nil {
			return nil, err
		}
		writes = append(writes, write{Part: p, where: at})
	}
	return writes, nil
}

// produce writes every part and returns the outcomes, sorted by partition.
func (r *produceRequest) produce(ctx context.Context, parts []transform.Part, came size) (*ProduceResult, error) {
	writes, err := r.plan(parts)
	if err != nil {
		return nil, err
	}
	ctx, ph := r.phases.begin(ctx, phaseProduce, r.topic.name, AnyPartition)
	defer func() { ph.end(err) }()
	r.observer.Received(r.topic.name, came.batches, came.records, came.bytes)
	if err = r.pipeline.Err(); err != nil {
		return nil, err
	}
	r.rewriting.Store(int32(len(writes)))
	if len(writes) == 1 {
		r.write(ctx, writes[0])
	} else {
		var g errgroup.Group
		g.SetLimit(appendParallelism)
		for _, w := range writes {
			g.Go(func() error { r.write(ctx, w); return nil })
		}
		_ = g.Wait() // outcomes carry their own errors
	}
	r.observer.Produced(r.topic.name, &r.out.result)
	result, err := r.out.finish()
	return result, err
}

func (r *produceRequest) write(ctx context.Context, w write) {
	p, err := w.where.toWrite()
	switch {
	case err != nil:
		r.out.add(ProducedPartition{Partition: w.Number}, err)
	case r.pipeline == nil:
		r.appendPlain(ctx, p, w.Part)
	default:
		r.appendTransformed(ctx, p, w.Part)
	}
}

// appendPlain writes batches as they came.
func (r *produceRequest) appendPlain(ctx context.Context, p *partition.Partition, part transform.Part) {
	for _, unit := range transform.Units(part.Batches) {
		count := 0
		for i := range unit {
			count += unit[i].Count()
		}
		done, err := r.append(ctx, p, part.Number, transform.Join(unit))
		r.out.add(ProducedPartition{
			Partition: part.Number, BaseOffset: done.BaseOffset, Count: count, Duplicate: done.Duplicate,
		}, err)
	}
}

// appendTransformed runs batches through the write pipeline and writes what it makes of them: first
// the routed records, then the topic's own. An idempotent producer's retry after a failure between
// the two repeats neither, as the destinations remember how far they have its records. For the same
// reason nothing is routed of a batch whose sequence is refused: once the destinations remember it,
// they would take the missing one before it for a duplicate. Of a duplicate the verdicts are answered
// again, but nothing is written, even if another version of the pipeline would route it elsewhere.
func (r *produceRequest) appendTransformed(ctx context.Context, p *partition.Partition, part transform.Part) {
	units := transform.Units(part.Batches)
	for i, batches := range units {
		done := ProducedPartition{Partition: part.Number, BaseOffset: -1}
		known, err := peek(p, batches[0])
		if err != nil {
			r.out.add(done, err)
			continue
		}
		rewritten, err := r.rewrite(ctx, part.Number, batches)
		if err != nil {
			r.out.add(done, err)
			return
		}
		if i == len(units)-1 {
			r.partRewritten()
		}
		routed, err := r.route(ctx, rewritten.Routed, r.routePositions(part.Number, batches[0]), known.Duplicate)
		if err != nil {
			r.out.add(done, err)
			continue
		}
		r.out.verdicts(&rewritten, routed)
		if len(rewritten.Data) > 0 {
			var own partition.Appended
			own, err = r.append(ctx, p, part.Number, rewritten.Data)
			done.BaseOffset, done.Count, done.Duplicate = own.BaseOffset, rewritten.Written, own.Duplicate
		}
		r.out.add(done, err)
	}
}

// peek is what the append of an idempotent producer's batch would be answered.
func peek(p *partition.Partition, b transform.Batch) (partition.Appended, error) {
	if b.ProducerID() < 0 {
		return partition.Appended{}, nil
	}
	return p.Peek(b.Data)
}

// rewrite runs batches that are appended at once through the pipeline.
func (r *produceRequest) rewrite(ctx context.Context, number int32, batches []transform.Batch) (done transform.Rewritten, err error) {
	ctx, ph := r.phases.begin(ctx, phasePipeline, r.topic.name, number)
	defer func() { ph.end(err) }()
	return r.rewriter.Rewrite(ctx, transform.Unit{Pipeline: r.pipeline, Topic: r.topic.name, Number: number, Batches: batches})
}

// partRewritten gives the decoded records back before the last appends are waited for: all that is written has
// bytes of its own by then, or is what came.
func (r *produceRequest) partRewritten() {
	if r.rewriting.Add(-1) == 0 && r.unpacked != nil {
		r.unpacked.Release()
	}
}

// append writes to one partition and waits for the acknowledgement.
func (r *produceRequest) append(ctx context.Context, p *partition.Partition, number int32, data []byte) (done partition.Appended, err error) {
	ctx, ph := r.phases.begin(ctx, phaseAppend, r.topic.name, number)
	defer func() { ph.end(err) }()
	return p.Append(ctx, partition.Append{Data: data})
}
