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

// errSegmentDropped is returned to a reader of an older state whose segment has left the log.
var errSegmentDropped = errors.New("segment dropped")

// segment is one file of the log. It is immutable once it is in a logState, except for its tail and for what
// mu covers; a truncation describes the same file by a new segment.
//
// References decide when the file may be closed, removed or recycled. Each reader holds one from acquire to
// release, and the log holds one to the active segment. A segment that has left the log is disposed of when
// the last reference ends: nobody writes to its file, as a recycled segment, while somebody reads it here.
type segment struct {
	fs   vfs.FS
	name string // path
	segmentIdentity
	segmentActivation
	seed uint32
	cut  segmentCut

	// tail is the part that readers may see. It only grows, until it is sealed.
	tail atomic.Pointer[segmentTail]

	// mu covers the fields below. It is held while the file is opened and while the index is loaded, so that
	// concurrent readers do both once, and not while the file is read or disposed of.
	mu      sync.Mutex
	file    vfs.File     // nil while it is closed
	index   []indexEntry // of a sealed segment; valid if indexed
	indexed bool
	refs    int              // references, see above
	dropped bool             // it has left the log
	dispose func(f vfs.File) // to be called when dropped and refs is 0; nil afterwards
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

// parseSequence returns the number in a name that sequenceName made.
func parseSequence(name, suffix string) (uint64, bool) {
	digits, ok := strings.CutSuffix(path.Base(name), suffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0
}

// base returns the place in the log before the segment's first entry.
func (s *segment) base() logBase {
	return logBase{index: s.baseIndex - 1, term: s.prevTerm, offset: s.baseOffset, sequence: s.prevSequence}
}

// emptyTail returns the tail of a segment without frames.
func (s *segment) emptyTail() *segmentTail {
	return &segmentTail{
		size: segmentHeaderSize, lastIndex: s.baseIndex - 1, lastTerm: s.prevTerm,
		nextOffset: s.baseOffset, maxTimestamp: noTimestamp,
	}
}

// acquire takes a reference and returns the open file, for reading until release. It returns
// errSegmentDropped when the segment has left the log: its file may be removed or recycled already.
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

// release ends a reference.
func (s *segment) release() {
	s.mu.Lock()
	s.refs--
	f, dispose := s.detachLocked()
	s.mu.Unlock()
	if dispose != nil {
		dispose(f)
	}
}

// drop marks that the segment has left the log. dispose is called once, with its file (nil if it is not open),
// when there are no references: here, or in the last release. It runs without mu.
func (s *segment) drop(dispose func(vfs.File)) {
	s.mu.Lock()
	s.dropped, s.dispose = true, dispose
	f, now := s.detachLocked()
	s.mu.Unlock()
	if now != nil {
		now(f)
	}
}

// detachLocked returns file and dispose if the segment is to be disposed of now, and nil for dispose if not.
func (s *segment) detachLocked() (vfs.File, func(vfs.File)) {
	if !s.dropped || s.refs > 0 || s.dispose == nil {
		return nil, nil
	}
	f, dispose := s.file, s.dispose
	s.file, s.index, s.dispose = nil, nil, nil
	return f, dispose
}

// unload closes a sealed segment's file and drops its index from memory. It returns false if the segment is in
// use.
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
