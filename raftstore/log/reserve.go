package log

import "fmt"

// spareBytes are kept free beyond every reservation, for the entries that nobody reserves: no-ops and
// configurations, which raft must be able to store on a full disk, and new log start offsets, by which
// space is made.
const spareBytes = 64 << 10

// Reserve makes sure that one entry with n bytes of data and extensions can be stored without asking
// the file system for space, on top of everything reserved before. The reservation stands until Release
// gives it back: when the entry is stored, or never will be. Errors: ErrDiskFull, ErrFailed,
// ErrClosed; then nothing is reserved.
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
