package raftstore

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
// when it returns.
func (l *Log) Retain(p Retention, safeIndex uint64) (Trimmed, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usableLocked(); err != nil {
		return Trimmed{}, err
	}
	st := l.state.Load()
	n := l.expiredLocked(p, l.droppableLocked(safeIndex))
	start := max(st.startOffset, min(p.BeforeOffset, st.tail().nextOffset))
	if n == 0 && start == st.startOffset {
		first, _ := st.bounds()
		return Trimmed{StartOffset: start, FirstIndex: first}, nil
	}
	trimmed, err := l.dropBeforeLocked(n, start)
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

// dropBeforeLocked drops the first n segments and moves the log start offset to at least start.
func (l *Log) dropBeforeLocked(n int, start int64) (Trimmed, error) {
	st := *l.state.Load()
	if n > 0 {
		first := st.segments[n]
		st.base = logBase{index: first.baseIndex - 1, term: first.prevTerm, offset: first.baseOffset, sequence: first.prevSequence}
	}
	st.startOffset = max(start, st.base.offset)
	if err := writeStart(l.fs, l.dir, logStart{base: st.base, startOffset: st.startOffset}); err != nil {
		return Trimmed{}, l.startUncertain(err)
	}
	gone := st.segments[:n]
	st.segments = st.segments[n:]
	l.state.Store(&st)
	trimmed := Trimmed{Segments: n, StartOffset: st.startOffset}
	trimmed.FirstIndex, _ = st.bounds()
	for _, s := range gone {
		trimmed.Bytes += s.tail.Load().size
		l.discard(s, s.name)
	}
	l.keeper.held = l.keeper.held && n == 0
	return trimmed, nil
}
