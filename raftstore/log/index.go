package log

import "sort"

// indexInterval is the distance in bytes between two entries of a segment's sparse index: a lookup scans at
// most so much, and one frame. The index of a full segment of 64 MiB takes 48 KiB of memory.
const indexInterval = 32 << 10

// indexEntry points to a frame of a segment.
type indexEntry struct {
	offset int64 // base offset before the frame
	// maxBefore is the greatest timestamp (ms) of the segment's frames before this one.
	maxBefore int64
	pos       uint32
	index     uint32 // raft index relative to the segment's first
}

// appendIndex adds the frame at pos if it is far enough from the last one indexed. The first frame is not
// indexed: without an entry a lookup starts there.
func appendIndex(entries []indexEntry, pos int64, h *frameHeader, baseIndex uint64, maxBefore int64) []indexEntry {
	last := int64(segmentHeaderSize)
	if n := len(entries); n > 0 {
		last = int64(entries[n-1].pos)
	}
	if pos-last < indexInterval {
		return entries
	}
	return append(entries, indexEntry{
		offset: h.baseOffset, maxBefore: maxBefore, pos: uint32(pos), index: uint32(h.index - baseIndex),
	})
}

// seek returns where to start a scan for a frame: at the last entry for which after is false. after must be
// false for all entries up to the wanted frame, and true from some later one on.
func (s *segment) seek(entries []indexEntry, after func(indexEntry) bool) scanStart {
	i := sort.Search(len(entries), func(i int) bool { return after(entries[i]) })
	if i == 0 {
		return scanStart{pos: segmentHeaderSize, index: s.baseIndex, offset: s.baseOffset, maxBefore: noTimestamp}
	}
	e := entries[i-1]
	return scanStart{pos: int64(e.pos), index: s.baseIndex + uint64(e.index), offset: e.offset, maxBefore: e.maxBefore}
}

// scanStart is the place of a frame in its segment, and the index and offset that it must have.
type scanStart struct {
	pos       int64
	index     uint64
	offset    int64
	maxBefore int64 // as in indexEntry
}

// next returns the place after a frame.
func (at scanStart) next(h *frameHeader) scanStart {
	return scanStart{pos: at.pos + h.size(), index: h.index + 1, offset: h.nextOffset}
}

// seekIndex returns where to start looking for a raft index.
func (s *segment) seekIndex(entries []indexEntry, index uint64) scanStart {
	return s.seek(entries, func(e indexEntry) bool { return s.baseIndex+uint64(e.index) > index })
}

// seekOffset returns where to start looking for the frame that holds an offset.
func (s *segment) seekOffset(entries []indexEntry, offset int64) scanStart {
	return s.seek(entries, func(e indexEntry) bool { return e.offset > offset })
}

// seekTime returns where to start looking for the first frame with a timestamp of at least ms.
func (s *segment) seekTime(entries []indexEntry, ms int64) scanStart {
	return s.seek(entries, func(e indexEntry) bool { return e.maxBefore >= ms })
}
