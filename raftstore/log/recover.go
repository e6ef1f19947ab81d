package log

import (
	"errors"
	"fmt"
	"io"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// recoverState sets the log's state from what is on disk: it reads the last segment, cuts a torn tail, makes
// the rest durable (it may be in the page cache only: see rewrite), and removes the files of interrupted
// operations.
func (l *Log) recoverState(set *segmentSet) error {
	l.sequence = set.sequence
	st := &logState{segments: set.segments, base: set.start.base, startOffset: set.start.startOffset}
	if n := len(set.segments); n > 0 {
		if err := l.openTail(set.segments[n-1]); err != nil {
			return err
		}
		st.base = set.segments[0].base()
	}
	st.startOffset = min(max(st.startOffset, st.base.offset), st.tail().nextOffset)
	l.state.Store(st)
	l.noteDurableLocked(st.tail().lastIndex, st.tail().nextOffset)
	if err := l.checkUnused(set); err != nil {
		return err
	}
	for _, name := range set.leftovers {
		if err := l.fs.Remove(name); err != nil {
			return fmt.Errorf("remove leftover: %w", err)
		}
	}
	l.keepSpare()
	return nil
}

// openTail opens the last segment for appending.
func (l *Log) openTail(s *segment) error {
	f, err := l.fs.Open(s.name)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	tail, rest, err := s.recoverTail(f)
	if err == nil {
		err = s.rewrite(f, rest.durable, tail.size)
	}
	if err == nil && rest.frames {
		// Frames of unacknowledged writes lie beyond the tail. If a new frame ended exactly where one of them
		// begins, a later scan could take it for the continuation.
		err = s.writeCut(f, tail.size)
	}
	if err != nil {
		_ = f.Close()
		return err
	}
	s.file, s.refs = f, 1
	s.tail.Store(tail)
	l.active, l.file, l.durable = s, f, tail.size
	return nil
}

// rewrite writes the header block, and everything from from to end, over itself and makes it durable. from is an
// end of bytes that are known to be durable already; the header's activation and cuts never are.
//
// What was read may be in the page cache only. After a killed process a sync would do; after a failed sync it
// would not: see vfs.Rewrite.
func (s *segment) rewrite(f vfs.File, from, end int64) error {
	if err := vfs.Rewrite(f, 0, segmentHeaderSize); err != nil {
		return fmt.Errorf("rewrite %s: %w", s.name, err)
	}
	if err := vfs.Rewrite(f, max(from, segmentHeaderSize), end); err != nil {
		return fmt.Errorf("rewrite %s: %w", s.name, err)
	}
	if err := f.SyncData(); err != nil {
		return fmt.Errorf("sync %s: %w", s.name, err)
	}
	return nil
}

// recoverTail scans the last segment, which is not sealed. It returns a *CorruptionError if a frame after the
// last valid one proves that the damage is not a torn tail.
func (s *segment) recoverTail(f io.ReaderAt) (*segmentTail, trailing, error) {
	scan := s.scan(f, s.capacity)
	tail := s.emptyTail()
	durable := int64(0)
	var h frameHeader
	for {
		pos := scan.pos
		err := scan.next(&h)
		if err == nil {
			tail.index = appendIndex(tail.index, pos, &h, s.baseIndex, tail.maxTimestamp)
			tail.size, tail.lastIndex, tail.lastTerm, tail.nextOffset = scan.pos, h.index, h.term, h.nextOffset
			tail.maxTimestamp = max(tail.maxTimestamp, h.maxTimestamp)
			durable = max(durable, int64(h.durable))
			continue
		}
		if errors.Is(err, io.EOF) {
			return tail, trailing{durable: durable}, nil
		}
		var why *scanStop
		if !errors.As(err, &why) {
			return nil, trailing{}, fmt.Errorf("read %s: %w", s.name, err)
		}
		rest, err := s.checkTail(scan, why)
		rest.durable = durable
		return tail, rest, err
	}
}

// checkTail decides whether a scan that stopped within the last segment met a torn tail or damage. A frame
// further on that was written when the place was durable already proves damage. No such frame means that the
// place was never known to be durable: nothing there was acknowledged under FlushFsync.
func (s *segment) checkTail(scan *frameScan, why error) (trailing, error) {
	rest, err := scan.search()
	if err != nil {
		return trailing{}, fmt.Errorf("read %s: %w", s.name, err)
	}
	if rest.provenAt != 0 {
		return rest, corrupt(s.name, scan.pos, "%v; the frame at byte %d was written after this place was durable", why, rest.provenAt)
	}
	return rest, nil
}

// writeCut durably voids every frame at or after pos. The frames before it must be durable already.
func (s *segment) writeCut(f vfs.File, pos int64) error {
	c := segmentCut{generation: s.cut.generation + 1, pos: pos}
	if _, err := f.WriteAt(c.encode(s.seed), c.slot()); err != nil {
		return fmt.Errorf("cut %s at %d: %w", s.name, pos, err)
	}
	if err := f.SyncData(); err != nil {
		return fmt.Errorf("cut %s at %d: %w", s.name, pos, err)
	}
	s.cut = c
	return nil
}

// checkUnused examines the segments after the last one that have no valid activation. A crash may have
// interrupted one when it became active; but if its frames prove that the activation was durable, entries are
// missing. None is used again: frames under its present salt may lie anywhere in it.
func (l *Log) checkUnused(set *segmentSet) error {
	for _, u := range set.unused {
		if err := u.checkUnused(); err != nil {
			return err
		}
		set.leftovers = append(set.leftovers, u.name)
	}
	return nil
}

func (s *segment) checkUnused() error {
	f, err := s.fs.OpenReadOnly(s.name)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	defer f.Close()
	return s.checkInactive(f)
}

// checkInactive is checkUnused of one open file. Of a segment that was never written it reads a few bytes only.
func (s *segment) checkInactive(f io.ReaderAt) error {
	b := make([]byte, frameHeaderSize)
	if _, err := f.ReadAt(b[:activationSize], activationPos); err != nil {
		return fmt.Errorf("read %s: %w", s.name, err)
	}
	zero := true
	for _, c := range b[:activationSize] {
		zero = zero && c == 0
	}
	if _, err := f.ReadAt(b, segmentHeaderSize); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s: %w", s.name, err)
	}
	var h frameHeader
	if zero && h.decode(b, s.seed) != nil {
		return nil
	}
	rest, err := s.scan(f, s.capacity).search()
	if err != nil {
		return fmt.Errorf("read %s: %w", s.name, err)
	}
	if rest.provenAt != 0 {
		return corrupt(s.name, activationPos, "the activation record does not check; the frame at byte %d was written after it was durable", rest.provenAt)
	}
	return nil
}
