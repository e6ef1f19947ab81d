package broker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/partition"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/pipeline"
)

const (
	// deriveBytes is how much of its source a derivation takes at a time.
	deriveBytes = 1 << 20
	// saveEvery is how often a busy derivation writes down how far it has come. A restart runs
	// what came after again, and the outputs refuse what they have already.
	saveEvery = time.Second
	// A derivation that fails tries again after a pause that doubles up to the longest.
	firstPause, longestPause = 50 * time.Millisecond, 5 * time.Second
)

// derivations are the derivations that run on this broker: those whose source partitions it leads.
type derivations struct {
	mu      sync.Mutex
	running map[uint64]*derivation // by id
}

// derivation runs one version of a derivation, a task per source partition.
type derivation struct {
	meta   *metadata.Derivation
	live   *livePipeline
	source *topic
	tasks  []*deriveTask
	cancel context.CancelFunc
	wait   sync.WaitGroup
}

// deriveTask follows one source partition.
//
// Exactly once: what a stretch of the source becomes is written to each output partition in one entry
// together with a position that says up to which source offset that partition has everything. A stretch
// that is run again, after a crash or an error, skips for each output partition the records below
// its position. The source partition keeps one of its own, from which a restart goes on.
type deriveTask struct {
	b      *Broker
	d      *derivation
	number int32
	source *partition.Partition
	origin string
	begin  int64                  // where the source begins for it while there is no position
	next   atomic.Int64           // source offset that comes next
	failed atomic.Pointer[string] // why it does not get on; nil when it does

	saved   int64 // the position that the source partition has
	written time.Time
}

// reconcile starts, replaces and stops derivations as the metadata says.
func (ds *derivations) reconcile(b *Broker, image *metadata.Image) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	wanted := map[uint64]bool{}
	for _, m := range image.Derivations() {
		wanted[m.ID] = true
		source := b.table.Load().topics[m.Topic]
		d := ds.running[m.ID]
		if d != nil && d.meta.Version == m.Version && d.live.err == nil && len(d.tasks) == len(source.partitions()) {
			continue
		}
		d.stop()
		ds.running[m.ID] = b.startDerivation(m, source, d)
	}
	for id, d := range ds.running {
		if !wanted[id] {
			d.stop()
			delete(ds.running, id)
		}
	}
}

// stop ends all derivations and waits for them.
func (ds *derivations) stop() {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	for id, d := range ds.running {
		d.stop()
		delete(ds.running, id)
	}
}

// startDerivation runs a derivation in the place of old, nil if it did not run. Where it begins in
// partitions that it has not seen is settled when the call returns: what is produced from then on is
// derived.
func (b *Broker) startDerivation(m *metadata.Derivation, source *topic, old *derivation) *derivation {
	d := &derivation{meta: m, source: source, live: b.load(b.ctx, m.Name, m.Version, abi.PlaceDerivation, m.Stages)}
	ctx, cancel := context.WithCancel(b.ctx)
	d.cancel = cancel
	if d.live.err != nil {
		return d
	}
	for i, p := range source.partitions() {
		task := &deriveTask{
			b: b, d: d, number: int32(i), source: p, origin: fmt.Sprintf("derivation/%d/%d", m.ID, i),
		}
		// A partition that was added to the source is new as a whole, whatever start_from says.
		added := old != nil && len(old.tasks) > 0 && i >= len(old.tasks)
		task.settle(m.StartFrom == metadata.StartLatest && !added)
		d.tasks = append(d.tasks, task)
		d.wait.Add(1)
		go func() {
			defer d.wait.Done()
			task.run(ctx)
		}()
	}
	return d
}

func (d *derivation) stop() {
	if d == nil {
		return
	}
	d.cancel()
	d.wait.Wait()
	d.live.release()
}

// run follows the source until ctx ends.
func (t *deriveTask) run(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		err := t.follow(ctx)
		if ctx.Err() != nil {
			break
		}
		text := err.Error()
		if t.failed.Swap(&text) == nil {
			pause = firstPause // it had got on meanwhile
		}
		t.b.logger.Warn("a derivation does not get on; it tries again", "derivation", t.d.meta.Name,
			"partition", t.number, "error", err, "pause", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
	}
	if err := t.save(context.WithoutCancel(ctx)); err != nil {
		t.b.logger.Warn("a derivation's progress was not saved: it repeats its last second", "derivation", t.d.meta.Name, "error", err)
	}
}

// follow runs until something fails.
func (t *deriveTask) follow(ctx context.Context) error {
	if err := t.resume(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		moved, err := t.advance(ctx)
		if err != nil {
			return err
		}
		if !moved || time.Since(t.written) > saveEvery {
			if err := t.save(ctx); err != nil {
				return err
			}
		}
		if !moved {
			select {
			case <-t.source.Advanced(t.next.Load()):
			case <-ctx.Done():
			}
		}
	}
	return ctx.Err()
}

// advance derives the next stretch of the source; false when there is none.
func (t *deriveTask) advance(ctx context.Context) (moved bool, err error) {
	buf := buffers.Get().(*[]byte)
	defer keepBuffer(buf)
	next := t.next.Load()
	f, err := t.source.Fetch((*buf)[:0], next, deriveBytes)
	if errcode.Is(err, errcode.OffsetOutOfRange) && next < f.LogStart {
		t.b.logger.Warn("a derivation fell behind retention: records are lost to it", "derivation", t.d.meta.Name,
			"partition", t.number, "from", next, "to", f.LogStart)
		t.next.Store(f.LogStart)
		return true, nil
	}
	if err != nil || len(f.Batches) == 0 {
		return false, err
	}
	*buf = f.Batches
	if err := t.derive(ctx, f); err != nil {
		return false, err
	}
	t.next.Store(f.Next)
	t.failed.Store(nil)
	return true, nil
}

// settle decides where to begin without a position.
func (t *deriveTask) settle(latest bool) {
	bounds := t.source.Bounds()
	t.begin = bounds.LogStart
	if latest {
		t.begin = bounds.HighWatermark
	}
	t.next.Store(t.begin)
}

// resume finds where to go on.
func (t *deriveTask) resume(ctx context.Context) error {
	saved, ok, err := t.source.Position(ctx, t.origin)
	if err != nil {
		return fmt.Errorf("read progress: %w", err)
	}
	if ok {
		t.saved = saved.Next
		t.next.Store(saved.Next)
		return nil
	}
	t.saved = -1
	t.next.Store(t.begin)
	return t.save(ctx) // a restart must not decide anew what "latest" is
}

// save writes the progress into the source partition.
func (t *deriveTask) save(ctx context.Context) error {
	next := t.next.Load()
	if next <= t.saved {
		return nil
	}
	_, err := t.source.Append(ctx, partition.Append{Positions: []partition.Position{t.position(next)}})
	if err != nil {
		return fmt.Errorf("save progress: %w", err)
	}
	t.saved, t.written = next, time.Now()
	return nil
}

func (t *deriveTask) position(next int64) partition.Position {
	return partition.OffsetPosition(t.origin, next)
}

// derive runs one stretch of the source and writes what it becomes.
func (t *deriveTask) derive(ctx context.Context, f partition.Fetched) error {
	destinations := map[*topic]*splitter{}
	x := transformers.Get().(*transformer) // there may be many tasks, and few of them busy
	defer transformers.Put(x)
	for batch, err := range record.All(f.Batches) {
		if err == nil {
			err = t.transform(ctx, x, batch, destinations)
		}
		if err != nil {
			return fmt.Errorf("derive from %s: %w", t.source.Name(), err)
		}
	}
	// A stretch that is begun is finished: another version of the derivation might send what is missing to
	// partitions that have theirs already, and take it for written.
	_, err := t.b.appendRouted(context.WithoutCancel(ctx), destinations, []partition.Position{t.position(f.Next)}, false)
	return err
}

// transform runs one batch and sorts its results by destination.
func (t *deriveTask) transform(ctx context.Context, x *transformer, batch record.Batch, destinations map[*topic]*splitter) error {
	if err := x.Decode(ctx, t.b.unpack, batch); err != nil {
		return err
	}
	defer x.Release()
	in := pipeline.Input{
		Topic: t.d.meta.Topic, Partition: t.number, Place: abi.PlaceDerivation,
		BaseOffset: batch.BaseOffset(), Records: x.Records, Resolve: t.b.resolveRoute,
	}
	if err := t.d.live.run.Run(ctx, in, &x.result); err != nil {
		return err
	}
	sourceOffset := func(e pipeline.Emitted) int64 {
		return batch.BaseOffset() + int64(x.Records[e.Source].OffsetDelta)
	}
	for _, e := range x.result.Own {
		if err := t.add(ctx, destinations, t.d.meta.Output, t.outputPartition(e), e.Record, sourceOffset(e)); err != nil {
			return err
		}
	}
	for _, e := range x.result.Routed {
		if err := t.add(ctx, destinations, e.Topic, e.Partition, e.Record, sourceOffset(e)); err != nil {
			return err
		}
	}
	return nil
}

// outputPartition keeps records in the partition of their number when the output has as many as the
// source, so that order per key survives; else the key decides.
func (t *deriveTask) outputPartition(e pipeline.Emitted) int32 {
	output := t.b.table.Load().topics[t.d.meta.Output]
	if output == nil || len(output.partitions()) == 0 {
		return AnyPartition // add tells that it is not there
	}
	n := len(output.partitions())
	if n == len(t.d.source.partitions()) || e.Record.Key == nil {
		return t.number % int32(n)
	}
	return AnyPartition
}

func (t *deriveTask) add(ctx context.Context, destinations map[*topic]*splitter, name string, number int32, r record.Record, sourceOffset int64) error {
	to, err := t.b.topic(name)
	if err != nil {
		return err
	}
	s := destinations[to]
	if s == nil {
		s = newSplitter(to, record.CodecNone)
		s.stick(int64(t.number))
		s.skip = func(number int32, offset int) (bool, error) {
			saved, ok, err := to.partitions()[number].Position(ctx, t.origin)
			return ok && int64(offset) < saved.Next, err
		}
		destinations[to] = s
	}
	err = s.add(r, number, int(sourceOffset))
	if errcode.Is(err, errcode.MessageTooLarge) {
		// It will never fit, and there is no producer to tell: one record must not stop those behind it.
		t.b.logger.Warn("a derivation left out a record that is too large for its destination", "derivation", t.d.meta.Name,
			"partition", t.number, "offset", sourceOffset, "destination", name, "error", err)
		return nil
	}
	return err
}

func (b *Broker) describeDerivation(m *metadata.Derivation) api.Derivation {
	info := derivationShape(m)
	info.Progress = []api.DerivationProgress{}
	b.derivations.mu.Lock()
	defer b.derivations.mu.Unlock()
	d := b.derivations.running[m.ID]
	if d == nil {
		return info
	}
	if d.live.err != nil {
		info.Progress = append(info.Progress, api.DerivationProgress{Partition: -1, Error: d.live.err.Error()})
	}
	for _, t := range d.tasks {
		next := t.next.Load()
		p := api.DerivationProgress{Partition: t.number, NextOffset: next, Lag: t.source.Bounds().HighWatermark - next}
		if text := t.failed.Load(); text != nil {
			p.Error = *text
		}
		info.Progress = append(info.Progress, p)
	}
	return info
}
