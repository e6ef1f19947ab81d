package client

import (
	"sync"
	"time"

	"github.com/wasmill/wasmill/core/record"
)

const (
	recordOverhead  = 64      // memory that a buffered record takes besides its bytes, about
	headerOverhead  = 16      // and each of its headers
	maxBatchRecords = 1 << 16 // records in a batch, however small
)

// openBatch is a batch that gathers records.
type openBatch struct {
	builder *record.Builder
	count   int
	weight  int64 // of the producer's memory
	first   time.Time
	done    []func(Report) // nil, or as long as the last record with a report needs
}

// builders are kept for reuse: their buffers have grown to the size of a batch.
var builders = sync.Pool{New: func() any { return new(record.Builder) }}

// queue holds one partition's records until its goroutine delivers them. Lock order: queue.mu before
// Producer.mu.
type queue struct {
	p         *Producer
	partition int32
	wake      chan struct{} // a token: look again

	mu      sync.Mutex
	started bool
	closed  bool
	hurried bool // seal the open batch without waiting
	open    *openBatch
	sealed  []*openBatch

	// The goroutine's own.
	id   identity
	body []byte // of the request under way, reused
}

// add appends a record to the open batch and seals the batch when it is full.
func (q *queue) add(r record.Record, weight int64, done func(Report)) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ErrProducerClosed
	}
	if !q.started {
		if err := q.p.start(q); err != nil {
			return err
		}
		q.started = true
	}
	if q.open != nil && (q.open.builder.Bytes()+int(weight) > q.p.o.MaxBatchBytes || q.open.count >= maxBatchRecords) {
		q.sealLocked()
	}
	if q.open == nil {
		b := builders.Get().(*record.Builder)
		b.Reset(record.BuilderOptions{Codec: q.p.o.Codec})
		q.open = &openBatch{builder: b, first: time.Now()}
	}
	b := q.open
	full := q.p.o.BatchBytes
	before := b.builder.Bytes()
	b.builder.Append(r) // a record that it cannot encode is Build's error
	if done != nil {
		for len(b.done) < b.count {
			b.done = append(b.done, nil)
		}
		b.done = append(b.done, done)
	}
	b.count++
	b.weight += weight
	switch {
	case before < full && b.builder.Bytes() >= full:
		q.signal()
	case b.count == 1:
		q.signal() // the linger begins
	}
	return nil
}

func (q *queue) sealLocked() {
	q.sealed = append(q.sealed, q.open)
	q.open = nil
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// hurry has the open batch sent without waiting for more.
func (q *queue) hurry() {
	q.mu.Lock()
	q.hurried = q.open != nil
	q.mu.Unlock()
	q.signal()
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

// run delivers batches until the queue is closed and empty.
func (q *queue) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		b, wait, ended := q.take(time.Now())
		if ended {
			return
		}
		if b != nil {
			q.deliver(b)
			continue
		}
		timer.Reset(wait)
		select {
		case <-q.wake:
		case <-timer.C:
		}
	}
}

// take removes the batch to send next. Without one it returns how long to wait for the open batch.
func (q *queue) take(now time.Time) (b *openBatch, wait time.Duration, ended bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	wait = time.Hour
	if q.open != nil && len(q.sealed) == 0 {
		wait = q.p.o.Linger - now.Sub(q.open.first)
		if wait <= 0 || q.hurried || q.closed || q.open.builder.Bytes() >= q.p.o.BatchBytes {
			q.sealLocked()
			q.hurried = false
		}
	}
	if len(q.sealed) == 0 {
		return nil, wait, q.closed && q.open == nil
	}
	b = q.sealed[0]
	q.sealed = append(q.sealed[:0], q.sealed[1:]...)
	return b, 0, false
}
