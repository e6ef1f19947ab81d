package log

import (
	"errors"
	"fmt"
	"sort"
	"sync"

	"github.com/hashicorp/raft"
)

// segmentOfIndex returns the segment that holds a raft index within the state's bounds.
func (st *logState) segmentOfIndex(index uint64) *segment {
	i := sort.Search(len(st.segments), func(i int) bool { return st.segments[i].baseIndex > index })
	return st.segments[i-1]
}

// GetLog implements raft.LogStore. Data and Extensions belong to the caller. For the index before the first
// one it returns an entry with nothing but index and term, if the term is known.
//
// Raft remembers its last entry beside the log. After a truncation or Reset, until the next entries are stored,
// which a full disk can delay, it still asks for entries up to the one that was last: it must learn that its
// entry is not the leader's, as it takes an error there for a broken disk and answers nothing any more. So these
// have term 0, which conflicts with every entry of a leader.
//
// For every other index that the log does not hold it returns raft.ErrLogNotFound itself, not wrapped.
func (l *Log) GetLog(index uint64, out *raft.Log) error {
	return readError(index, l.retrying(func(st *logState) error { return l.getLog(st, index, out) }))
}

// readError adds the index to an error, except to raft.ErrLogNotFound, which raft compares with ==.
func readError(index uint64, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrLogNotFound):
		return raft.ErrLogNotFound
	}
	return fmt.Errorf("read raft index %d: %w", index, err)
}

func (l *Log) getLog(st *logState, index uint64, out *raft.Log) error {
	if index == st.base.index && st.base.term != 0 {
		*out = raft.Log{Index: index, Term: st.base.term}
		return nil
	}
	if index > st.tail().lastIndex && index <= l.removedLast.Load() {
		*out = raft.Log{Index: index}
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

// locate opens the segment that holds a raft index and reads the header of the entry's frame, which is at pos.
// The caller releases the segment unless there is an error.
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

// readCursor remembers where the last lookup by index ended, since raft mostly asks for the next index. A
// segment pointer identifies one description of a file: after a truncation it matches none.
type readCursor struct {
	mu    sync.Mutex // covers the fields below
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

// findIndex returns the position of the frame with a raft index, which the segment holds, and its header.
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
