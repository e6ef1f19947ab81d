package log

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"sync"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// Open opens the log in dir, making the directory if it is missing. It reads the headers of all
// segments and the frames of the last one; a torn tail is cut. Damage before it is refused with a
// *CorruptionError.
func Open(fsys vfs.FS, dir string, o Options) (*Log, error) {
	o, err := o.complete()
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", dir, err)
	}
	l := &Log{fs: fsys, dir: dir, o: o}
	l.keeper.changed = sync.NewCond(&l.mu)
	if err := vfs.MkdirAllSynced(fsys, dir); err != nil {
		return nil, fmt.Errorf("open log %s: %w", dir, err)
	}
	set, err := readSegmentSet(fsys, dir)
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", dir, err)
	}
	if err := l.adopt(set); err != nil {
		return nil, fmt.Errorf("open log %s: %w", dir, err)
	}
	return l, nil
}

func (o Options) complete() (Options, error) {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if o.SegmentBytes < 2*segmentHeaderSize || o.SegmentBytes > maxSegmentBytes {
		return o, fmt.Errorf("a segment size of %d bytes is not in %d..%d", o.SegmentBytes, 2*segmentHeaderSize, maxSegmentBytes)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.syncBehind == 0 {
		o.syncBehind = defaultSyncBehind
	}
	if o.newSalt == nil {
		o.newSalt = randomSalt
	}
	return o, nil
}

// segmentSet is what a directory holds, before the tail was read.
type segmentSet struct {
	start    logStart
	segments []*segment // of the log, oldest first; all but the last sealed
	// unused have an identity, come after the last segment and were never durably activated.
	unused []*segment
	// leftovers are paths of files that belong to no log any more.
	leftovers []string
	sequence  uint64 // the greatest in the directory
}

// readSegmentSet reads the headers of all segments and checks that they continue each other.
func readSegmentSet(fsys vfs.FS, dir string) (*segmentSet, error) {
	start, err := readStart(fsys, dir)
	if err != nil {
		return nil, err
	}
	set := &segmentSet{start: start, sequence: start.base.sequence}
	names, err := set.list(fsys, dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		s, active, err := readSegment(fsys, name)
		if err != nil {
			return nil, err
		}
		if !active {
			set.unused = append(set.unused, s)
			continue
		}
		if err := set.link(s); err != nil {
			return nil, err
		}
		for _, u := range set.unused {
			set.leftovers = append(set.leftovers, u.name)
		}
		set.unused = nil
	}
	return set, nil
}

// list returns the paths of the segment files that may belong to the log, oldest first, and notes the
// files that do not.
func (set *segmentSet) list(fsys vfs.FS, dir string) ([]string, error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if sequence, ok := parseSequence(name, indexSuffix); ok && sequence > set.start.base.sequence {
			continue
		}
		sequence, ok := parseSequence(name, segmentSuffix)
		if !ok {
			if isLeftover(e.Name()) {
				set.leftovers = append(set.leftovers, name)
			}
			continue
		}
		set.sequence = max(set.sequence, sequence)
		if sequence <= set.start.base.sequence {
			set.leftovers = append(set.leftovers, name)
			continue
		}
		names = append(names, name)
	}
	return names, nil
}

// isLeftover tells the names of temporary and dropped files from those that are not the log's.
func isLeftover(name string) bool {
	for _, suffix := range []string{droppedSuffix, prepareSuffix, indexSuffix} {
		if path.Ext(name) == suffix {
			return true
		}
	}
	return false
}

// readSegment reads a segment's header block. The segment is nil only if the block could not be read or
// is not one.
func readSegment(fsys vfs.FS, name string) (s *segment, active bool, err error) {
	f, err := fsys.OpenReadOnly(name)
	if err != nil {
		return nil, false, fmt.Errorf("open segment: %w", err)
	}
	defer f.Close()
	block := make([]byte, segmentHeaderSize)
	n, err := f.ReadAt(block, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, fmt.Errorf("read %s: %w", name, err)
	}
	size, err := f.Size()
	if err != nil {
		return nil, false, fmt.Errorf("size of %s: %w", name, err)
	}
	if n < len(block) {
		return nil, false, corrupt(name, int64(n), "the file ends within the segment header")
	}
	s = &segment{fs: fsys, name: name}
	if s.segmentIdentity, err = decodeIdentity(block); err != nil {
		return nil, false, corrupt(name, 0, "%v", err)
	}
	if sequence, _ := parseSequence(name, segmentSuffix); s.sequence != sequence {
		return nil, false, corrupt(name, 0, "the file says that it is segment %d", s.sequence)
	}
	s.seed = frameSeed(s.salt)
	s.cut = latestCut(block, s.seed)
	s.segmentActivation, active = decodeActivation(block[activationPos:], s.seed)
	if active && size < s.capacity {
		err = corrupt(name, size, "the file ends here, but was made %d bytes long", s.capacity)
	}
	if !active {
		s.capacity = size
	}
	s.tail.Store(s.emptyTail())
	return s, active, err
}

// link appends an active segment, which seals the one before it.
func (set *segmentSet) link(s *segment) error {
	for _, u := range set.unused {
		if u.sequence == s.prevSequence {
			return corrupt(u.name, activationPos, "the activation record does not check, but segment %d continues this one", s.sequence)
		}
	}
	n := len(set.segments)
	if n == 0 {
		set.segments = append(set.segments, s)
		return s.follows(set.start.base)
	}
	prev := set.segments[n-1]
	set.segments = append(set.segments, s)
	if s.prevSequence != prev.sequence {
		return corrupt(s.name, activationPos, "it continues segment %d, but the one before it here is %d", s.prevSequence, prev.sequence)
	}
	return prev.sealBy(&s.segmentActivation)
}

// follows checks the first segment.
func (s *segment) follows(base logBase) error {
	if s.prevSequence != base.sequence || s.baseIndex != base.index+1 || s.baseOffset != base.offset {
		return corrupt(s.name, activationPos,
			"it continues segment %d at raft index %d, offset %d, but the log starts behind segment %d at %d, %d: segments are missing",
			s.prevSequence, s.baseIndex, s.baseOffset, base.sequence, base.index+1, base.offset)
	}
	return nil
}

// sealBy takes a segment's end from the activation of the one that follows.
func (s *segment) sealBy(next *segmentActivation) error {
	if next.prevSize < segmentHeaderSize || next.prevSize > s.capacity || next.baseIndex < s.baseIndex || next.baseOffset < s.baseOffset {
		return corrupt(s.name, activationPos, "the segment after it says that it ends at byte %d, raft index %d, offset %d",
			next.prevSize, next.baseIndex-1, next.baseOffset)
	}
	s.tail.Store(&segmentTail{
		size: next.prevSize, lastIndex: next.baseIndex - 1, lastTerm: next.prevTerm, nextOffset: next.baseOffset,
		maxTimestamp: next.prevMaxTimestamp, sealed: true,
	})
	return nil
}
