package log

import (
	"errors"
	"fmt"
	"io"
	"path"
	"sync"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// Open opens the log in dir, which is made if it is missing. It reads the headers of all segments and the
// frames of the last one, and cuts a torn tail. Damage is refused with a *CorruptionError.
//
// Whatever it goes by is durable first. A process that was killed may have left names and bytes in memory only: a
// renamed start file, segments whose names are not on disk, a removal. Were they lost after entries had been
// acknowledged on top of them, the log would end before those or have a hole.
func Open(fsys vfs.FS, dir string, o Options) (*Log, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("open log %s: %w", dir, err)
	}
	l := &Log{fs: fsys, dir: dir, o: o}
	l.segmentBytes.Store(o.SegmentBytes)
	l.close = sync.OnceValue(l.shutdown)
	l.maintenance.prepared = sync.NewCond(&l.mu)
	if err := vfs.OpenDirSynced(fsys, dir); err != nil {
		return nil, fmt.Errorf("open log %s: %w", dir, err)
	}
	set, err := readSegmentSet(fsys, dir)
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", dir, err)
	}
	if err := l.recoverState(set); err != nil {
		return nil, fmt.Errorf("open log %s: %w", dir, err)
	}
	return l, nil
}

// segmentSet is what a directory holds, as far as segment headers tell.
type segmentSet struct {
	start    logStart
	segments []*segment // of the log, in order; all but the last are sealed
	// unused are prepared segments after the last one that have no valid activation.
	unused []*segment
	// leftovers are paths of files that are not part of the log any more.
	leftovers []string
	sequence  uint64 // the greatest in the directory
}

// readSegmentSet reads the headers of all segments and checks that each continues the one before.
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

// list returns the paths of the segment files that may belong to the log, in order of sequence, and notes the
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

// isLeftover reports whether a name is that of a temporary or dropped file of the log.
func isLeftover(name string) bool {
	for _, suffix := range []string{droppedSuffix, prepareSuffix, indexSuffix} {
		if path.Ext(name) == suffix {
			return true
		}
	}
	return false
}

// readSegment reads a segment's header block. The segment is nil only if the block could not be read or has no
// valid identity.
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

// link appends a segment with a valid activation, which seals the segment before it.
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

// follows checks that the first segment continues base.
func (s *segment) follows(base logBase) error {
	if s.prevSequence != base.sequence || s.baseIndex != base.index+1 || s.baseOffset != base.offset {
		return corrupt(s.name, activationPos,
			"it continues segment %d at raft index %d, offset %d, but the log starts behind segment %d at %d, %d: segments are missing",
			s.prevSequence, s.baseIndex, s.baseOffset, base.sequence, base.index+1, base.offset)
	}
	return nil
}

// sealBy sets a segment's end, which the activation of the next segment records.
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
