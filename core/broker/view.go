package broker

import (
	"context"
	"fmt"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/partition"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/pipeline"
)

// maxScanBytes bounds what one fetch reads through a pipeline that lets little pass; the answer says
// how far it came.
const maxScanBytes = 8 << 20

// adHoc compiles a pipeline for one request. The engine keeps compiled modules, so that this costs
// instances and not compilations.
func (b *Broker) adHoc(ctx context.Context, t *topic, stages []api.Stage) (*livePipeline, error) {
	resolved, err := b.meta.Image().ResolveStages(abi.PlaceView, t.name, storedStages(stages))
	if err != nil {
		return nil, err
	}
	return b.compile(ctx, "fetch from "+t.name, 0, abi.PlaceView, resolved)
}

// fetchTransformed reads through a pipeline. Offsets stay the source's; Next is how far it scanned.
func (b *Broker) fetchTransformed(ctx context.Context, s *source, dst []byte, limit int, number int32) (partition.Fetched, error) {
	x := transformers.Get().(*transformer)
	defer transformers.Put(x)
	raw := buffers.Get().(*[]byte)
	defer keepBuffer(raw)

	out := partition.Fetched{Batches: dst, Next: s.at}
	for scanned := 0; scanned < maxScanBytes; {
		f, err := s.part.Fetch((*raw)[:0], out.Next, min(limit, maxScanBytes))
		out.Bounds = f.Bounds
		if err != nil {
			return out, err
		}
		if len(f.Batches) == 0 {
			return out, nil
		}
		*raw = f.Batches
		scanned += len(f.Batches)
		if err := b.readThrough(ctx, x, s, number, f.Batches, limit, &out); err != nil {
			return out, err
		}
		if len(out.Batches) > len(dst) {
			return out, nil
		}
	}
	return out, nil
}

// readThrough runs batches through the pipeline until limit bytes have come out.
func (b *Broker) readThrough(ctx context.Context, x *transformer, s *source, number int32, batches []byte, limit int, out *partition.Fetched) error {
	begin := len(out.Batches)
	for batch, err := range record.All(batches) {
		if err != nil {
			return fmt.Errorf("read %s: %w", s.part.Name(), err)
		}
		if len(out.Batches)-begin >= limit {
			return nil
		}
		if err := b.readBatchThrough(ctx, x, s, number, batch, out); err != nil {
			return err
		}
	}
	return nil
}

func (b *Broker) readBatchThrough(ctx context.Context, x *transformer, s *source, number int32, batch record.Batch, out *partition.Fetched) error {
	err := x.Decode(ctx, b.unpack, batch)
	if err != nil {
		return codedError(err, "read %s: %w", s.part.Name(), err)
	}
	defer x.Release()
	in := pipeline.Input{
		Topic: s.name, Partition: number, Place: abi.PlaceView,
		BaseOffset: batch.BaseOffset(), Records: x.Records, Resolve: refuseRoute,
	}
	if err := s.read.run.Run(ctx, in, &x.result); err != nil {
		return errcode.New(errcode.TransformFailed, "read %s through %q: %w", s.part.Name(), s.name, err)
	}
	if out.Batches, err = x.rebuild(out.Batches, batch, false); err != nil {
		return fmt.Errorf("read %s: %w", s.part.Name(), err)
	}
	out.Next = batch.NextOffset()
	return nil
}

// refuseRoute: a view shows records, it writes none.
func refuseRoute(topic string, _ int32) error {
	return fmt.Errorf("a view cannot route records (to %q); use a write pipeline or a derivation", topic)
}
