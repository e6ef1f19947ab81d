package log

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// Frame is one entry as it is stored.
type Frame struct {
	File       string
	Pos, Size  int64 // of the whole frame with its header, in bytes
	Index      uint64
	Term       uint64
	Type       raft.LogType
	BaseOffset int64 // before the entry
	NextOffset int64 // after it
	// MaxTimestamp is in ms since 1970; math.MinInt64 if the entry has no records.
	MaxTimestamp int64
	AppendedAt   time.Time
	// Extensions and Data are valid until the callback returns.
	Extensions, Data []byte
}

// Dump calls fn with every frame of the log in dir, in order, until fn returns an error. It changes nothing and
// must not run while the log is open. It ends without an error at a torn tail, and with a *CorruptionError at
// damage.
func Dump(fsys vfs.FS, dir string, fn func(Frame) error) error {
	set, err := readSegmentSet(fsys, dir)
	if err != nil {
		return fmt.Errorf("dump log %s: %w", dir, err)
	}
	for _, s := range set.segments {
		if err := s.dump(fn); err != nil {
			return fmt.Errorf("dump log %s: %w", dir, err)
		}
	}
	for _, u := range set.unused {
		if err := u.checkUnused(); err != nil {
			return fmt.Errorf("dump log %s: %w", dir, err)
		}
	}
	return nil
}

// openScan opens the segment's file, which the caller closes, and starts a scan of all its frames.
func (s *segment) openScan() (vfs.File, *frameScan, error) {
	f, err := s.fs.OpenReadOnly(s.name)
	if err != nil {
		return nil, nil, fmt.Errorf("open segment: %w", err)
	}
	end := s.capacity
	if tail := s.tail.Load(); tail.sealed {
		end = tail.size
	}
	return f, s.scan(f, end), nil
}

func (s *segment) dump(fn func(Frame) error) error {
	f, scan, err := s.openScan()
	if err != nil {
		return err
	}
	defer f.Close()
	var h frameHeader
	var payload []byte
	for {
		pos := scan.pos
		if err := scan.next(&h); err != nil {
			return s.dumpEnd(scan, err)
		}
		if payload, err = readPayload(f, pos, &h, payload); err != nil {
			return fmt.Errorf("read %s at %d: %w", s.name, pos, err)
		}
		if err := fn(s.frame(pos, &h, payload)); err != nil {
			return err
		}
	}
}

// dumpEnd returns nil if a scan ended where the segment ends or at a torn tail, and a *CorruptionError if it
// ended at damage.
func (s *segment) dumpEnd(scan *frameScan, err error) error {
	var why *scanStop
	switch tail := s.tail.Load(); {
	case tail.sealed && errors.Is(err, io.EOF) && scan.nextIndex == tail.lastIndex+1:
		return nil
	case tail.sealed && errors.Is(err, io.EOF):
		return corrupt(s.name, scan.pos, "the segment ends with raft index %d, expected %d", scan.nextIndex-1, tail.lastIndex)
	case tail.sealed && errors.As(err, &why):
		return corrupt(s.name, scan.pos, "%v, in a sealed segment", why)
	case errors.Is(err, io.EOF):
		return nil
	case errors.As(err, &why):
		_, err := s.checkTail(scan, why)
		return err
	}
	return fmt.Errorf("read %s: %w", s.name, err)
}

func (s *segment) frame(pos int64, h *frameHeader, payload []byte) Frame {
	return Frame{
		File: s.name, Pos: pos, Size: h.size(), Index: h.index, Term: h.term, Type: h.kind,
		BaseOffset: h.baseOffset, NextOffset: h.nextOffset, MaxTimestamp: h.maxTimestamp,
		AppendedAt: appendedAtTime(h.appendedAt),
		Extensions: payload[:h.extLen:h.extLen], Data: payload[h.extLen:],
	}
}

// readPayload reads a frame's extensions and data, into buf if it is large enough.
func readPayload(f io.ReaderAt, pos int64, h *frameHeader, buf []byte) ([]byte, error) {
	if n := h.payloadLen(); n > int64(cap(buf)) {
		buf = make([]byte, n)
	} else {
		buf = buf[:n]
	}
	return buf, readFull(f, buf, pos+frameHeaderSize)
}
