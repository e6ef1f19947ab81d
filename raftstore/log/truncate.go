package log

import (
	"errors"
	"fmt"
	"path"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// DeleteRange implements raft.LogStore for ranges that touch an end of the log (inclusive; what the
// log does not hold is ignored). A range that reaches the last index is a truncation, durable when it
// returns. Another one that starts at the first index drops whole segments only: entries that share a
// segment with later ones stay.
func (l *Log) DeleteRange(from, to uint64) error {
	l.front.Lock()
	defer l.front.Unlock()
	if err := l.Failed(); err != nil {
		return err
	}
	first, last := l.state.Load().bounds()
	switch {
	case first == 0 || from > last || to < first || from > to:
		return nil
	case to >= last:
		return l.truncate(max(from, first))
	case from <= first:
		l.mu.Lock()
		n := l.droppableLocked(to)
		l.mu.Unlock()
		_, err := l.dropBefore(n, 0)
		return err
	default:
		return fmt.Errorf("delete raft indexes %d to %d of %d to %d: not at an end of the log", from, to, first, last)
	}
}

func (l *Log) truncate(index uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usableLocked(); err != nil {
		return err
	}
	if err := l.truncateLocked(index); err != nil {
		return l.fail(fmt.Errorf("truncate from raft index %d: %w", index, err))
	}
	return nil
}

// truncateLocked removes all entries from index on, which the log holds. Later segments go first, each
// durably, so that a crash in between leaves a log that only ends later.
func (l *Log) truncateLocked(index uint64) error {
	st := *l.state.Load()
	keep := st.segmentOfIndex(index)
	old, err := l.open(keep)
	if err != nil {
		return err
	}
	tail, err := old.tailBefore(index)
	old.release()
	if err != nil {
		return err
	}
	if err := l.syncActiveLocked(); err != nil {
		return err
	}
	if st.startOffset > tail.nextOffset {
		st.startOffset = tail.nextOffset
		if err := writeStart(l.fs, l.dir, logStart{base: st.base, startOffset: st.startOffset}); err != nil {
			return err
		}
	}
	n := len(st.segments)
	for ; st.segments[n-1] != keep; n-- {
		// Readers of the present state must be able to go on: opened now, since the name goes.
		if _, err := st.segments[n-1].acquire(); err != nil {
			return err
		}
		defer st.segments[n-1].release()
		if err := l.hide(st.segments[n-1]); err != nil {
			return err
		}
	}
	file, err := l.fs.Open(keep.name)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	s := keep.reopened(file, tail)
	if err := s.writeCut(file, tail.size); err != nil {
		_ = file.Close()
		return err
	}
	gone := st.segments[n:]
	st.segments = append(st.segments[:n-1:n-1], s)
	st.epoch++
	l.active.release()
	l.active, l.file, l.durable = s, file, tail.size
	l.noteRoomLocked()
	l.state.Store(&st)
	l.durableIndex.Store(tail.lastIndex)
	l.loaded.forget(keep)
	keep.drop(closeFile)
	for _, g := range gone {
		l.discard(g, hiddenName(g))
	}
	return nil
}

// reopened describes the same file anew: readers of an older state keep the old description.
func (s *segment) reopened(file vfs.File, tail *segmentTail) *segment {
	n := &segment{
		fs: s.fs, name: s.name, segmentIdentity: s.segmentIdentity, segmentActivation: s.segmentActivation,
		seed: s.seed, cut: s.cut, file: file, refs: 1,
	}
	n.tail.Store(tail)
	return n
}

// tailBefore is the tail that the segment has without the entries from index on.
func (s openSegment) tailBefore(index uint64) (*segmentTail, error) {
	tail := s.emptyTail()
	if index <= s.baseIndex {
		return tail, nil
	}
	at := s.seekIndex(s.index, index-1)
	tail.maxTimestamp = at.maxBefore
	w := newFileWindow(s.file, s.end.size)
	var h frameHeader
	for tail.lastIndex+1 < index {
		b, err := w.view(at.pos, frameHeaderSize)
		if err != nil {
			return nil, fmt.Errorf("read %s at %d: %w", s.name, at.pos, err)
		}
		if err := s.decode(b, at, &h); err != nil {
			return nil, err
		}
		at = at.next(&h)
		tail.size, tail.lastIndex, tail.lastTerm, tail.nextOffset = at.pos, h.index, h.term, h.nextOffset
		tail.maxTimestamp = max(tail.maxTimestamp, h.maxTimestamp)
	}
	for _, e := range s.index {
		if int64(e.pos) < tail.size {
			tail.index = append(tail.index, e)
		}
	}
	return tail, nil
}

// Reset empties the log and lets it start anew behind an entry that a snapshot holds: the next entry
// must be index+1, and its records start at offset. Durable when it returns.
func (l *Log) Reset(index, term uint64, offset int64) error {
	l.front.Lock()
	defer l.front.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usableLocked(); err != nil {
		return err
	}
	if err := l.resetLocked(logBase{index: index, term: term, offset: offset}); err != nil {
		return fmt.Errorf("reset to raft index %d: %w", index, err)
	}
	return nil
}

// resetLocked chooses base's sequence itself. Once the start file is replaced every segment file is a
// leftover.
func (l *Log) resetLocked(base logBase) error {
	for l.keeper.preparing {
		l.keeper.changed.Wait()
		if err := l.usableLocked(); err != nil {
			return err
		}
	}
	defer l.noteRoomLocked()
	base.sequence = l.sequence
	if err := writeStart(l.fs, l.dir, logStart{base: base, startOffset: base.offset}); err != nil {
		return l.startUncertain(err)
	}
	old := l.state.Load()
	l.state.Store(&logState{base: base, startOffset: base.offset, epoch: old.epoch + 1})
	l.durableIndex.Store(base.index)
	if l.next != nil {
		_ = l.next.file.Close() // a leftover now, removed here or at the next open
		_ = l.fs.Remove(l.next.name)
		l.next = nil
	}
	if l.active != nil {
		l.active.release()
		l.active, l.file, l.durable = nil, nil, 0
	}
	for _, s := range old.segments {
		l.discard(s, s.name)
	}
	return nil
}

// startUncertain handles a failed replacement of the start file: for want of space nothing happened,
// otherwise nobody knows which of the two a crash would leave.
func (l *Log) startUncertain(err error) error {
	if full := diskFull(err); errors.Is(full, ErrDiskFull) {
		return full
	}
	return l.fail(err)
}

func hiddenName(s *segment) string {
	return sequenceName(path.Dir(s.name), s.sequence, droppedSuffix)
}

// hide takes a segment's name away durably; whoever reads it keeps it open.
func (l *Log) hide(s *segment) error {
	if err := l.fs.Rename(s.name, hiddenName(s)); err != nil {
		return fmt.Errorf("drop %s: %w", s.name, err)
	}
	return l.fs.SyncDir(l.dir)
}

// discard lets a segment that left the log go as soon as nobody reads it: into the recycler, or away.
// name is what its file is called now. Errors only leave files behind that the next Open removes.
func (l *Log) discard(s *segment, name string) {
	l.loaded.forget(s)
	index := s.indexName()
	s.drop(func(f vfs.File) {
		closeFile(f)
		_ = l.fs.Remove(index)
		if r := l.o.Recycler; r == nil || !r.put(name) {
			if err := l.fs.Remove(name); err != nil {
				l.o.Logger.Warn("a dropped segment could not be removed", "file", name, "err", err)
			}
		}
	})
}

func closeFile(f vfs.File) {
	if f != nil {
		_ = f.Close()
	}
}
