package log

import (
	"fmt"
	"time"
)

// Retention says what a log may lose at its front.
type Retention struct {
	// MaxBytes is what the log may keep, in bytes of frames; 0 is no limit.
	MaxBytes int64
	// MaxAge is how old a segment's newest record may be at Now; 0 is no limit.
	MaxAge time.Duration
	Now    time.Time
	// BeforeOffset is where readers may start at the earliest: records before it are gone for them at
	// once, and their segments when possible. 0 is none.
	BeforeOffset int64
}

// Trimmed is what Retain did.
type Trimmed struct {
	Segments int
	Bytes    int64
	// StartOffset and FirstIndex are the log's afterwards.
	StartOffset int64
	FirstIndex  uint64
}

// Retain drops sealed segments from the front as far as the retention allows. It never drops an entry
// behind safeIndex, the index of the newest durable snapshot: raft could not start without it. Durable
// when it returns. Appends and reads go on meanwhile.
func (l *Log) Retain(p Retention, safeIndex uint64) (Trimmed, error) {
	l.front.Lock()
	defer l.front.Unlock()
	l.mu.Lock()
	n := l.expiredLocked(p, l.droppableLocked(safeIndex))
	l.mu.Unlock()
	trimmed, err := l.dropBefore(n, p.BeforeOffset)
	if err != nil {
		return trimmed, fmt.Errorf("retain: %w", err)
	}
	return trimmed, nil
}

// droppableLocked counts the sealed segments whose entries all lie at or before an index.
func (l *Log) droppableLocked(index uint64) int {
	segments := l.state.Load().segments
	n := 0
	for n < len(segments)-1 && segments[n].tail.Load().lastIndex <= index {
		n++
	}
	return n
}

// expiredLocked counts how many of the first n segments the retention lets go. One segment that has to
// stay keeps all that follow.
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

// dropBefore drops the first n segments and moves the log start offset to at least start, as far as
// the log reaches. The caller holds front, so that the front of the log stays what it is.
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
	if err := writeStart(l.fs, l.dir, logStart{base: base, startOffset: start}); err != nil {
		return Trimmed{}, l.startUncertain(err)
	}
	l.mu.Lock()
	now := *l.state.Load()
	gone := now.segments[:n]
	now.segments, now.base, now.startOffset = now.segments[n:], base, start
	l.state.Store(&now)
	l.keeper.held = l.keeper.held && n == 0
	l.mu.Unlock()
	trimmed.FirstIndex, _ = now.bounds()
	for _, s := range gone {
		trimmed.Bytes += s.tail.Load().size
		l.discard(s, s.name)
	}
	return trimmed, nil
}

// RetentionOffset is where the log would start if everything that the retention allows were dropped
// now, whatever snapshots still need. The leader proposes it as the new log start offset, so that all
// replicas agree on it; each then calls Retain with that offset as BeforeOffset.
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
