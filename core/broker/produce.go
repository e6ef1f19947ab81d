package broker

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/partition"
	"github.com/wasmill/wasmill/core/record"
)

// appendParallelism bounds the partitions of one request that are written at the same time.
const appendParallelism = 16

// chunk is a record batch on its way to a partition, with the places that its records have in the
// request: record i is number index[i], or first+i when index is nil.
type chunk struct {
	batch record.Batch
	first int
	index []int
}

func (c chunk) requestIndex(i int) int {
	if c.index != nil {
		return c.index[i]
	}
	return c.first + i
}

// ProduceBatches writes record batches that lie back to back in body, to one partition or, with
// AnyPartition, split by key as Kafka's clients do. body is patched in place and must be left alone
// until the call returns. Batches of one partition are written as a unit if none of their records is
// an idempotent producer's, else one by one in order. The result is valid although some partitions
// failed, which then carry their error; the call's error is for requests of which nothing was tried.
func (b *Broker) ProduceBatches(ctx context.Context, topicName string, number int32, body []byte) (*ProduceResult, error) {
	t, err := b.topic(topicName)
	if err != nil {
		return nil, err
	}
	chunks, err := b.checkBatches(ctx, t, body)
	if err != nil {
		return nil, err
	}
	if number != AnyPartition {
		p, err := t.partition(number)
		if err != nil {
			return nil, err
		}
		return b.produce(ctx, t, map[*partition.Partition][]chunk{p: chunks})
	}
	parts, err := b.splitByKey(ctx, t, chunks)
	if err != nil {
		return nil, err
	}
	return b.produce(ctx, t, parts)
}

// ProduceRecords writes records that came one by one. Records without a timestamp get the present
// time. The rest is as with ProduceBatches.
func (b *Broker) ProduceRecords(ctx context.Context, topicName string, recs []ProducedRecord) (*ProduceResult, error) {
	t, err := b.topic(topicName)
	if err != nil {
		return nil, err
	}
	if len(recs) == 0 {
		return nil, errcode.New(errcode.InvalidRequest, "produce to %q: the request holds no records", topicName)
	}
	now := time.Now().UnixMilli()
	s := newSplitter(t, record.CodecNone)
	for i, r := range recs {
		if r.Timestamp == 0 {
			r.Timestamp = now
		}
		if err := s.add(r.Record, r.Partition, i); err != nil {
			return nil, err
		}
	}
	parts, err := s.finish()
	if err != nil {
		return nil, err
	}
	return b.produce(ctx, t, parts)
}

// checkBatches validates a request's batches against the topic's limits.
func (b *Broker) checkBatches(ctx context.Context, t *topic, body []byte) ([]chunk, error) {
	if len(body) == 0 {
		return nil, errcode.New(errcode.InvalidRequest, "produce to %q: the body holds no record batch", t.name)
	}
	limits := record.DefaultLimits()
	limits.MaxBatchBytes = t.config.Load().MaxMessageBytes
	var chunks []chunk
	position, records := 0, 0
	for batch, err := range record.All(body) {
		if err == nil {
			err = b.unpack.ValidateProduced(ctx, batch, limits)
		}
		if err != nil {
			return nil, batchError(t.name, len(chunks), position, err)
		}
		if batch.IsTransactional() {
			return nil, errcode.New(errcode.InvalidRequest,
				"produce to %q: batch %d belongs to a transaction, which this version does not have; produce without transactional.id", t.name, len(chunks))
		}
		chunks = append(chunks, chunk{batch: batch, first: records})
		position += len(batch)
		records += int(batch.Count())
	}
	return chunks, nil
}

// produce writes every partition's chunks and gathers the outcomes, sorted by partition.
func (b *Broker) produce(ctx context.Context, t *topic, parts map[*partition.Partition][]chunk) (*ProduceResult, error) {
	ctx, s := b.begin(ctx, stageProduce, t.name, AnyPartition)
	b.received(t, parts)
	result, err := b.write(ctx, t, parts)
	s.end(err)
	return result, err
}

// received tells the observer what a request brought.
func (b *Broker) received(t *topic, parts map[*partition.Partition][]chunk) {
	batches, records, bytes := 0, 0, 0
	for _, chunks := range parts {
		batches += len(chunks)
		for _, c := range chunks {
			records += int(c.batch.Count())
			bytes += len(c.batch)
		}
	}
	b.observer.Received(t.name, batches, records, bytes)
}

func (b *Broker) write(ctx context.Context, t *topic, parts map[*partition.Partition][]chunk) (*ProduceResult, error) {
	live := t.acquirePipeline()
	defer live.release()
	if err := live.failure(); err != nil {
		return nil, err
	}
	out := &outcome{result: ProduceResult{Topic: t.name}}
	write := func(p *partition.Partition, chunks []chunk) {
		number := t.numberOf(p)
		if live == nil {
			b.appendPlain(ctx, t, p, number, chunks, out)
		} else {
			b.appendTransformed(ctx, t, p, number, live, chunks, out)
		}
	}
	if len(parts) == 1 {
		for p, chunks := range parts {
			write(p, chunks)
		}
	} else {
		var g errgroup.Group
		g.SetLimit(appendParallelism)
		for p, chunks := range parts {
			g.Go(func() error { write(p, chunks); return nil })
		}
		_ = g.Wait() // outcomes carry their own errors
	}
	b.observer.Produced(t.name, &out.result)
	return out.finish()
}

func (t *topic) numberOf(p *partition.Partition) int32 {
	return int32(slices.Index(t.partitions(), p))
}

// units groups chunks into what is appended at once: all of them, unless an idempotent producer's
// batches must keep their own entries for its sequences to be checked.
func units(chunks []chunk) [][]chunk {
	if len(chunks) == 1 || !slices.ContainsFunc(chunks, func(c chunk) bool { return c.batch.ProducerID() >= 0 }) {
		return [][]chunk{chunks}
	}
	return slices.Collect(slices.Chunk(chunks, 1))
}

// appendPlain writes chunks as they came.
func (b *Broker) appendPlain(ctx context.Context, t *topic, p *partition.Partition, number int32, chunks []chunk, out *outcome) {
	for _, unit := range units(chunks) {
		data, count := joinChunks(unit), 0
		for _, c := range unit {
			count += int(c.batch.Count())
		}
		done, err := b.append(ctx, t, p, number, partition.Append{Data: data})
		out.add(ProducedPartition{
			Partition: number, BaseOffset: done.BaseOffset, Count: count, Duplicate: done.Duplicate,
		}, err)
	}
}

// append writes to one partition and waits for the acknowledgement.
func (b *Broker) append(ctx context.Context, t *topic, p *partition.Partition, number int32, a partition.Append) (partition.Appended, error) {
	ctx, s := b.begin(ctx, stageAppend, t.name, number)
	done, err := p.Append(ctx, a)
	s.end(err)
	return done, err
}

// joinChunks returns the chunks' batches back to back: in place when they already lie so in the
// request's body, which is the common case, else as a copy.
func joinChunks(chunks []chunk) []byte {
	if len(chunks) == 1 {
		return chunks[0].batch
	}
	total := 0
	for _, c := range chunks {
		total += len(c.batch)
	}
	if first := chunks[0].batch; cap(first) >= total {
		whole := first[:total]
		if last := chunks[len(chunks)-1].batch; &whole[total-len(last)] == &last[0] {
			return whole
		}
	}
	data := make([]byte, 0, total)
	for _, c := range chunks {
		data = append(data, c.batch...)
	}
	return data
}

// outcome gathers what became of a request. It is safe for concurrent use.
type outcome struct {
	mu     sync.Mutex
	result ProduceResult
	failed int
	first  error
}

// add takes down a partition's outcome.
func (o *outcome) add(p ProducedPartition, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		p.Error, p.BaseOffset, p.Count = errcode.From(err), -1, 0
		o.failed++
		if o.first == nil {
			o.first = err
		}
	}
	o.result.Partitions = append(o.result.Partitions, p)
}

// verdicts takes down the fates of records that were not simply written.
func (o *outcome) verdicts(dropped []int, rejected []RejectedRecord, routed []RoutedRecord) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.result.Dropped = append(o.result.Dropped, dropped...)
	o.result.Rejected = append(o.result.Rejected, rejected...)
	o.result.Routed = append(o.result.Routed, routed...)
}

// finish sorts the result. If every partition failed, the first failure is the request's.
func (o *outcome) finish() (*ProduceResult, error) {
	if o.failed > 0 && o.failed == len(o.result.Partitions) {
		return nil, o.first
	}
	slices.SortStableFunc(o.result.Partitions, func(a, b ProducedPartition) int { return int(a.Partition - b.Partition) })
	slices.Sort(o.result.Dropped)
	slices.SortFunc(o.result.Rejected, func(a, b RejectedRecord) int { return a.Index - b.Index })
	slices.SortStableFunc(o.result.Routed, func(a, b RoutedRecord) int { return a.Index - b.Index })
	return &o.result, nil
}

// batchError says which batch of a request is broken, where it begins and why.
func batchError(topicName string, number, position int, err error) error {
	return codedError(err, "produce to %q: batch %d at byte %d: %w", topicName, number, position, err).
		With("batch", number).With("position", position)
}

// tooLarge is a record or batch over the topic's limit.
func tooLarge(t *topic, what string, size, limit int) error {
	return errcode.New(errcode.MessageTooLarge,
		"produce to %q: %s of %d bytes is over the limit of %d; send smaller ones or raise max.message.bytes", t.name, what, size, limit).
		With("limit", limit)
}
