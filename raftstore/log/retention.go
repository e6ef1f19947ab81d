package log

import (
	"fmt"
	"time"
)

// Retention is what a log may drop at its start.
type Retention struct {
	// MaxBytes is how many bytes of frames the log keeps; 0 is no limit.
	MaxBytes int64
	// MaxAge is the greatest age, at Now, of the newest record in a segment that is kept; 0 is no limit.
	MaxAge time.Duration
	Now    time.Time
	// BeforeOffset is the new log start offset, if it is greater than the present one: earlier records cannot
	// be read any more. Their segments are dropped when all of their records are earlier.
	BeforeOffset int64
}

// Trimmed is what Retain did.
type Trimmed struct {
	Segments int
	Bytes    int64
	// StartOffset and FirstIndex are those of the log afterwards.
	StartOffset int64
	FirstIndex  uint64
}

// Retain drops sealed segments from the start of the log as far as the retention allows, but no entry after
// safeIndex, the index up to which a durable snapshot covers the log: raft could not start without it. Durable
// when it returns. Appends and reads go on meanwhile.
func (l *Log) Retain(p Retention, safeIndex uint64) (Trimmed, error) {
	l.removeMu.Lock()
	defer l.removeMu.Unlock()
	l.mu.Lock()
	n := l.expiredLocked(p, l.droppableLocked(safeIndex))
	l.mu.Unlock()
	trimmed, err := l.dropBefore(n, p.BeforeOffset)
	if err != nil {
		return trimmed, fmt.Errorf("retain: %w", err)
	}
	return trimmed, nil
}

// droppableLocked counts the sealed segments that hold no entry after an index.
func (l *Log) droppableLocked(index uint64) int {
	segments := l.state.Load().segments
	n := 0
	for n < len(segments)-1 && segments[n].tail.Load().lastIndex <= index {
		n++
	}
	return n
}

// expiredLocked counts how many of the first n segments the retention drops. A segment that stays keeps all
// that follow.
func (l *Log) expiredLocked(p Retention, n int) int {
	size := l.SizeBytes()
	for i, s := range l.state.Load().segments[:n] {
		tail := s.tail.Load()
		tooOld := p.MaxAge > 0 && tail.maxTimestamp < p.Now.Add(-p.MaxAge).UnixMilli()
		tooMuch := p.MaxBytes > 0 && size-tail.size >= p.MaxBytes
		if !tooOld && !tooMuch && tail.nextOffset > p.BeforeOffset {
			return i
		}
		size -= tail.size
	}
	return n
}

// dropBefore drops the first n segments and raises the log start offset to start, or to the log's end. The
// caller holds removeMu, so that the first n segments are the same throughout, while appends add to the end:
// the state is read again before it is replaced.
//
// The log is durable up to its end before the start file is: the entry that asked for the new start is in it, and
// must not be lost while its effect stays.
//
// The start file is durable before anything is dropped. A crash after that leaves files of segments that have left
// the log, which Open removes by their sequence. Only then do readers see the new state, and only then are the
// files discarded: a reader of the old state either has a segment open, which keeps its file from being recycled,
// or gets errSegmentDropped and starts again with the new state.
func (l *Log) dropBefore(n int, start int64) (Trimmed, error) {
	l.mu.Lock()
	err := l.usableLocked()
	st := l.state.Load()
	l.mu.Unlock()
	if err != nil {
		return Trimmed{}, err
	}
	base := st.base
	if n > 0 {
		base = st.segments[n].base()
	}
	start = max(st.startOffset, base.offset, min(start, st.tail().nextOffset))
	trimmed := Trimmed{Segments: n, StartOffset: start}
	trimmed.FirstIndex, _ = st.bounds()
	if n == 0 && start == st.startOffset {
		return trimmed, nil
	}
	if err := l.Sync(); err != nil {
		return Trimmed{}, err
	}
	if err := l.writeStart(logStart{base: base, startOffset: start}); err != nil {
		return Trimmed{}, l.startUncertain(err)
	}
	l.mu.Lock()
	now := *l.state.Load()
	gone := now.segments[:n]
	now.segments, now.base, now.startOffset = now.segments[n:], base, start
	l.state.Store(&now)
	l.maintenance.prepareFailed = l.maintenance.prepareFailed && n == 0
	l.mu.Unlock()
	trimmed.FirstIndex, _ = now.bounds()
	for _, s := range gone {
		trimmed.Bytes += s.tail.Load().size
		l.discard(s, s.name)
	}
	l.keepSpare()
	return trimmed, nil
}

// RetentionOffset returns the offset at which the log would start if everything that the retention allows
// were dropped now, even what snapshots still need. The leader proposes it as the new log start offset, so
// that all replicas agree on it; each then calls Retain with it as BeforeOffset.
func (l *Log) RetentionOffset(p Retention) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := l.state.Load()
	if len(st.segments) == 0 {
		return st.startOffset
	}
	n := l.expiredLocked(p, len(st.segments)-1)
	return max(st.startOffset, st.segments[n].baseOffset)
}
