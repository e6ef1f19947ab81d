package log

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// maxLoaded is how many sealed segments of a log stay open, with their indexes in memory, when nobody
// reads them.
const maxLoaded = 4

// loadedSegments are the sealed segments that are open, the one used last at the end.
type loadedSegments struct {
	mu   sync.Mutex
	list []*segment
}

// touch makes s the one used last, and unloads idle ones beyond the limit.
func (c *loadedSegments) touch(s *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.list); n > 0 && c.list[n-1] == s {
		return
	}
	for i, other := range c.list {
		if other == s {
			c.list = append(c.list[:i], c.list[i+1:]...)
			break
		}
	}
	c.list = append(c.list, s)
	for i := 0; len(c.list) > maxLoaded && i < len(c.list)-1; {
		if c.list[i].unload() {
			c.list = append(c.list[:i], c.list[i+1:]...)
			continue
		}
		i++
	}
}

func (c *loadedSegments) forget(s *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, other := range c.list {
		if other == s {
			c.list = append(c.list[:i], c.list[i+1:]...)
			return
		}
	}
}

// openSegment is a segment being read: its tail and sparse index belong together.
type openSegment struct {
	*segment
	file  vfs.File
	end   *segmentTail
	index []indexEntry
}

// open acquires a segment for reading; the caller releases it.
func (l *Log) open(s *segment) (openSegment, error) {
	tail := s.tail.Load()
	file, err := s.acquire()
	if err != nil {
		return openSegment{}, err
	}
	o := openSegment{segment: s, file: file, end: tail, index: tail.index}
	if tail.sealed {
		if o.index, err = l.indexOf(s, file, tail); err != nil {
			s.release()
			return openSegment{}, err
		}
		l.loaded.touch(s)
	}
	return o, nil
}

// decode reads the header of the frame that must be at a place.
func (s openSegment) decode(b []byte, at scanStart, h *frameHeader) error {
	if err := h.decode(b, s.seed); err != nil {
		return corrupt(s.name, at.pos, "%v", err)
	}
	if h.index != at.index || h.baseOffset != at.offset || h.nextOffset < h.baseOffset {
		return corrupt(s.name, at.pos, "raft index %d, offsets %d to %d, expected %d, %d", h.index, h.baseOffset, h.nextOffset, at.index, at.offset)
	}
	if at.pos+h.size() > s.end.size {
		return corrupt(s.name, at.pos, "%v", errFrameShort)
	}
	return nil
}

// next is the place behind a frame.
func (at scanStart) next(h *frameHeader) scanStart {
	return scanStart{pos: at.pos + h.size(), index: h.index + 1, offset: h.nextOffset}
}

// retrying runs a read again when a truncation or retention took a segment away in its middle: only
// then may bytes that were readable fail to check.
func (l *Log) retrying(read func(*logState) error) error {
	for {
		if l.shut.Load() {
			return ErrClosed
		}
		st := l.state.Load()
		err := read(st)
		if err == nil {
			return nil
		}
		now := l.state.Load()
		if errors.Is(err, errSegmentDropped) && now != st {
			continue
		}
		var damage *CorruptionError
		if errors.As(err, &damage) && now.epoch != st.epoch {
			continue
		}
		return err
	}
}

// segmentOfIndex is the segment that holds a raft index within the state's bounds.
func (st *logState) segmentOfIndex(index uint64) *segment {
	i := sort.Search(len(st.segments), func(i int) bool { return st.segments[i].baseIndex > index })
	return st.segments[i-1]
}

// GetLog implements raft.LogStore. Data and Extensions are the caller's. For the index before the first
// one it returns a stub that has only index and term. It returns raft.ErrLogNotFound itself, not
// wrapped, for every other index that the log does not hold.
func (l *Log) GetLog(index uint64, out *raft.Log) error {
	return readError(index, l.retrying(func(st *logState) error { return l.getLog(st, index, out) }))
}

// readError says which index could not be read; raft.ErrLogNotFound it returns bare.
func readError(index uint64, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrLogNotFound):
		return raft.ErrLogNotFound // raft compares with ==
	}
	return fmt.Errorf("read raft index %d: %w", index, err)
}

func (l *Log) getLog(st *logState, index uint64, out *raft.Log) error {
	if index == st.base.index && st.base.term != 0 {
		*out = raft.Log{Index: index, Term: st.base.term}
		return nil
	}
	var h frameHeader
	s, pos, err := l.locate(st, index, &h)
	if err != nil {
		return err
	}
	defer s.release()
	payload := make([]byte, h.payloadLen())
	if err := readFull(s.file, payload, pos+frameHeaderSize); err != nil {
		return fmt.Errorf("read %s at %d: %w", s.name, pos, err)
	}
	ext, data := payload[:h.extLen:h.extLen], payload[h.extLen:]
	if payloadSum(s.seed, ext, data) != h.payloadCRC {
		return corrupt(s.name, pos, "%v", errFrameData)
	}
	*out = raft.Log{
		Index: h.index, Term: h.term, Type: h.kind, Data: nilIfEmpty(data), Extensions: nilIfEmpty(ext),
		AppendedAt: appendedAtTime(h.appendedAt),
	}
	return nil
}

// locate opens the segment that holds a raft index, for the caller to release, and reads the header of
// the entry's frame at pos.
func (l *Log) locate(st *logState, index uint64, h *frameHeader) (s openSegment, pos int64, err error) {
	if first, last := st.bounds(); first == 0 || index < first || index > last {
		return s, 0, raft.ErrLogNotFound
	}
	if s, err = l.open(st.segmentOfIndex(index)); err != nil {
		return s, 0, err
	}
	if pos, err = l.findIndex(s, index, h); err != nil {
		s.release()
	}
	return s, pos, err
}

func nilIfEmpty(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

// OffsetAfter is the log end offset after the entry with a raft index: the first offset that entries
// behind it may use. raft.ErrLogNotFound as GetLog.
func (l *Log) OffsetAfter(index uint64) (offset int64, err error) {
	err = l.retrying(func(st *logState) error {
		switch index {
		case st.base.index:
			offset = st.base.offset
			return nil
		case st.tail().lastIndex:
			offset = st.tail().nextOffset
			return nil
		}
		var h frameHeader
		s, _, err := l.locate(st, index, &h)
		if err != nil {
			return err
		}
		s.release()
		offset = h.nextOffset
		return nil
	})
	return offset, readError(index, err)
}

// readCursor remembers where the last look-up by index ended, since raft mostly asks for the next one.
type readCursor struct {
	mu    sync.Mutex
	seg   *segment
	start scanStart
}

// get returns the cursor's place if it is nearer to index than start.
func (c *readCursor) get(s *segment, index uint64, start scanStart) scanStart {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seg == s && c.start.index <= index && c.start.index > start.index {
		return c.start
	}
	return start
}

func (c *readCursor) set(s *segment, start scanStart) {
	c.mu.Lock()
	c.seg, c.start = s, start
	c.mu.Unlock()
}

// findIndex returns the position of the frame with a raft index that the segment holds, and its header.
func (l *Log) findIndex(s openSegment, index uint64, h *frameHeader) (int64, error) {
	at := l.cursor.get(s.segment, index, s.seekIndex(s.index, index))
	buf := headerBuffers.Get().(*[]byte)
	defer headerBuffers.Put(buf)
	// Far from the target read many headers at once; at the target no more than one.
	size := frameHeaderSize
	if index > at.index {
		size = indexInterval
	}
	w := fileWindow{file: s.file, end: s.end.size, buf: (*buf)[:size]}
	for {
		b, err := w.view(at.pos, frameHeaderSize)
		if err != nil {
			return 0, fmt.Errorf("read %s at %d: %w", s.name, at.pos, err)
		}
		if err := s.decode(b, at, h); err != nil {
			return 0, err
		}
		pos := at.pos
		at = at.next(h)
		if h.index == index {
			if index < s.end.lastIndex {
				l.cursor.set(s.segment, at)
			}
			return pos, nil
		}
	}
}

var headerBuffers = sync.Pool{New: func() any {
	b := make([]byte, indexInterval)
	return &b
}}

func readFull(f io.ReaderAt, b []byte, pos int64) error {
	n, err := f.ReadAt(b, pos)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
