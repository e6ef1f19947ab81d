package log

import (
	"errors"
	"io"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// retrying runs a read with the present state, and again with a newer one if the read failed because the log
// changed under it:
//
//   - errSegmentDropped: retention, a truncation or Reset dropped a segment of the old state before the read
//     opened it. The new state is stored before segments are dropped, so it differs.
//   - Damage, and the log was truncated meanwhile: new entries may have been written over the frames that the
//     read expected. Without a truncation readable bytes never change, and damage is damage. The state with
//     the greater count is stored before new entries are written, so that it is seen here.
func (l *Log) retrying(read func(*logState) error) error {
	for {
		if l.readersClosed.Load() {
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
		if errors.As(err, &damage) && now.truncations != st.truncations {
			continue
		}
		return err
	}
}

// openSegment is a segment that is being read, with its tail and sparse index of one moment.
type openSegment struct {
	*segment
	file  vfs.File
	end   *segmentTail
	index []indexEntry
}

// open acquires a segment for reading; the caller releases it. The tail is loaded first: if the segment is
// sealed after that, the unsealed tail and the index in it are still right for what they describe.
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
		l.cache.touch(s)
	}
	return o, nil
}

// decode decodes the header of the frame at a known place, and checks that it is the expected one.
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
