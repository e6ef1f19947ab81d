package log

import (
	"errors"
	"fmt"
	"path"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// DeleteRange implements raft.LogStore for inclusive ranges that begin or end with the log; indexes that the
// log does not hold are ignored. A range that reaches the last index is a truncation, durable when it
// returns. Another one that starts at the first index drops whole segments only: entries that share a
// segment with later ones stay.
func (l *Log) DeleteRange(from, to uint64) error {
	l.removeMu.Lock()
	defer l.removeMu.Unlock()
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

// truncateLocked removes all entries from index on; the log holds index. After an error the log has failed.
//
// What becomes durable, in this order: all bytes before the cut (one sync: the cut's record must not outlive
// them); a lower start offset, if the log would end before it; the later segments' new names, from the last
// to the first; the cut in the segment that stays. A crash after any of these leaves a log that ends at an
// entry which it had, at or after index-1, and never one with a hole.
//
// Readers go on meanwhile and may have loaded the state before:
//
//   - A later segment loses its name, so it is opened here for those who have not opened it yet. It is
//     discarded when the last of them has released it.
//   - The segment that stays is described by a new *segment, since a tail only ever grows. Readers of the old
//     one may read beyond the cut, where new entries are written over the frames that they expect: their
//     checksums then fail. The new state's truncations tells them apart from damage (see retrying).
//   - A Sync that is under way finds another active segment when it ends (see Sync).
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
		if err := l.writeStart(logStart{base: st.base, startOffset: st.startOffset}); err != nil {
			return err
		}
	}
	n := len(st.segments)
	for ; st.segments[n-1] != keep; n-- {
		if _, err := st.segments[n-1].acquire(); err != nil {
			return err
		}
		defer st.segments[n-1].release()
		if err := l.markDropped(st.segments[n-1]); err != nil {
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
	st.truncations++
	l.active.release()
	l.active, l.file, l.durable = s, file, tail.size
	l.noteRoomLocked()
	l.noteRemoved(l.state.Load())
	l.state.Store(&st)
	l.noteDurableLocked(tail.lastIndex, tail.nextOffset)
	l.cache.forget(keep)
	keep.drop(closeFile)
	for _, g := range gone {
		l.discard(g, droppedName(g))
	}
	return nil
}

// reopened describes the same file with a shorter tail, open for writing.
func (s *segment) reopened(file vfs.File, tail *segmentTail) *segment {
	n := &segment{
		fs: s.fs, name: s.name, segmentIdentity: s.segmentIdentity, segmentActivation: s.segmentActivation,
		seed: s.seed, cut: s.cut, file: file, refs: 1,
	}
	n.tail.Store(tail)
	return n
}

// tailBefore returns the tail that the segment has without the entries from index on.
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

// Reset removes all entries. The log then continues a snapshot: index and term are those of the last entry that
// the snapshot covers, and offset is the log end offset after that entry. All three come from the snapshot, never
// from this log, whose end may be that of another history. The next entry must be index+1, its records start at
// offset, which is also the new log start offset, and GetLog(index) returns an entry with index and term.
//
// It is for the installation of a snapshot whose last entry the log does not hold: if GetLog(index) returns an
// entry of the same term, the log agrees with the snapshot up to there and must be kept, since entries after it may
// be acknowledged. The snapshot must be durable first. Durable when it returns; a crash before that leaves the log
// as it was, so that whoever opens log and snapshot compares them and calls Reset again.
//
// After ErrDiskFull the log is as before. Call it while Raft does not store entries, as in the snapshot sink's
// Close. Until entries are stored, GetLog returns term 0 for the indexes after the snapshot up to the log's former
// last one: see there.
func (l *Log) Reset(index, term uint64, offset int64) error {
	l.removeMu.Lock()
	defer l.removeMu.Unlock()
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

// resetLocked sets base.sequence. The one durable step is the replacement of the start file: after it every
// segment file up to that sequence is a leftover, whether it is removed here or by the next Open. A segment
// that maintenance is making has such a sequence: it must be in l.next before, not appear there after.
func (l *Log) resetLocked(base logBase) error {
	for l.maintenance.preparing {
		l.maintenance.prepared.Wait()
		if err := l.usableLocked(); err != nil {
			return err
		}
	}
	defer l.noteRoomLocked()
	base.sequence = l.sequence
	if err := l.writeStart(logStart{base: base, startOffset: base.offset}); err != nil {
		return l.startUncertain(err)
	}
	old := l.state.Load()
	l.noteRemoved(old)
	l.state.Store(&logState{base: base, startOffset: base.offset, truncations: old.truncations + 1})
	l.noteDurableLocked(base.index, base.offset)
	if l.next != nil {
		_ = l.next.file.Close() // it holds no entries
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

// noteRemoved remembers where the log ended before entries were removed from its end, for GetLog. It comes before
// the new state. Several removals may come before the next entries: Raft's last entry is that of the first one.
func (l *Log) noteRemoved(old *logState) {
	l.removedLast.Store(max(l.removedLast.Load(), old.tail().lastIndex))
}

// startUncertain handles a failed replacement of the start file. A lack of space means that nothing happened.
// After any other error it is unknown which of the two files a crash would leave: the log fails.
func (l *Log) startUncertain(err error) error {
	if full := diskFull(err); errors.Is(full, ErrDiskFull) {
		return full
	}
	return l.fail(err)
}

// droppedName is the name of a segment file that has left the end of the log. Open removes such files.
func droppedName(s *segment) string {
	return sequenceName(path.Dir(s.name), s.sequence, droppedSuffix)
}

// markDropped durably renames a segment's file, which readers may have open.
func (l *Log) markDropped(s *segment) error {
	if err := l.fs.Rename(s.name, droppedName(s)); err != nil {
		return fmt.Errorf("drop %s: %w", s.name, err)
	}
	return l.fs.SyncDir(l.dir)
}

// discard gives the file of a segment that has left the log to the recycler, or removes it, when no reader
// holds it any more: at once, or in the last reader's release. Until then the file must not be written by its
// next owner. name is the file's present name. An error only leaves a file that the next Open removes.
func (l *Log) discard(s *segment, name string) {
	l.cache.forget(s)
	index := s.indexName()
	s.drop(func(f vfs.File) {
		closeFile(f)
		_ = l.fs.Remove(index)
		if r := l.o.Recycler; r == nil || !r.put(name) {
			if err := l.fs.Remove(name); err != nil {
				l.o.Logger.Warn("dropped log segment not removed; the next start removes it", "file", name, "error", err)
			}
		}
	})
}

func closeFile(f vfs.File) {
	if f != nil {
		_ = f.Close()
	}
}
