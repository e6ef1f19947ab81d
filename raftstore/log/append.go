package log

import (
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/record"
)

// Headers of frames, and payloads smaller than copyBelow bytes, are copied into one buffer; larger payloads
// are written from where they are. A buffer larger than keepStaging bytes is not kept.
const (
	copyBelow   = 1 << 10
	keepStaging = 1 << 20
)

// staging is what one StoreLogs prepares. Its memory is used again by the next. Log.mu covers it.
type staging struct {
	headers []frameHeader
	arena   []byte
	copied  int          // bytes of arena that bufs has already
	bufs    [][]byte     // of one write: pieces of the arena, and payloads
	pending *segmentTail // of the active segment, with frames that readers do not see yet; nil if none
}

func (s *staging) reset() {
	clear(s.bufs)
	s.bufs, s.copied = s.bufs[:0], 0
	s.arena = s.arena[:0]
	if cap(s.arena) > keepStaging {
		s.arena = nil
	}
}

// add stages a payload's bytes.
func (s *staging) add(payload []byte) {
	if len(payload) < copyBelow {
		s.arena = append(s.arena, payload...)
		return
	}
	s.flush()
	s.bufs = append(s.bufs, payload)
}

// flush adds the arena's new bytes to bufs. They stay valid when the arena grows later: append then copies
// them to another array, and nothing changes the old one.
func (s *staging) flush() {
	if len(s.arena) > s.copied {
		s.bufs = append(s.bufs, s.arena[s.copied:])
		s.copied = len(s.arena)
	}
}

// StoreLogs implements raft.LogStore. It patches base offset and leader epoch of the record batches of
// every LogCommand in place, then writes all entries, and makes them durable under FlushFsync. The
// entries' bytes must not change before it returns, and are not kept. After ErrDiskFull, ErrGap and
// ErrMalformedEntry the log is as before; ErrFailed means that it failed now or earlier.
func (l *Log) StoreLogs(entries []*raft.Log) error {
	if len(entries) == 0 {
		return nil
	}
	l.mu.Lock()
	sealed, err := l.storeLocked(entries)
	l.staging.reset()
	due := l.maintenanceDueLocked()
	l.mu.Unlock()
	if sealed != nil {
		if l.o.OnRoll != nil {
			l.o.OnRoll(sealed.tail.Load().lastIndex)
		}
		l.tellDurable()
	}
	if due || sealed != nil {
		l.startMaintenance()
	}
	return err
}

// storeLocked appends the entries to the active segment and, from the first one that does not fit there,
// to the next, and returns the segment that it sealed thereby, if any. There is at most one roll: space for
// all frames is made before the first write, so that a full disk changes nothing.
//
// Readers see an entry when publishLocked stores the tail that includes it: under FlushFsync after the sync,
// so that nothing is read that a power loss may take back. A failed write or sync leaves it open which bytes
// are on disk: the log fails, and readers never see those entries.
func (l *Log) storeLocked(entries []*raft.Log) (sealed *segment, err error) {
	if err := l.usableLocked(); err != nil {
		return nil, err
	}
	total, err := l.planLocked(entries)
	if err != nil {
		return nil, err
	}
	defer l.noteRoomLocked()
	if err := l.ensureLocked(total); err != nil {
		return nil, fmt.Errorf("append raft index %d: %w", entries[0].Index, err)
	}

	headers := l.staging.headers
	if l.active != nil {
		n, err := l.appendLocked(headers, entries)
		if err != nil {
			return nil, l.fail(err)
		}
		headers, entries = headers[n:], entries[n:]
	}
	if len(headers) > 0 {
		sealed = l.active
		if err := l.rollLocked(); err != nil {
			return nil, l.fail(err)
		}
		if _, err := l.appendLocked(headers, entries); err != nil {
			return sealed, l.fail(err)
		}
	}
	if l.o.Flush == FlushFsync {
		if err := l.syncActiveLocked(); err != nil {
			return sealed, l.fail(err)
		}
	}
	l.publishLocked()
	l.removedLast.Store(0)
	if l.o.Observer != nil {
		l.o.Observer.Appended(len(l.staging.headers), total)
	}
	return sealed, nil
}

// planLocked makes the headers of the frames, assigns offsets, and returns the total size of the frames.
func (l *Log) planLocked(entries []*raft.Log) (int64, error) {
	tail := l.state.Load().tail()
	index, term, offset := tail.lastIndex, tail.lastTerm, tail.nextOffset
	l.staging.headers = l.staging.headers[:0]
	var total int64
	for _, e := range entries {
		h := frameHeader{
			kind: e.Type, dataLen: uint32(len(e.Data)), extLen: uint32(len(e.Extensions)),
			index: e.Index, term: e.Term, baseOffset: offset, nextOffset: offset,
			maxTimestamp: noTimestamp, appendedAt: appendedAtNanos(e.AppendedAt),
		}
		switch {
		case e.Index != index+1:
			return 0, fmt.Errorf("%w: raft index %d after %d", ErrGap, e.Index, index)
		case e.Term < term:
			return 0, fmt.Errorf("%w: raft index %d has term %d after term %d", ErrMalformedEntry, e.Index, e.Term, term)
		case int64(len(e.Data))+int64(len(e.Extensions)) > maxFramePayload:
			return 0, fmt.Errorf("%w: raft index %d has %d bytes", ErrMalformedEntry, e.Index, len(e.Data)+len(e.Extensions))
		}
		if e.Type == raft.LogCommand {
			if err := assignOffsets(&h, e.Data); err != nil {
				return 0, fmt.Errorf("%w: raft index %d: %w", ErrMalformedEntry, e.Index, err)
			}
		}
		l.staging.headers = append(l.staging.headers, h)
		index, term, offset = e.Index, e.Term, h.nextOffset
		total += h.size()
	}
	return total, nil
}

// assignOffsets patches base offset and leader epoch of a command's batches and completes its header.
func assignOffsets(h *frameHeader, data []byte) error {
	for len(data) > 0 {
		b, rest, err := record.Split(data)
		if err != nil {
			return err
		}
		if b.LastOffsetDelta() < 0 {
			return fmt.Errorf("batch with a last offset delta of %d", b.LastOffsetDelta())
		}
		b.SetBaseOffset(h.nextOffset)
		b.SetLeaderEpoch(int32(uint32(h.term)))
		h.nextOffset = b.NextOffset()
		h.maxTimestamp = max(h.maxTimestamp, b.MaxTimestamp())
		data = rest
	}
	return nil
}

// appendLocked writes as many of the frames as fit into the active segment, in one write, and returns
// their number. Readers do not see them before publishLocked.
//
// Each header says how many bytes of the segment were durable before this write. That is what tells a torn
// tail from damage later: see scan.search.
func (l *Log) appendLocked(headers []frameHeader, entries []*raft.Log) (int, error) {
	s, st := l.active, &l.staging
	tail := new(segmentTail)
	*tail = *s.tail.Load()
	st.reset()
	start, n := tail.size, 0
	for i := range headers {
		h := &headers[i]
		if tail.size+h.size() > s.capacity {
			break
		}
		h.durable, h.generation = uint32(l.durable), s.cut.generation
		h.payloadCRC = payloadSum(s.seed, entries[i].Extensions, entries[i].Data)
		st.arena = h.append(st.arena, s.seed)
		st.add(entries[i].Extensions)
		st.add(entries[i].Data)
		st.arena = append(st.arena, make([]byte, h.size()-frameHeaderSize-h.payloadLen())...)
		// The new tail may share its array with the published one, whose length hides the new entries.
		tail.index = appendIndex(tail.index, tail.size, h, s.baseIndex, tail.maxTimestamp)
		tail.size += h.size()
		tail.lastIndex, tail.lastTerm, tail.nextOffset = h.index, h.term, h.nextOffset
		tail.maxTimestamp = max(tail.maxTimestamp, h.maxTimestamp)
		n++
	}
	if n == 0 {
		return 0, nil
	}
	st.flush()
	if _, err := l.file.WritevAt(st.bufs, start); err != nil {
		return 0, fmt.Errorf("write %s at %d: %w", s.name, start, err)
	}
	st.pending = tail
	return n, nil
}

// syncActiveLocked makes everything durable that was written to the active segment.
func (l *Log) syncActiveLocked() error {
	tail := l.writtenLocked()
	if l.durable >= tail.size {
		return nil
	}
	if err := l.syncFile(l.file); err != nil {
		return fmt.Errorf("sync %s: %w", l.active.name, err)
	}
	l.durable = tail.size
	return nil
}

// writtenLocked returns the active segment's tail including frames that are not published.
func (l *Log) writtenLocked() *segmentTail {
	if l.staging.pending != nil {
		return l.staging.pending
	}
	return l.active.tail.Load()
}

// publishLocked shows readers the frames that were written.
func (l *Log) publishLocked() {
	tail := l.writtenLocked()
	l.staging.pending = nil
	l.active.tail.Store(tail)
	if l.durable >= tail.size {
		l.noteDurableLocked(tail.lastIndex, tail.nextOffset)
	}
}

// rollLocked seals the active segment, if there is one, and makes the prepared one active.
//
// The order of what becomes durable: all of the old segment, by a sync here; then, by one sync later, the new
// segment's activation together with its first frames. The activation records where the old segment ended.
// After a crash between the two the new segment has no activation and is unused, and the old one is again the
// last: nothing is lost, as nothing in the new one was acknowledged as durable. Activation and frames may
// also reach the disk in the other order; frames without activation are not taken for entries.
//
// A Sync that runs meanwhile has its own reference to the old segment: see there. A reader that loaded the
// state before sees the old segment's tail as it was, or sealed; both end at the same entry.
func (l *Log) rollLocked() error {
	st := *l.state.Load()
	base := st.base
	maxTimestamp, size := int64(noTimestamp), int64(0)
	if s := l.active; s != nil {
		if err := l.syncActiveLocked(); err != nil {
			return err
		}
		l.publishLocked()
		tail := s.tail.Load()
		base = logBase{index: tail.lastIndex, term: tail.lastTerm, offset: tail.nextOffset, sequence: s.sequence}
		maxTimestamp, size = tail.maxTimestamp, tail.size
		l.sealLocked(s, tail)
	}
	s := l.next.activate(base, size, maxTimestamp)
	if _, err := l.next.file.WriteAt(s.segmentActivation.encode(s.seed), activationPos); err != nil {
		return fmt.Errorf("activate %s: %w", s.name, err)
	}
	l.active, l.file, l.durable, l.next = s, l.next.file, 0, nil
	st.segments = append(st.segments[:len(st.segments):len(st.segments)], s)
	l.state.Store(&st)
	return nil
}

// sealLocked makes the active segment, which is durable, read-only. Its index moves from the tail to the
// segment first: a reader that sees the sealed tail looks for it there. The log's reference ends; the cache
// keeps the file open for readers.
func (l *Log) sealLocked(s *segment, tail *segmentTail) {
	s.mu.Lock()
	s.index, s.indexed = tail.index, true
	s.mu.Unlock()
	sealed := *tail
	sealed.index, sealed.sealed = nil, true
	s.tail.Store(&sealed)
	l.maintenance.unindexed = append(l.maintenance.unindexed, s)
	l.cache.touch(s)
	s.release()
	l.active, l.file = nil, nil
}
