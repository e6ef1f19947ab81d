package log

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// scanWindow is how many bytes a scan reads in one call.
const scanWindow = 256 << 10

var frameMagicBytes = binary.LittleEndian.AppendUint32(nil, frameMagic)

// fileWindow reads a file through one buffer, mostly forwards. Not safe for concurrent use.
type fileWindow struct {
	file  io.ReaderAt
	end   int64 // nothing is read from here on
	buf   []byte
	start int64 // position in the file of the first byte in buf
	n     int   // valid bytes in buf
}

func newFileWindow(f io.ReaderAt, end int64) *fileWindow {
	return &fileWindow{file: f, end: end, buf: make([]byte, min(scanWindow, max(end, frameHeaderSize)))}
}

// view returns n bytes at pos, but at most the size of the window, and fewer at the end. They are valid until
// the next call.
func (w *fileWindow) view(pos int64, n int) ([]byte, error) {
	n = int(min(int64(n), int64(len(w.buf)), max(0, w.end-pos)))
	if n == 0 {
		return nil, nil
	}
	if pos < w.start || pos+int64(n) > w.start+int64(w.n) {
		w.start, w.n = pos, 0
		got, err := w.file.ReadAt(w.buf[:min(int64(len(w.buf)), w.end-pos)], pos)
		if got < n && err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		w.n = got
		n = min(n, got)
	}
	return w.buf[pos-w.start:][:n], nil
}

// frameScan walks the frames of one segment and checks that each continues the one before.
type frameScan struct {
	window *fileWindow
	seed   uint32
	cut    segmentCut
	pos    int64 // of the next frame

	// What the next frame must continue.
	nextIndex  uint64
	term       uint64
	nextOffset int64

	// skipPayload does not verify checksums of data, as when an index is rebuilt.
	skipPayload bool
}

func (s *segment) scan(f io.ReaderAt, end int64) *frameScan {
	return &frameScan{
		window: newFileWindow(f, end), seed: s.seed, cut: s.cut, pos: segmentHeaderSize,
		nextIndex: s.baseIndex, term: s.prevTerm, nextOffset: s.baseOffset,
	}
}

// scanStop is why a scan ended before the end of its range.
type scanStop struct {
	reason error
}

func (e *scanStop) Error() string { return e.reason.Error() }

func (e *scanStop) Unwrap() error { return e.reason }

func stop(format string, args ...any) error { return &scanStop{fmt.Errorf(format, args...)} }

// next reads the frame at pos and moves past it. It returns a *scanStop if there is none that continues the log,
// io.EOF at the end of the range, and any other error for a failed read.
func (c *frameScan) next(h *frameHeader) error {
	if c.pos >= c.window.end {
		return io.EOF
	}
	b, err := c.window.view(c.pos, frameHeaderSize)
	if err != nil {
		return err
	}
	if err := h.decode(b, c.seed); err != nil {
		return stop("%w", err)
	}
	switch {
	case c.cut.voids(h, c.pos):
		return stop("frame of generation %d is void since the log was cut (generation %d)", h.generation, c.cut.generation)
	case h.generation > c.cut.generation:
		return stop("frame of generation %d, but the segment knows only %d", h.generation, c.cut.generation)
	case h.index != c.nextIndex:
		return stop("raft index %d, expected %d", h.index, c.nextIndex)
	case h.term < c.term:
		return stop("term %d after %d", h.term, c.term)
	case h.baseOffset != c.nextOffset || h.nextOffset < h.baseOffset:
		return stop("offsets %d to %d, expected to start at %d", h.baseOffset, h.nextOffset, c.nextOffset)
	case c.pos+h.size() > c.window.end:
		return stop("%w", errFrameShort)
	}
	if !c.skipPayload {
		sum, err := c.payloadSum(h)
		if err != nil {
			return err
		}
		if sum != h.payloadCRC {
			return stop("%w", errFrameData)
		}
	}
	c.pos += h.size()
	c.nextIndex, c.term, c.nextOffset = h.index+1, h.term, h.nextOffset
	return nil
}

func (c *frameScan) payloadSum(h *frameHeader) (uint32, error) {
	sum, pos := c.seed, c.pos+frameHeaderSize
	for left := h.payloadLen(); left > 0; {
		b, err := c.window.view(pos, int(min(left, scanWindow)))
		if err != nil {
			return 0, err
		}
		if len(b) == 0 {
			return 0, stop("%w", errFrameShort) // the file is shorter than it should be
		}
		sum = crc32.Update(sum, castagnoli, b)
		pos += int64(len(b))
		left -= int64(len(b))
	}
	return sum, nil
}

// trailing describes the bytes after the last valid frame.
type trailing struct {
	// durable is up to where the valid frames say that the segment was durable when they were written.
	durable int64
	// frames means that there are valid frames of this segment's salt and generation. They were never
	// acknowledged as durable, or damage separates them from the log.
	frames bool
	// provenAt is the position of a frame that was written when the place at which the scan stopped was
	// durable already; 0 if there is none.
	provenAt int64
}

// search looks for frames in everything after the scan's last valid frame, at every multiple of frameAlign.
// Headers have a salted checksum of their own: the content of a record is not taken for a header, and no length
// from unverified bytes is followed.
//
// A frame proves damage if it was written when the place at which the scan stopped was durable, by its header's
// durable, or if it is of a later generation than the newest cut on disk, which is durable before such a frame
// is written. Frames that prove nothing are the rest of an interrupted write: the frame before them was torn.
func (c *frameScan) search() (trailing, error) {
	var r trailing
	var h frameHeader
	for pos := c.pos; pos+frameHeaderSize <= c.window.end; {
		b, err := c.window.view(pos, scanWindow)
		if err != nil {
			return r, err
		}
		if len(b) < frameHeaderSize {
			return r, nil
		}
		next := int64(len(b)-frameHeaderSize)&^(frameAlign-1) + frameAlign
		for i := 0; ; i++ {
			n := bytes.Index(b[i:], frameMagicBytes)
			if i += n; n < 0 || i+frameHeaderSize > len(b) {
				break
			}
			if i%frameAlign != 0 || h.decode(b[i:], c.seed) != nil {
				continue
			}
			at := pos + int64(i)
			if c.cut.voids(&h, at) {
				continue
			}
			r.frames = true
			if int64(h.durable) > c.pos || h.generation > c.cut.generation {
				r.provenAt = at
				return r, nil
			}
		}
		pos += next
	}
	return r, nil
}
