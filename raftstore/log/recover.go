package log

import (
	"errors"
	"fmt"
	"io"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// adopt makes what was found on disk this log's state: it reads the last segment, cuts a torn tail,
// makes the rest durable (after a killed process it may be in the page cache only), and removes what
// interrupted operations left.
func (l *Log) adopt(set *segmentSet) error {
	l.sequence = set.sequence
	st := &logState{segments: set.segments, base: set.start.base, startOffset: set.start.startOffset}
	if n := len(set.segments); n > 0 {
		if err := l.adoptTail(set.segments[n-1]); err != nil {
			return err
		}
		st.base = set.segments[0].base()
	}
	st.startOffset = min(max(st.startOffset, st.base.offset), st.tail().nextOffset)
	l.state.Store(st)
	l.durableIndex.Store(st.tail().lastIndex)
	if err := l.checkUnused(set); err != nil {
		return err
	}
	for _, name := range set.leftovers {
		if err := l.fs.Remove(name); err != nil {
			return fmt.Errorf("remove leftover: %w", err)
		}
	}
	return nil
}

// adoptTail opens the last segment for appending.
func (l *Log) adoptTail(s *segment) error {
	f, err := l.fs.Open(s.name)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	tail, rest, err := s.recoverTail(f)
	if err == nil {
		err = f.SyncData()
	}
	if err == nil && rest.frames {
		// Frames of writes that nobody acknowledged lie beyond the tail. New frames must not connect
		// to them after the next crash.
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

// recoverTail scans a segment that nothing sealed. It fails with a *CorruptionError if a frame behind
// the last valid one proves that more than the tail is damaged.
func (s *segment) recoverTail(f io.ReaderAt) (*segmentTail, remains, error) {
	scan := s.scan(f, s.capacity)
	tail := s.emptyTail()
	var h frameHeader
	for {
		pos := scan.pos
		err := scan.next(&h)
		if err == nil {
			tail.index = appendIndex(tail.index, pos, &h, s.baseIndex, tail.maxTimestamp)
			tail.size, tail.lastIndex, tail.lastTerm, tail.nextOffset = scan.pos, h.index, h.term, h.nextOffset
			tail.maxTimestamp = max(tail.maxTimestamp, h.maxTimestamp)
			continue
		}
		if errors.Is(err, io.EOF) {
			return tail, remains{}, nil
		}
		var why *scanStop
		if !errors.As(err, &why) {
			return nil, remains{}, fmt.Errorf("read %s: %w", s.name, err)
		}
		rest, err := s.judge(scan, why)
		return tail, rest, err
	}
}

// judge decides whether a scan that stopped within the last segment reached a torn tail, or damage.
func (s *segment) judge(scan *frameScan, why error) (remains, error) {
	rest, err := scan.search()
	if err != nil {
		return remains{}, fmt.Errorf("read %s: %w", s.name, err)
	}
	if rest.provenAt != 0 {
		return rest, corrupt(s.name, scan.pos, "%v; the frame at byte %d was written after this place was durable", why, rest.provenAt)
	}
	return rest, nil
}

// writeCut durably voids every frame at or after pos. What lies before must be durable already.
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

// checkUnused looks at the segments behind the last one that have no valid activation: a crash may
// have caught one while it became active, but if its frames prove that the activation was durable,
// entries are missing. None is used again: frames of its present life may lie anywhere in it.
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

// checkInactive reads no more than a few bytes of a segment that was never touched.
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
