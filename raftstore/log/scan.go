package log

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// scanWindow is how many bytes a scan reads at once.
const scanWindow = 256 << 10

var frameMagicBytes = binary.LittleEndian.AppendUint32(nil, frameMagic)

// fileWindow reads a file through one buffer, mostly forwards. Not for concurrent use.
type fileWindow struct {
	file  io.ReaderAt
	end   int64 // of the file, or of what may be read
	buf   []byte
	start int64
	n     int
}

func newFileWindow(f io.ReaderAt, end int64) *fileWindow {
	return &fileWindow{file: f, end: end, buf: make([]byte, min(scanWindow, max(end, frameHeaderSize)))}
}

// view returns up to n bytes (at most the window's size) at pos, fewer only at the end. They are valid
// until the next call.
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

// frameScan walks the frames of one segment. It expects each to continue the one before.
type frameScan struct {
	window *fileWindow
	seed   uint32
	cut    segmentCut
	pos    int64 // of the next frame

	// Of the log before the next frame.
	nextIndex  uint64
	term       uint64
	nextOffset int64

	// skipPayload leaves the data's checksum alone: for rebuilding an index.
	skipPayload bool
}

func (s *segment) scan(f io.ReaderAt, end int64) *frameScan {
	return &frameScan{
		window: newFileWindow(f, end), seed: s.seed, cut: s.cut, pos: segmentHeaderSize,
		nextIndex: s.baseIndex, term: s.prevTerm, nextOffset: s.baseOffset,
	}
}

// scanStop says why a scan ended before the end of its range.
type scanStop struct {
	reason error
}

func (e *scanStop) Error() string { return e.reason.Error() }

func (e *scanStop) Unwrap() error { return e.reason }

func stop(format string, args ...any) error { return &scanStop{fmt.Errorf(format, args...)} }

// next reads the frame at pos and moves behind it. It returns a *scanStop if none that continues the
// log is there, io.EOF at the end of the range, and any other error for a failed read.
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

// remains is what the bytes behind the last valid frame tell.
type remains struct {
	// frames of this segment's present life and generation lie there: never acknowledged, or cut off
	// from the log by damage.
	frames bool
	// provenAt is where the first frame starts that was written when the bytes at the scan's end were
	// durable already; 0 if there is none.
	provenAt int64
}

// search looks through everything behind the scan's last valid frame, on the boundaries where frames
// may start. Headers have a salted checksum of their own, so that a record's content cannot pose as a
// frame, and no length that it claims is followed.
func (c *frameScan) search() (remains, error) {
	var r remains
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
