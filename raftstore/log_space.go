package raftstore

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/wasmill/wasmill/core/vfs"
)

// spareBytes are kept free beyond every reservation, for the entries that nobody reserves: no-ops and
// configurations, which raft must be able to store on a full disk, and new log start offsets, by which
// space is made.
const spareBytes = 64 << 10

// Reserve makes sure that one entry with n bytes of data and extensions can be stored without asking
// the file system for space, on top of everything reserved before. The reservation stands until Release
// gives it back: when the entry is stored, or never will be. Errors: ErrDiskFull, ErrLogFailed,
// ErrLogClosed; then nothing is reserved.
//
// It does not wait for an append under way while there is room, so that writers can queue up behind
// one sync and share the next.
func (l *Log) Reserve(n int) error {
	if n < 0 || n > maxFramePayload {
		return fmt.Errorf("%w: %d bytes", ErrMalformedEntry, n)
	}
	want := frameSize(int64(n))
	for l.Failed() == nil {
		reserved := l.reserved.Load()
		if reserved+want+l.spare() > l.room.Load() {
			break
		}
		if l.reserved.CompareAndSwap(reserved, reserved+want) {
			return nil
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usableLocked(); err != nil {
		return err
	}
	// Taken down first: those who do not wait for the lock must count it in, or both get the same room.
	reserved := l.reserved.Add(want)
	if err := l.ensureLocked(reserved + l.spare()); err != nil {
		l.reserved.Add(-want)
		return fmt.Errorf("reserve %d bytes: %w", n, err)
	}
	return nil
}

// Release ends a reservation of n bytes.
func (l *Log) Release(n int) { l.reserved.Add(-frameSize(int64(n))) }

func (l *Log) spare() int64 { return min(spareBytes, l.o.SegmentBytes/8) }

// noteRoomLocked tells Reserve how many bytes of frames fit into one of the two segments at hand, so
// that they can be stored with at most one roll wherever their boundaries lie. Whoever takes room away
// must call it; a figure that is too low only costs Reserve the lock.
func (l *Log) noteRoomLocked() {
	room := int64(0)
	if l.active != nil {
		room = l.active.capacity - l.writtenLocked().size
	}
	if l.next != nil {
		room = max(room, l.next.capacity-segmentHeaderSize)
	}
	if l.closed {
		room = 0
	}
	l.room.Store(room)
}

// ensureLocked makes room for n bytes of frames. It may wait for the housekeeper, without the lock.
func (l *Log) ensureLocked(n int64) error {
	defer l.noteRoomLocked()
	for l.noteRoomLocked(); n > l.room.Load(); l.noteRoomLocked() {
		if l.keeper.preparing {
			l.keeper.changed.Wait()
			if err := l.usableLocked(); err != nil {
				return err
			}
			continue
		}
		capacity := l.nextCapacityLocked(n)
		if capacity > maxSegmentBytes {
			return fmt.Errorf("%w: %d bytes at once", ErrMalformedEntry, n)
		}
		if l.next != nil {
			if err := l.extendNextLocked(capacity); err != nil {
				return diskFull(err)
			}
			continue
		}
		l.sequence++
		next, err := l.prepare(l.sequence, capacity)
		if err != nil {
			return diskFull(err)
		}
		l.next, l.keeper.held = next, false
	}
	return nil
}

// nextCapacityLocked doubles from segment to segment up to the limit, and is always enough for n.
func (l *Log) nextCapacityLocked(n int64) int64 {
	capacity := int64(FirstSegmentBytes)
	if l.active != nil {
		capacity = 2 * l.active.capacity
	}
	capacity = min(capacity, l.o.SegmentBytes)
	for capacity < n+segmentHeaderSize {
		capacity *= 2
	}
	return capacity
}

// preparedSegment is a file with its final name, its space and its identity, but no place in the log.
type preparedSegment struct {
	fs       vfs.FS
	file     vfs.File
	name     string
	id       segmentIdentity
	capacity int64
}

// activate makes the segment's description; base is the end of the segment before it.
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

// extendNextLocked enlarges the prepared segment. Without space it stays as it was; after a failed
// sync nobody knows its durable size, and it is given up.
func (l *Log) extendNextLocked(capacity int64) error {
	p := l.next
	if err := p.file.Allocate(capacity); err != nil {
		return fmt.Errorf("extend %s to %d bytes: %w", p.name, capacity, err)
	}
	if err := p.file.Sync(); err != nil {
		l.next = nil
		_ = p.file.Close()
		_ = l.fs.Remove(p.name) // or the next OpenLog does
		return fmt.Errorf("sync %s: %w", p.name, err)
	}
	p.capacity = capacity
	return nil
}

// prepare makes a segment file ready. Everything about it is durable when it returns. Needs no lock.
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
			// Whatever stays is found and disposed of by the next OpenLog.
			_ = l.fs.Remove(temp)
			_ = l.fs.Remove(p.name)
		}
		return nil, fmt.Errorf("prepare %s: %w", p.name, err)
	}
	return p, nil
}

// obtain opens a recycled or a fresh file of at least p.capacity bytes under the name temp.
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
	f, err := l.fs.Create(temp)
	if err != nil {
		return err
	}
	p.file = f
	return f.Allocate(p.capacity)
}

// initialize gives the file its identity and then its name, so that a named segment always has one.
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

// housekeeper does what appends should not wait for: the next segment's file, the index files of sealed
// segments, and syncs under FlushRelaxed. One goroutine at a time, started on demand, awaited by Close. Guarded by Log.mu.
type housekeeper struct {
	running   bool
	preparing bool
	held      bool // preparing failed: leave it to whoever needs the room
	unindexed []*segment
	changed   *sync.Cond // preparing ended
	group     sync.WaitGroup
}

func (k *housekeeper) wait() { k.group.Wait() }

// housekeepingWantedLocked: the next segment is made when the active one is half full.
func (l *Log) housekeepingWantedLocked() bool {
	k := &l.keeper
	if k.running || l.closed {
		return false
	}
	return len(k.unindexed) > 0 || l.nextWantedLocked() || l.syncWantedLocked()
}

func (l *Log) syncWantedLocked() bool {
	return l.o.Flush == FlushRelaxed && l.active != nil && l.Failed() == nil &&
		l.active.tail.Load().size-l.durable >= l.o.syncBehind
}

func (l *Log) nextWantedLocked() bool {
	return l.next == nil && !l.keeper.held && !l.keeper.preparing && l.active != nil && l.Failed() == nil &&
		l.active.tail.Load().size > l.active.capacity/2
}

func (l *Log) kickKeeper() {
	l.mu.Lock()
	if !l.housekeepingWantedLocked() {
		l.mu.Unlock()
		return
	}
	l.keeper.running = true
	l.keeper.group.Add(1)
	l.mu.Unlock()
	if l.o.inline {
		l.keepHouse()
		return
	}
	go l.keepHouse()
}

func (l *Log) keepHouse() {
	defer l.keeper.group.Done()
	l.mu.Lock()
	defer l.mu.Unlock()
	k := &l.keeper
	defer func() { k.running = false }()
	for !l.closed {
		switch {
		case l.nextWantedLocked():
			l.prepareNextLocked()
		case l.syncWantedLocked():
			l.mu.Unlock()
			_ = l.Sync() // a failure stops the log
			l.mu.Lock()
		case len(k.unindexed) > 0:
			s := k.unindexed[0]
			k.unindexed = k.unindexed[1:]
			l.mu.Unlock()
			l.writeIndex(s)
			l.mu.Lock()
		default:
			return
		}
	}
}

// prepareNextLocked works without the lock.
func (l *Log) prepareNextLocked() {
	k := &l.keeper
	l.sequence++
	sequence, capacity := l.sequence, l.nextCapacityLocked(0)
	k.preparing = true
	l.mu.Unlock()
	next, err := l.prepare(sequence, capacity)
	l.mu.Lock()
	k.preparing = false
	k.changed.Broadcast()
	if err != nil {
		k.held = true
		l.o.Logger.Warn("the next log segment could not be prepared ahead", "dir", l.dir, "err", err)
		return
	}
	l.next = next
	l.noteRoomLocked()
}
