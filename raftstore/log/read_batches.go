package log

import (
	"fmt"
	"slices"
	"sort"

	"github.com/wasmill/wasmill/core/record"
)

// Read appends record batches to dst: from the one that contains offset, or the next after it, as long as they
// start before limit and fit into maxBytes; the first one whatever its size. Batches are whole and in order.
// dst is returned as it was when there are none up to limit, and with an error: ErrOffsetOutOfRange or a
// *CorruptionError. The checksum of every frame is verified.
func (l *Log) Read(dst []byte, offset, limit int64, maxBytes int) ([]byte, error) {
	start := len(dst)
	err := l.retrying(func(st *logState) (err error) {
		r := batchReader{dst: dst[:start], start: start, offset: offset, limit: limit, maxBytes: maxBytes}
		err = l.readBatches(st, &r)
		dst = r.dst
		return err
	})
	if err != nil {
		return dst[:start], fmt.Errorf("read offset %d: %w", offset, err)
	}
	return dst, nil
}

func (l *Log) readBatches(st *logState, r *batchReader) error {
	end := st.tail().nextOffset
	if r.offset < st.startOffset || r.offset > end {
		return fmt.Errorf("%w: the log holds %d to %d", ErrOffsetOutOfRange, st.startOffset, end)
	}
	r.limit = min(r.limit, end)
	if r.offset >= r.limit {
		return nil
	}
	for i := st.segmentOfOffset(r.offset); i < len(st.segments) && !r.done; i++ {
		if err := l.readFrom(st.segments[i], r); err != nil {
			return err
		}
	}
	return nil
}

// segmentOfOffset returns the position of the last segment that starts at or before an offset of the log.
func (st *logState) segmentOfOffset(offset int64) int {
	return sort.Search(len(st.segments), func(i int) bool { return st.segments[i].baseOffset > offset }) - 1
}

func (l *Log) readFrom(s *segment, r *batchReader) error {
	o, err := l.open(s)
	if err != nil {
		return err
	}
	defer s.release()
	return r.read(o, o.seekOffset(o.index, r.offset))
}

// batchReader collects batches in dst. It reads whole frames into the spare capacity of dst and then moves the
// batches together, over the frames' headers.
type batchReader struct {
	dst      []byte
	start    int // length of dst before the first batch
	offset   int64
	limit    int64
	maxBytes int
	done     bool
}

func (r *batchReader) got() int { return len(r.dst) - r.start }

// read collects from the segment's frame at a place on.
func (r *batchReader) read(s openSegment, at scanStart) error {
	least := int64(0) // the next read must cover so many bytes
	for !r.done && at.pos < s.end.size {
		if r.got() > 0 && r.got() >= r.maxBytes {
			r.done = true
			return nil
		}
		// The lookup may have led one index interval before the wanted frame.
		n := max(int64(r.maxBytes-r.got())+indexInterval+frameHeaderSize, least)
		n = min(n, s.end.size-at.pos)
		r.dst = slices.Grow(r.dst, int(n))
		chunk := r.dst[len(r.dst) : len(r.dst)+int(n)]
		if err := readFull(s.file, chunk, at.pos); err != nil {
			return fmt.Errorf("read %s at %d: %w", s.name, at.pos, err)
		}
		var err error
		if least, err = r.take(s, &at, chunk); err != nil {
			return err
		}
	}
	return nil
}

// take walks the frames of a chunk, which lies in dst's spare capacity, and moves at past those it has used. If
// it stopped at a frame that the chunk does not hold completely, least is what the next read must cover.
func (r *batchReader) take(s openSegment, at *scanStart, chunk []byte) (least int64, err error) {
	var h frameHeader
	for p := int64(0); p < int64(len(chunk)) && !r.done; {
		b := chunk[p:]
		if len(b) < frameHeaderSize {
			return frameHeaderSize, nil
		}
		if err := s.decode(b, *at, &h); err != nil {
			return 0, err
		}
		size := h.size()
		switch {
		case h.baseOffset >= r.limit:
			r.done = true
			return 0, nil
		case h.nextOffset > r.offset && size > int64(len(b)):
			r.done = r.got() > 0
			return size, nil
		case h.nextOffset > r.offset && h.nextOffset > h.baseOffset:
			payload := b[frameHeaderSize : frameHeaderSize+h.payloadLen()]
			if payloadSum(s.seed, payload[:h.extLen], payload[h.extLen:]) != h.payloadCRC {
				return 0, corrupt(s.name, at.pos, "%v", errFrameData)
			}
			if err := r.keep(payload[h.extLen:]); err != nil {
				return 0, corrupt(s.name, at.pos, "%v", err)
			}
		}
		p += size
		*at = at.next(&h)
	}
	return 0, nil
}

// keep moves the wanted batches of an entry to the end of dst. data may lie in dst's spare capacity, but not
// before the end of dst.
func (r *batchReader) keep(data []byte) error {
	from, to := 0, 0 // the wanted range of data
	for rest := data; len(rest) > 0; {
		b, after, err := record.Split(rest)
		if err != nil {
			return err
		}
		rest = after
		if b.NextOffset() <= r.offset {
			from, to = from+len(b), to+len(b)
			continue
		}
		if n := r.got() + to - from; b.BaseOffset() >= r.limit || (n > 0 && n+len(b) > r.maxBytes) {
			r.done = true
			break
		}
		to += len(b)
	}
	n := len(r.dst)
	r.dst = r.dst[:n+to-from]
	copy(r.dst[n:], data[from:to])
	return nil
}

// OffsetForTime returns the base offset of the first batch whose max timestamp (ms since 1970) is at least ms,
// or the log start offset if that lies within the batch. ok is false if there is none.
func (l *Log) OffsetForTime(ms int64) (offset int64, ok bool, err error) {
	err = l.retrying(func(st *logState) error {
		offset, ok = 0, false
		for _, s := range st.segments {
			tail := s.tail.Load()
			if tail.maxTimestamp == noTimestamp || tail.maxTimestamp < ms {
				continue
			}
			var err error
			if offset, ok, err = l.timeIn(st, s, ms); err != nil || ok {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, false, fmt.Errorf("look up time %d: %w", ms, err)
	}
	return offset, ok, nil
}

func (l *Log) timeIn(st *logState, s *segment, ms int64) (int64, bool, error) {
	o, err := l.open(s)
	if err != nil {
		return 0, false, err
	}
	defer s.release()
	at := o.seekTime(o.index, ms)
	w := newFileWindow(o.file, o.end.size)
	var h frameHeader
	for at.pos < o.end.size {
		b, err := w.view(at.pos, frameHeaderSize)
		if err != nil {
			return 0, false, fmt.Errorf("read %s at %d: %w", s.name, at.pos, err)
		}
		if err := o.decode(b, at, &h); err != nil {
			return 0, false, err
		}
		if h.nextOffset > st.startOffset && h.maxTimestamp >= ms && h.maxTimestamp != noTimestamp {
			offset, ok, err := o.timeInFrame(at.pos, &h, st.startOffset, ms)
			if err != nil || ok {
				return offset, ok, err
			}
		}
		at = at.next(&h)
	}
	return 0, false, nil
}

func (s openSegment) timeInFrame(pos int64, h *frameHeader, start, ms int64) (int64, bool, error) {
	payload := make([]byte, h.payloadLen())
	if err := readFull(s.file, payload, pos+frameHeaderSize); err != nil {
		return 0, false, fmt.Errorf("read %s at %d: %w", s.name, pos, err)
	}
	if payloadSum(s.seed, payload[:h.extLen], payload[h.extLen:]) != h.payloadCRC {
		return 0, false, corrupt(s.name, pos, "%v", errFrameData)
	}
	for b, err := range record.All(payload[h.extLen:]) {
		if err != nil {
			return 0, false, corrupt(s.name, pos, "%v", err)
		}
		if b.NextOffset() > start && b.MaxTimestamp() >= ms {
			return max(b.BaseOffset(), start), true, nil
		}
	}
	return 0, false, nil
}
