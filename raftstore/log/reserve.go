package log

import "fmt"

// spareBytes are kept free beyond all reservations, for entries that are stored without one: no-ops and
// configurations, which raft must be able to store on a full disk, and new log start offsets, which free
// space.
const spareBytes = 64 << 10

// Reserve makes sure that one entry with n bytes of data and extensions can be stored without asking the
// file system for space, in addition to everything reserved before. The reservation holds until Release,
// which is called when the entry is stored or never will be. After an error (ErrDiskFull, ErrFailed,
// ErrClosed) nothing is reserved.
//
// While there is room, Reserve does not take mu, which an append holds during its sync: writers must be able
// to queue behind one sync in order to share the next. Without mu it reads reserved and then room, and adds
// to reserved only if reserved is unchanged. Room may have changed in between:
//
//   - It grew: no harm.
//   - An append took room for a frame. Its entry counts in reserved until Release, which comes after the room
//     was noted: read in this order, reserved may be too high for the room, never too low. An entry without
//     reservation takes from the spare.
//   - A roll replaced it by the room of the new segment, which ensureLocked had made large enough for all of
//     reserved.
//   - A truncation or Reset changed the segments. They note the new room before they return; an entry that was
//     admitted until then may have to ask for space when it is stored.
//
// With mu, want is added to reserved first, and room is made for the sum. In the other order the same room
// could be promised twice: B, with mu, finds room for reserved+b; A, without, finds room for reserved+a and
// adds a; B adds b.
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
	reserved := l.reserved.Add(want)
	if err := l.ensureLocked(reserved + l.spare()); err != nil {
		l.reserved.Add(-want)
		return fmt.Errorf("reserve %d bytes: %w", n, err)
	}
	return nil
}

// Release ends a reservation of n bytes. It must come after the StoreLogs of its entry has returned.
func (l *Log) Release(n int) { l.reserved.Add(-frameSize(int64(n))) }

func (l *Log) spare() int64 { return min(spareBytes, l.segmentBytes.Load()/8) }

// noteRoomLocked stores the size of the frames that fit into one of two segments, the active or the next
// one: so many can be stored with at most one roll, wherever their boundaries lie. It must be called after
// everything that takes room away. A room that is too low only makes Reserve take mu.
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

// ensureLocked makes room for n bytes of frames. While maintenance prepares a segment it waits for that,
// with mu released: two prepared segments have no use.
func (l *Log) ensureLocked(n int64) error {
	defer l.noteRoomLocked()
	for l.noteRoomLocked(); n > l.room.Load(); l.noteRoomLocked() {
		if l.maintenance.preparing {
			l.maintenance.prepared.Wait()
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
		l.next, l.maintenance.prepareFailed = next, false
	}
	return nil
}
