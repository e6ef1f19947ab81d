package log

import (
	"cmp"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// FlushMode is when the entries of StoreLogs become durable.
type FlushMode uint8

const (
	// FlushFsync makes entries durable before StoreLogs returns.
	FlushFsync FlushMode = iota
	// FlushRelaxed makes entries durable at the next Sync, or when their segment is sealed. A power loss
	// may remove acknowledged entries from the end of the log, never from its middle.
	FlushRelaxed
)

// Segment capacities in bytes: the default limit, and the capacity of a log's first segment.
const (
	DefaultSegmentBytes = 64 << 20
	FirstSegmentBytes   = 1 << 20
	maxSegmentBytes     = 2 << 30
)

// defaultSyncBehind is how many bytes may lack a sync under FlushRelaxed before maintenance syncs them.
// Sealing a segment must sync all of it, during an append: this keeps that sync short.
const defaultSyncBehind = 8 << 20

// Observer is told of appends and syncs. Its methods are called with locks of the log held: they must
// return quickly and must not call the log.
type Observer interface {
	// Appended is called after one StoreLogs with the number of its entries and the size of their frames.
	Appended(entries int, bytes int64)
	// Synced is called after each sync of a segment with its duration.
	Synced(time.Duration)
}

// Options configure Open. The zero value is usable.
type Options struct {
	// SegmentBytes is the greatest capacity of a segment; 0 is DefaultSegmentBytes. A single append
	// that needs more gets a larger segment.
	SegmentBytes int64
	Flush        FlushMode
	Recycler     *Recycler    // nil: dropped files are removed
	Logger       *slog.Logger // nil: no logs
	Observer     Observer     // nil: none
	// OnFailed is called once, when the log fails for good, by the goroutine that met the failure. Locks
	// may be held: it must not call the log.
	OnFailed func(error)
	// OnRoll is called by StoreLogs, without locks, after a segment was sealed; lastIndex is its last
	// raft index. It must not block.
	OnRoll func(lastIndex uint64)
	// OnDurable is called, without locks, after a Sync or the sealing of a segment raised DurableOffset. Under
	// FlushFsync StoreLogs raises it too, and does not call. It must not block.
	OnDurable func()

	// syncBehind is how many bytes may lack a sync under FlushRelaxed; 0 is defaultSyncBehind.
	syncBehind int64
	// inline runs maintenance within StoreLogs, so that tests see every operation in order.
	inline bool
	// newSalt is replaced for golden files.
	newSalt func() uint64
}

func (o Options) withDefaults() Options {
	o.SegmentBytes = cmp.Or(o.SegmentBytes, DefaultSegmentBytes)
	o.syncBehind = cmp.Or(o.syncBehind, defaultSyncBehind)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.newSalt == nil {
		o.newSalt = randomSalt
	}
	return o
}

func (o Options) validate() error {
	if o.SegmentBytes < 2*segmentHeaderSize || o.SegmentBytes > maxSegmentBytes {
		return fmt.Errorf("a segment size of %d bytes is not in %d..%d", o.SegmentBytes, 2*segmentHeaderSize, maxSegmentBytes)
	}
	return nil
}

// Log is the log of one partition: raft's log store and the storage of the records. All methods are safe
// for concurrent use. StoreLogs, DeleteRange, Retain and Reset exclude each other where they must; readers
// wait for none of them.
//
// Lock order: removeMu, mu, cache.mu, segment.mu, indexFiles. cursor.mu and the recycler's mutex are held
// for memory accesses only, and nothing is locked under them.
type Log struct {
	fs    vfs.FS
	dir   string
	o     Options // immutable but for Flush, which mu covers, and SegmentBytes, which segmentBytes replaces
	close func() error

	// state is what readers see: the segments and where the log starts. It is replaced, under mu, when a
	// segment is added or removed or the start moves. The tail of each segment is an atomic pointer of its
	// own: an append replaces only that.
	state atomic.Pointer[logState]
	// durableIndex is the last raft index that a sync covered, and durableOffset the offset after it. Written under
	// mu, by noteDurableLocked.
	durableIndex  atomic.Uint64
	durableOffset atomic.Int64
	failure       atomic.Pointer[error] // why the log takes no more entries; set once
	// reserved is the size of all frames that Reserve promised room for, and room the size of the frames
	// that there is room for. What makes them safe to use without mu is written at Reserve.
	reserved, room atomic.Int64
	readersClosed  atomic.Bool // closed, for readers, which do not take mu
	// removedLast is the last index that the log had before entries were removed from its end, until new ones are
	// stored; 0 if none were removed. See GetLog.
	removedLast  atomic.Uint64
	cursor       readCursor
	segmentBytes atomic.Int64 // Options.SegmentBytes, or what SetSegmentBytes put in its place
	cache        segmentCache
	// indexFiles is held while an index file is replaced: two replacements of one file must not overlap.
	// Maintenance writes it after sealing, a reader when it had to rebuild it.
	indexFiles sync.Mutex

	// removeMu is held by Retain, DeleteRange and Reset from beginning to end. It covers which entries
	// leave the log: while it is held, only the holder changes the state's base, start offset and first
	// segments, also where the holder releases mu to use the file system. An append holds mu alone and may
	// add entries and segments at the end meanwhile.
	removeMu sync.Mutex

	// mu covers the fields below and the right to write to the active segment. StoreLogs holds it during
	// its write and sync, so that entries reach the disk in order.
	mu          sync.Mutex
	closed      bool
	active      *segment // nil while the log has no segment; the log holds a reference to it
	file        vfs.File // of the active segment
	durable     int64    // end of the active segment's bytes that a sync covered
	sequence    uint64   // the greatest segment sequence in use
	next        *preparedSegment
	maintenance maintenance
	staging     staging
}

// logState is what readers see at one moment. Immutable.
type logState struct {
	// segments are in the order of their entries; the last one is the active one.
	segments []*segment
	// base is where the log starts: the entry before the first segment.
	base logBase
	// startOffset is the log start offset: at least the first segment's base offset.
	startOffset int64
	// truncations counts how often readable entries were removed from the log's end.
	truncations uint64
}

// logBase is the place before a log's first entry.
type logBase struct {
	index    uint64
	term     uint64 // 0 unknown
	offset   int64
	sequence uint64 // of the segment that ended here; segments up to it have left the log
}

func (st *logState) tail() *segmentTail {
	if n := len(st.segments); n > 0 {
		return st.segments[n-1].tail.Load()
	}
	return &segmentTail{lastIndex: st.base.index, lastTerm: st.base.term, nextOffset: st.base.offset, maxTimestamp: noTimestamp}
}

// bounds returns the first and the last raft index; 0, 0 when the log is empty.
func (st *logState) bounds() (first, last uint64) {
	first, last = st.base.index+1, st.tail().lastIndex
	if last < first {
		return 0, 0
	}
	return first, last
}

// FirstIndex implements raft.LogStore. It returns 0 if there are no entries.
func (l *Log) FirstIndex() (uint64, error) {
	first, _ := l.state.Load().bounds()
	return first, nil
}

// LastIndex implements raft.LogStore. It returns 0 if there are no entries.
func (l *Log) LastIndex() (uint64, error) {
	_, last := l.state.Load().bounds()
	return last, nil
}

// IsMonotonic implements raft.MonotonicLogStore. The indexes have no gaps, but of a store that says so Raft
// deletes every entry when it installs a snapshot, also those after the snapshot, which it may have acknowledged:
// the log would end before what the leader counts as stored here. So it says no; Raft then compacts, which deletes
// nothing while TrailingLogs is out of reach, and whoever installs the snapshot calls Reset where it must.
func (l *Log) IsMonotonic() bool { return false }

// StoreLog implements raft.LogStore.
func (l *Log) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StartOffset returns the log start offset: the first offset that may be read.
func (l *Log) StartOffset() int64 { return l.state.Load().startOffset }

// EndOffset returns the log end offset (exclusive), including entries that raft has not committed.
func (l *Log) EndOffset() int64 { return l.state.Load().tail().nextOffset }

// DurableIndex returns the last raft index that a sync covered. Under FlushFsync it is the last index.
func (l *Log) DurableIndex() uint64 { return l.durableIndex.Load() }

// DurableOffset returns the offset after the last record that a sync covered: no power loss takes a record below
// it. Under FlushFsync it is the log end offset. Under FlushRelaxed it lags; Sync raises it to what the log end
// offset was at the call, and Options.OnDurable tells when it rose.
func (l *Log) DurableOffset() int64 { return l.durableOffset.Load() }

// noteDurableLocked notes that everything up to an entry, which the offset follows, is durable.
func (l *Log) noteDurableLocked(index uint64, offset int64) {
	l.durableIndex.Store(index)
	l.durableOffset.Store(offset)
}

// tellDurable calls OnDurable. No lock is held.
func (l *Log) tellDurable() {
	if l.o.OnDurable != nil {
		l.o.OnDurable()
	}
}

// SizeBytes returns the size of all frames and segment headers, without preallocated space.
func (l *Log) SizeBytes() int64 {
	var n int64
	for _, s := range l.state.Load().segments {
		n += s.tail.Load().size
	}
	return n
}

// Failed returns the error that stopped the log, which wraps ErrFailed, or nil.
func (l *Log) Failed() error {
	if err := l.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// SetFlush changes the flush mode. A change to FlushFsync makes everything durable first.
func (l *Log) SetFlush(m FlushMode) error {
	l.mu.Lock()
	l.o.Flush = m
	l.mu.Unlock()
	if m == FlushFsync {
		return l.Sync()
	}
	return nil
}

// SetSegmentBytes changes the greatest capacity of a segment, from the next roll on: the active segment is filled as
// it is, and a segment that is prepared already is used only as far as the new limit and what is reserved allow.
func (l *Log) SetSegmentBytes(n int64) error {
	o := Options{SegmentBytes: n}.withDefaults()
	if err := o.validate(); err != nil {
		return fmt.Errorf("change log %s: %w", l.dir, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segmentBytes.Store(o.SegmentBytes)
	l.limitNextLocked()
	return nil
}

// limitNextLocked lowers the prepared segment's capacity to the limit, but not below what is reserved. The room is
// taken away first: a Reserve that still finds it may have to ask for space when its entry is stored, as after a
// truncation.
func (l *Log) limitNextLocked() {
	defer l.noteRoomLocked()
	if l.next == nil {
		return
	}
	l.room.Store(0)
	need := l.reserved.Load() + l.spare() + segmentHeaderSize
	l.next.capacity = min(l.next.capacity, max(l.segmentBytes.Load(), need))
}

// Sync makes everything durable for which StoreLogs returned before the call.
//
// mu is not held during the sync itself, so that appends go on. What may happen to the active segment s
// meanwhile:
//
//   - An append adds frames behind tail. This sync may cover them or not: they are not counted.
//   - A roll seals s after it has synced all of it. l.active is then another segment.
//   - A truncation or Reset replaces s by another *segment, even where the file stays the same, and sets
//     durable itself. What this sync covered may have left the log.
//
// In the last two cases l.active differs from s, and nothing is noted. The file stays open in all of them,
// as acquire took a reference.
func (l *Log) Sync() error {
	l.mu.Lock()
	if err := l.usableLocked(); err != nil {
		l.mu.Unlock()
		return err
	}
	s := l.active
	if s == nil || l.durable >= s.tail.Load().size {
		l.mu.Unlock()
		return nil
	}
	tail := s.tail.Load()
	file, err := s.acquire()
	l.mu.Unlock()
	if err != nil {
		return err
	}
	defer s.release()
	if err := l.syncFile(file); err != nil {
		return l.fail(fmt.Errorf("sync %s: %w", s.name, err))
	}
	l.mu.Lock()
	raised := l.active == s && tail.size > l.durable // unless another Sync has covered more
	if raised {
		l.durable = tail.size
		l.noteDurableLocked(tail.lastIndex, tail.nextOffset)
	}
	l.mu.Unlock()
	if raised {
		l.tellDurable()
	}
	return nil
}

func (l *Log) syncFile(f vfs.File) error {
	start := time.Now()
	err := f.SyncData()
	if l.o.Observer != nil {
		l.o.Observer.Synced(time.Since(start))
	}
	return err
}

// usableLocked returns why nothing may be written, or nil.
func (l *Log) usableLocked() error {
	if l.closed {
		return ErrClosed
	}
	return l.Failed()
}

// fail stops the log for good and returns the error to report, which is that of the first failure. It is
// called with mu held or without.
func (l *Log) fail(cause error) error {
	err := fmt.Errorf("%w: %w", ErrFailed, cause)
	if !l.failure.CompareAndSwap(nil, &err) {
		return l.Failed()
	}
	l.o.Logger.Error("log failed; it takes no more entries", "dir", l.dir, "error", cause)
	if l.o.OnFailed != nil {
		l.o.OnFailed(err)
	}
	return err
}

// Close syncs the log and closes its files. Readers must have returned. It is idempotent.
func (l *Log) Close() error { return l.close() }

func (l *Log) shutdown() error {
	var err error
	if l.Failed() == nil { // else it was reported when it happened
		err = l.Sync()
	}
	l.mu.Lock()
	l.closed = true
	l.readersClosed.Store(true)
	l.noteRoomLocked()
	l.mu.Unlock()
	l.maintenance.tasks.Wait() // none starts once closed is set

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next != nil {
		_ = l.next.file.Close() // holds no entries
		l.next = nil
	}
	if l.active != nil {
		l.active.release()
		l.active, l.file = nil, nil
	}
	for _, s := range l.state.Load().segments {
		s.unload()
	}
	return err
}
