package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/wasmill/wasmill/core/record"
)

// ProducerOptions configure a Producer of one topic. Zero values mean the defaults.
type ProducerOptions struct {
	Topic            string
	Codec            record.Codec  // compression of the batches; default none
	BatchBytes       int           // a batch is sent at this size, before compression; default 64 KiB
	MaxBatchBytes    int           // and grows to this one while the one before is pending; default 512 KiB
	Linger           time.Duration // how long an idle partition waits for more records; default 5 ms, negative for none
	MaxBufferedBytes int64         // Send blocks while this much is not yet reported; default 64 MiB
	MaxInFlight      int           // requests at a time, one per partition; default 8
	DeliveryTimeout  time.Duration // a batch fails that is not written so long after its first record came; default 2 min
	NotIdempotent    bool          // no producer id: attempts that may have taken effect are not repeated
}

func (o ProducerOptions) withDefaults() ProducerOptions {
	o.BatchBytes = cmp.Or(max(o.BatchBytes, 0), 64<<10)
	o.MaxBatchBytes = max(cmp.Or(max(o.MaxBatchBytes, 0), 512<<10), o.BatchBytes)
	o.Linger = cmp.Or(o.Linger, 5*time.Millisecond)
	o.MaxBufferedBytes = cmp.Or(max(o.MaxBufferedBytes, 0), 64<<20)
	o.MaxInFlight = cmp.Or(max(o.MaxInFlight, 0), 8)
	o.DeliveryTimeout = cmp.Or(max(o.DeliveryTimeout, 0), 2*time.Minute)
	return o
}

// Outcome is what became of a record.
type Outcome uint8

// The outcomes of a record.
const (
	Kept     Outcome = iota // written to its partition
	Dropped                 // a pipeline left it out
	Rejected                // a pipeline refused it: Code and Message say why
	Routed                  // a pipeline sent it to other topics
	Failed                  // not delivered, or not known to be: Err says why
)

// String is the outcome in lower case.
func (o Outcome) String() string {
	return [...]string{"kept", "dropped", "rejected", "routed", "failed"}[o]
}

// Report is what became of one record.
type Report struct {
	Topic     string
	Partition int32
	Outcome   Outcome
	Offset    int64          // of a kept record; -1 otherwise, or when the broker no longer knew it
	Duplicate bool           // an earlier attempt had written it; its pipeline's verdict is not repeated
	Rejected  RejectedRecord // with Rejected
	Routed    []RoutedRecord // where it went besides, or instead
	Err       error          // with Failed
}

// Totals count what a Producer has done so far.
type Totals struct {
	Records, Kept, Dropped, Rejected, Routed, Failed int64
	Bytes                                            int64 // keys and values as given
	WireBytes                                        int64 // bodies of successful requests
	Requests, Retries                                int64
}

// ErrProducerClosed is returned by Send after Close.
var ErrProducerClosed = errors.New("the producer is closed")

// ErrRecordTooLarge is returned by Send for a record that exceeds MaxBufferedBytes.
var ErrRecordTooLarge = errors.New("the record is larger than the producer's buffer")

// Producer gathers records into record batches, per partition, and delivers them in order. It is
// idempotent: every batch has a producer id, an epoch and a sequence number, so that however often
// an attempt is repeated the broker writes it once. One request, of one batch, is under way per
// partition at a time; what arrives meanwhile travels together in the next one, so batches grow with
// the load.
//
// All methods are safe for concurrent use. Reports run on the partition's goroutine, in order: they
// must not block nor call the Producer.
type Producer struct {
	c       *Client
	o       ProducerOptions
	queues  []*queue
	keyless atomic.Int64        // bytes of records without a key: they say which partition's turn it is
	memory  *semaphore.Weighted // MaxBufferedBytes
	slots   chan struct{}       // MaxInFlight

	ctx    context.Context // ends with Abort, or when Close gives up
	cancel context.CancelFunc
	wg     sync.WaitGroup // the queues' goroutines

	outstanding atomic.Int64 // records without a report
	totals      totals

	mu     sync.Mutex
	idle   chan struct{} // closed when outstanding falls to 0; nil while no caller waits
	closed bool

	idMu    sync.Mutex
	firstID *ProducerID // shared by partitions whose sequence was never lost
}

type totals struct {
	records, kept, dropped, rejected, routed, failed, bytes, wireBytes, requests, retries atomic.Int64
}

// NewProducer asks the broker how many partitions the topic has. The caller closes the result.
func NewProducer(ctx context.Context, c *Client, o ProducerOptions) (*Producer, error) {
	t, err := c.Topic(ctx, o.Topic)
	if err != nil {
		return nil, fmt.Errorf("open producer: %w", err)
	}
	const mostPartitions = 1 << 20
	if t.Partitions < 1 || t.Partitions > mostPartitions {
		return nil, fmt.Errorf("open producer: %w: topic %s has %d partitions", ErrBadAnswer, o.Topic, t.Partitions)
	}
	o = o.withDefaults()
	if limit, err := strconv.Atoi(t.Effective["max.message.bytes"]); err == nil && limit > 0 {
		o.MaxBatchBytes = min(o.MaxBatchBytes, limit)
		o.BatchBytes = min(o.BatchBytes, limit)
	}
	p := &Producer{c: c, o: o}
	p.open(t.Partitions)
	return p, nil
}

// open makes the queues.
func (p *Producer) open(partitions int32) {
	p.memory = semaphore.NewWeighted(p.o.MaxBufferedBytes)
	p.slots = make(chan struct{}, p.o.MaxInFlight)
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.queues = make([]*queue, partitions)
	for i := range p.queues {
		p.queues[i] = &queue{p: p, partition: int32(i), wake: make(chan struct{}, 1)}
	}
}

// Partitions is the number of partitions that the producer writes to.
func (p *Producer) Partitions() int32 { return int32(len(p.queues)) }

// Send puts a record into the partition that its key chooses as Kafka's clients do; records without
// a key go to one partition after the other, about BatchBytes of them at a time. See SendTo.
func (p *Producer) Send(ctx context.Context, r record.Record, done func(Report)) error {
	n := int32(len(p.queues))
	if r.Key != nil {
		return p.SendTo(ctx, record.PartitionForKey(r.Key, n), r, done)
	}
	turn := p.keyless.Add(int64(len(r.Value)+recordOverhead)) / int64(p.o.BatchBytes)
	return p.SendTo(ctx, int32(turn%int64(n)), r, done)
}

// SendTo puts a record into a partition. It copies the record's bytes, takes the current time for a
// zero Timestamp, and blocks while MaxBufferedBytes is reached. done may be nil; after a nil error it
// runs exactly once.
func (p *Producer) SendTo(ctx context.Context, partition int32, r record.Record, done func(Report)) error {
	if partition < 0 || int(partition) >= len(p.queues) {
		return fmt.Errorf("send to %s/%d: the topic has partitions 0 to %d", p.o.Topic, partition, len(p.queues)-1)
	}
	payload := int64(len(r.Key) + len(r.Value))
	weight := payload + recordOverhead
	for _, h := range r.Headers {
		weight += int64(len(h.Key) + len(h.Value) + headerOverhead)
	}
	if weight > p.o.MaxBufferedBytes {
		return fmt.Errorf("send to %s/%d: %w: %d bytes", p.o.Topic, partition, ErrRecordTooLarge, weight)
	}
	if err := p.memory.Acquire(ctx, weight); err != nil {
		return fmt.Errorf("send to %s/%d: buffer is full: %w", p.o.Topic, partition, err)
	}
	if r.Timestamp == 0 {
		r.Timestamp = time.Now().UnixMilli()
	}
	p.outstanding.Add(1)
	if err := p.queues[partition].add(r, weight, done); err != nil {
		p.memory.Release(weight)
		p.finish(1)
		return fmt.Errorf("send to %s/%d: %w", p.o.Topic, partition, err)
	}
	p.totals.records.Add(1)
	p.totals.bytes.Add(payload)
	return nil
}

// Flush sends what is buffered and waits until every record has its report, those included that
// others send meanwhile.
func (p *Producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	if p.outstanding.Load() == 0 {
		p.mu.Unlock()
		return nil
	}
	if p.idle == nil {
		p.idle = make(chan struct{})
	}
	idle := p.idle
	p.mu.Unlock()
	for _, q := range p.queues {
		q.hurry()
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("flush producer of %s: %w", p.o.Topic, context.Cause(ctx))
	}
}

// finish takes n reported records off.
func (p *Producer) finish(n int64) {
	if p.outstanding.Add(-n) != 0 {
		return
	}
	p.mu.Lock()
	if p.idle != nil && p.outstanding.Load() == 0 {
		close(p.idle)
		p.idle = nil
	}
	p.mu.Unlock()
}

// Close delivers what is buffered and ends the producer. When ctx ends first, what is left fails,
// with reports, and ctx's error is returned. Idempotent.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	for _, q := range p.queues {
		q.close()
	}
	done := make(chan struct{})
	go func() {
		p.wg.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("close producer of %s: %w", p.o.Topic, context.Cause(ctx))
	}
	p.cancel()
	<-done
	return err
}

// Totals is a snapshot of the counts.
func (p *Producer) Totals() Totals {
	t := &p.totals
	return Totals{
		Records: t.records.Load(), Kept: t.kept.Load(), Dropped: t.dropped.Load(),
		Rejected: t.rejected.Load(), Routed: t.routed.Load(), Failed: t.failed.Load(),
		Bytes: t.bytes.Load(), WireBytes: t.wireBytes.Load(),
		Requests: t.requests.Load(), Retries: t.retries.Load(),
	}
}

// start runs a queue's goroutine unless the producer is closed.
func (p *Producer) start(q *queue) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrProducerClosed
	}
	p.wg.Go(q.run)
	return nil
}
