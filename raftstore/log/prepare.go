package log

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// nextCapacityLocked returns the capacity of a new segment: twice that of the active one up to the limit, and
// always enough for n bytes of frames.
func (l *Log) nextCapacityLocked(n int64) int64 {
	capacity := int64(FirstSegmentBytes)
	if l.active != nil {
		capacity = 2 * l.active.capacity
	}
	capacity = min(capacity, l.segmentBytes.Load())
	for capacity < n+segmentHeaderSize {
		capacity *= 2
	}
	return capacity
}

// preparedSegment is a file with its final name, its space and its identity, but not yet a place in the log.
type preparedSegment struct {
	fs       vfs.FS
	file     vfs.File
	name     string
	id       segmentIdentity
	capacity int64
}

// activate describes the segment as the continuation of base, the end of the segment before it. The log
// holds the first reference to the result.
func (p *preparedSegment) activate(base logBase, prevSize, prevMaxTimestamp int64) *segment {
	s := &segment{
		fs: p.fs, name: p.name, segmentIdentity: p.id, seed: frameSeed(p.id.salt),
		segmentActivation: segmentActivation{
			baseIndex: base.index + 1, prevTerm: base.term, baseOffset: base.offset,
			prevSequence: base.sequence, prevSize: prevSize, prevMaxTimestamp: prevMaxTimestamp,
			capacity: p.capacity,
		},
		file: p.file, refs: 1,
	}
	s.tail.Store(s.emptyTail())
	return s
}

// extendNextLocked enlarges the prepared segment. Without space it stays as it was; after a failed sync its
// durable size is unknown, and it is given up.
func (l *Log) extendNextLocked(capacity int64) error {
	p := l.next
	if err := l.o.Recycler.relieved(capacity-p.capacity, func() error { return p.file.Allocate(capacity) }); err != nil {
		return fmt.Errorf("extend %s to %d bytes: %w", p.name, capacity, err)
	}
	if err := p.file.Sync(); err != nil {
		l.next = nil
		_ = p.file.Close()
		_ = l.fs.Remove(p.name) // if this fails, the next Open removes it
		return fmt.Errorf("sync %s: %w", p.name, err)
	}
	p.capacity = capacity
	return nil
}

// prepare makes a segment file. Its space, identity and name are durable when it returns. It needs no lock:
// the sequence is the caller's alone.
func (l *Log) prepare(sequence uint64, capacity int64) (*preparedSegment, error) {
	temp := sequenceName(l.dir, sequence, prepareSuffix)
	p := &preparedSegment{
		fs: l.fs, name: sequenceName(l.dir, sequence, segmentSuffix), capacity: capacity,
		id: segmentIdentity{salt: l.o.newSalt(), sequence: sequence},
	}
	err := l.obtain(p, temp)
	if err == nil {
		err = p.initialize(temp)
	}
	if err == nil {
		err = l.fs.SyncDir(l.dir)
	}
	if err != nil {
		if p.file != nil {
			_ = p.file.Close()
			// What cannot be removed is removed by the next Open.
			_ = l.fs.Remove(temp)
			_ = l.fs.Remove(p.name)
		}
		return nil, fmt.Errorf("prepare %s: %w", p.name, err)
	}
	return p, nil
}

// obtain opens a recycled or a new file of at least p.capacity bytes under the name temp.
func (l *Log) obtain(p *preparedSegment, temp string) error {
	if l.o.Recycler != nil {
		f, size, err := l.o.Recycler.take(p.capacity, temp)
		if err != nil {
			return err
		}
		if f != nil {
			p.file, p.capacity = f, size
			return nil
		}
	}
	return l.o.Recycler.relieved(p.capacity, func() error {
		if p.file == nil {
			f, err := l.fs.Create(temp)
			if err != nil {
				return err
			}
			p.file = f
		}
		return p.file.Allocate(p.capacity)
	})
}

// initialize writes a new identity over the whole header block, makes it durable, and only then gives the
// file its name: a file with a segment's name has an identity. Frames of a recycled file's earlier use stay
// where they are; they do not check under the new salt.
func (p *preparedSegment) initialize(temp string) error {
	block := make([]byte, segmentHeaderSize)
	copy(block, p.id.encode())
	if _, err := p.file.WriteAt(block, 0); err != nil {
		return err
	}
	if err := p.file.Sync(); err != nil {
		return err
	}
	return p.fs.Rename(temp, p.name)
}

func randomSalt() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}
