package partition

import (
	"context"
	"errors"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/raftstore/log"
)

// Bounds is where a partition's readable records begin and end.
type Bounds struct {
	LogStart      int64
	HighWatermark int64 // exclusive
}

// Bounds is safe for concurrent use. The two are read one after the other: LogStart may already have
// moved past a HighWatermark that was read before, never past the true one.
func (p *Partition) Bounds() Bounds {
	return Bounds{HighWatermark: p.highWatermark.Load(), LogStart: p.logStart.Load()}
}

// Fetched is the outcome of a read.
type Fetched struct {
	Batches []byte // dst with whole record batches appended
	Bounds
	Next int64 // the offset to ask for next
}

// Fetch appends to dst whole committed batches, beginning with the one that holds offset, up to
// maxBytes but at least one. At the high watermark it appends nothing. OFFSET_OUT_OF_RANGE carries
// both bounds; SHUTTING_DOWN, or UNKNOWN_TOPIC_OR_PARTITION when it was deleted, once it is closing. Safe
// for concurrent use; never blocks on writers.
func (p *Partition) Fetch(dst []byte, offset int64, maxBytes int) (Fetched, error) {
	return p.fetch(dst, offset, maxBytes, p.highWatermark.Load())
}

// fetch reads below end, the high watermark or an offset before it where an entry ends.
func (p *Partition) fetch(dst []byte, offset int64, maxBytes int, end int64) (Fetched, error) {
	b := p.Bounds() // after end was read: not below it
	f := Fetched{Batches: dst, Bounds: b, Next: offset}
	if !p.life.beginRead() {
		return f, p.refusal("fetch "+p.name, p.life.now())
	}
	defer p.life.readers.RUnlock()
	if offset < b.LogStart || offset > b.HighWatermark {
		return f, p.outOfRange(offset, b)
	}
	if offset >= end {
		return f, nil
	}
	out, err := p.log.Read(dst, offset, end, maxBytes)
	if errors.Is(err, log.ErrOffsetOutOfRange) { // retention overtook us
		return f, p.outOfRange(offset, p.Bounds())
	}
	if err != nil {
		return f, p.readError(offset, err)
	}
	f.Batches = out
	for rest := out[len(dst):]; len(rest) > 0; {
		var batch record.Batch
		if batch, rest, err = record.Split(rest); err != nil {
			return f, p.readError(offset, err)
		}
		f.Next = batch.NextOffset()
	}
	return f, nil
}

func (p *Partition) outOfRange(offset int64, b Bounds) error {
	return errcode.New(errcode.OffsetOutOfRange,
		"fetch %s: offset %d is not in the log, which begins at %d and ends before %d; use one of these or earliest/latest",
		p.name, offset, b.LogStart, b.HighWatermark).
		With("log_start_offset", b.LogStart).With("high_watermark", b.HighWatermark)
}

func (p *Partition) readError(offset int64, err error) error {
	p.logger.Error("read failed", "partition", p.name, "offset", offset, "error", err)
	var damage *log.CorruptionError
	if errors.As(err, &damage) {
		return errcode.New(errcode.CorruptMessage,
			"fetch %s at offset %d: the log on disk is damaged (%w); verify the partition's log and restore the file from a replica or backup",
			p.name, offset, err)
	}
	return errcode.New(errcode.StorageFailed, "fetch %s at offset %d: %w", p.name, offset, err)
}

// Advanced returns a channel that is closed when the high watermark next moves past offset; it is
// closed already if it has. Callers wait on it together with their own end.
func (p *Partition) Advanced(offset int64) <-chan struct{} {
	p.waitMu.Lock()
	defer p.waitMu.Unlock()
	// A state that changes after this look is followed by endWaits, which takes waitMu.
	if p.highWatermark.Load() > offset || p.life.now() >= closing {
		return closedChannel
	}
	if p.advanced == nil {
		p.advanced = make(chan struct{})
	}
	return p.advanced
}

var closedChannel = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// publish shows readers the new bounds and wakes those who wait. Only the applying goroutine calls
// it, so the bounds only grow.
func (p *Partition) publish(next, start int64) {
	p.waitMu.Lock()
	defer p.waitMu.Unlock()
	p.highWatermark.Store(next)
	p.logStart.Store(start)
	if p.advanced != nil {
		close(p.advanced)
		p.advanced = nil
	}
}

// endWaits wakes all waiters when the partition has begun to end; none come after that.
func (p *Partition) endWaits() {
	p.waitMu.Lock()
	defer p.waitMu.Unlock()
	if p.advanced != nil {
		close(p.advanced)
		p.advanced = nil
	}
}

// OffsetForTime is the offset of the first record whose timestamp is not before t; the high watermark
// when there is none.
func (p *Partition) OffsetForTime(ctx context.Context, t time.Time) (int64, error) {
	b := p.Bounds()
	ms := t.Add(time.Millisecond - 1).UnixMilli() // records know whole milliseconds: none is before t
	at, ok, err := p.lookUpTime(ms)
	if err != nil {
		return 0, err
	}
	if !ok || at >= b.HighWatermark {
		return b.HighWatermark, nil
	}
	// The log knows batches; the record is found by reading on from there.
	var dec record.Decoder
	var records []record.Record
	for at = max(at, b.LogStart); at < b.HighWatermark; {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		f, err := p.Fetch(nil, at, 64<<10)
		if err != nil {
			return 0, err
		}
		for batch, err := range record.All(f.Batches) {
			if err != nil {
				return 0, p.readError(at, err)
			}
			if batch.MaxTimestamp() < ms {
				continue
			}
			if records, err = dec.Decode(batch, records[:0]); err != nil {
				return 0, p.readError(at, err)
			}
			for _, r := range records {
				if r.Timestamp >= ms && batch.BaseOffset()+int64(r.OffsetDelta) >= b.LogStart {
					return batch.BaseOffset() + int64(r.OffsetDelta), nil
				}
			}
		}
		at = f.Next
	}
	return b.HighWatermark, nil
}

func (p *Partition) lookUpTime(ms int64) (int64, bool, error) {
	if !p.life.beginRead() {
		return 0, false, p.refusal("fetch "+p.name, p.life.now())
	}
	defer p.life.readers.RUnlock()
	at, ok, err := p.log.OffsetForTime(ms)
	if err != nil {
		return 0, false, p.readError(at, err)
	}
	return at, ok, nil
}
