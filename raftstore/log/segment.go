package log

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// errSegmentDropped tells a reader that the segment left the log after it was looked up.
var errSegmentDropped = errors.New("segment dropped")

// segment is one file of the log. Everything but the tail and the guarded part is immutable once the
// segment is in a logState; a truncation makes a new segment of the same file.
type segment struct {
	fs   vfs.FS
	name string // path
	segmentIdentity
	segmentActivation
	seed uint32
	cut  segmentCut

	// tail is what readers may see; it only grows.
	tail atomic.Pointer[segmentTail]

	mu      sync.Mutex
	file    vfs.File     // nil while closed
	index   []indexEntry // of a sealed segment, while file is open; nil if not loaded
	indexed bool
	refs    int  // readers, and the log itself for the active segment
	dropped bool // left the log: dispose when refs is 0
	dispose func(f vfs.File)
}

// segmentTail describes the readable part of a segment. Immutable.
type segmentTail struct {
	size         int64 // end of the last frame
	lastIndex    uint64
	lastTerm     uint64
	nextOffset   int64
	maxTimestamp int64
	index        []indexEntry // of the active segment
	sealed       bool
}

const (
	segmentSuffix = ".seg"
	indexSuffix   = ".idx"
	droppedSuffix = ".drop"
	prepareSuffix = ".tmp"
)

func sequenceName(dir string, sequence uint64, suffix string) string {
	return path.Join(dir, fmt.Sprintf("%020d%s", sequence, suffix))
}

// parseSequence is the number of a file named by sequenceName.
func parseSequence(name, suffix string) (uint64, bool) {
	digits, ok := strings.CutSuffix(path.Base(name), suffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0
}

// base is the place in the log before the segment's first entry.
func (s *segment) base() logBase {
	return logBase{index: s.baseIndex - 1, term: s.prevTerm, offset: s.baseOffset, sequence: s.prevSequence}
}

// emptyTail is the tail of a segment without frames.
func (s *segment) emptyTail() *segmentTail {
	return &segmentTail{
		size: segmentHeaderSize, lastIndex: s.baseIndex - 1, lastTerm: s.prevTerm,
		nextOffset: s.baseOffset, maxTimestamp: noTimestamp,
	}
}

// acquire opens the segment for reading until release; errSegmentDropped when it has left the log.
func (s *segment) acquire() (vfs.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped {
		return nil, errSegmentDropped
	}
	if s.file == nil {
		f, err := s.fs.OpenReadOnly(s.name)
		if err != nil {
			return nil, fmt.Errorf("open segment: %w", err)
		}
		s.file = f
	}
	s.refs++
	return s.file, nil
}

func (s *segment) release() {
	s.mu.Lock()
	s.refs--
	f, dispose := s.detachLocked()
	s.mu.Unlock()
	if dispose != nil {
		dispose(f)
	}
}

// drop lets the segment leave the log: dispose is called with its file (nil if it is not open) as
// soon as nobody reads it, maybe by the last reader.
func (s *segment) drop(dispose func(vfs.File)) {
	s.mu.Lock()
	s.dropped, s.dispose = true, dispose
	f, now := s.detachLocked()
	s.mu.Unlock()
	if now != nil {
		now(f)
	}
}

func (s *segment) detachLocked() (vfs.File, func(vfs.File)) {
	if !s.dropped || s.refs > 0 || s.dispose == nil {
		return nil, nil
	}
	f, dispose := s.file, s.dispose
	s.file, s.index, s.dispose = nil, nil, nil
	return f, dispose
}

// unload closes an idle sealed segment's file and forgets its index; false if it is in use.
func (s *segment) unload() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refs > 0 {
		return false
	}
	if s.file != nil {
		_ = s.file.Close() // only ever read, or synced before it was sealed
	}
	s.file, s.index, s.indexed = nil, nil, false
	return true
}
