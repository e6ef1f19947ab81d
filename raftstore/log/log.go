package log

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/raftstore/vfs"
)

// FlushMode says when StoreLogs' entries become durable.
type FlushMode uint8

const (
	// FlushFsync: before StoreLogs returns.
	FlushFsync FlushMode = iota
	// FlushRelaxed: at the next Sync, or when the segment is sealed. A power loss may take
	// acknowledged entries from the end of the log, never from its middle.
	FlushRelaxed
)

// Segment capacities in bytes: the default limit, and what the first segment of a log gets.
const (
	DefaultSegmentBytes = 64 << 20
	FirstSegmentBytes   = 1 << 20
	maxSegmentBytes     = 2 << 30
)

// defaultSyncBehind: under FlushRelaxed the housekeeper syncs whenever so many bytes wait, so that
// sealing a segment, which has to sync, finds little left to do.
const defaultSyncBehind = 8 << 20

// Observer hears of the log's work. Its methods are called with the log locked: they must be quick
// and must not call the log.
type Observer interface {
	// Appended: so many entries and bytes (frames) were written by one StoreLogs.
	Appended(entries int, bytes int64)
	// Synced: one sync of a segment took so long.
	Synced(time.Duration)
}

// Options configure Open. The zero value is usable.
type Options struct {
	// SegmentBytes is the greatest capacity of a segment; 0 is DefaultSegmentBytes. A single append
	// that needs more gets a larger segment.
	SegmentBytes int64
	Flush        FlushMode
	Recycler     *Recycler    // nil: dropped files are removed
	Logger       *slog.Logger // nil: silent
	Observer     Observer     // nil: none
	// OnFailed is called once when the log fails for good, by the goroutine that found out; it must
	// not call the log.
	OnFailed func(error)
	// OnRoll is called by StoreLogs, without locks, after a segment was sealed; lastIndex is its last
	// raft index. It must not block.
	OnRoll func(lastIndex uint64)

	// syncBehind is how many bytes may wait for a sync under FlushRelaxed; 0 is defaultSyncBehind.
	syncBehind int64
	// inline does the housekeeping within StoreLogs, so that tests see every operation in order.
	inline bool
	// newSalt makes golden files possible.
	newSalt func() uint64
}

// Log is the log of one partition: raft's log store and the records' storage at once. All methods are
// safe for concurrent use; writers (StoreLogs, DeleteRange, Retain, Reset) exclude each other, readers
// do not wait for them.
type Log struct {
	fs  vfs.FS
	dir string
	o   Options

	// state is what readers see. It is replaced when a segment comes or goes.
	state atomic.Pointer[logState]
	// durableIndex is the last raft index known to survive a power loss.
	durableIndex atomic.Uint64
	failure      atomic.Pointer[error]
	// reserved is the bytes of frames that were promised room, room how many there is room for.
	reserved, room atomic.Int64
	shut           atomic.Bool // closed, for readers
	cursor         readCursor
	loaded         loadedSegments
	indexFiles     sync.Mutex // held while an index file is replaced; taken last

	// front is held by whoever changes where the log starts, or takes entries away: Retain,
	// DeleteRange, Reset. Lock order: front, mu, segment.mu; loaded.mu before segment.mu.
	front sync.Mutex

	mu       sync.Mutex // guards everything below, and is held by writers
	closed   bool
	active   *segment // nil while the log has no segment; its file stays open
	file     vfs.File // of the active segment
	durable  int64    // end of what a sync of the active segment covered
	sequence uint64   // the greatest segment sequence in use
	next     *preparedSegment
	keeper   housekeeper
	staging  staging
}

// logState is immutable.
type logState struct {
	// segments, oldest first; the last one is the active one.
	segments []*segment
	// base is where the log starts: the entry before the first segment.
	base logBase
	// startOffset is the log start offset: at least the first segment's base offset.
	startOffset int64
	// epoch counts the times that readable entries were taken away from the log's end.
	epoch uint64
}

// logBase is the place before a log's first entry.
type logBase struct {
	index    uint64
	term     uint64 // 0 unknown
	offset   int64
	sequence uint64 // of the segment that ended here; all up to it have left the log
}

func (st *logState) tail() *segmentTail {
	if n := len(st.segments); n > 0 {
		return st.segments[n-1].tail.Load()
	}
	return &segmentTail{lastIndex: st.base.index, lastTerm: st.base.term, nextOffset: st.base.offset, maxTimestamp: noTimestamp}
}

// bounds are the first and the last raft index; 0, 0 when the log is empty.
func (st *logState) bounds() (first, last uint64) {
	first, last = st.base.index+1, st.tail().lastIndex
	if last < first {
		return 0, 0
	}
	return first, last
}

// FirstIndex implements raft.LogStore; 0 if there are no entries.
func (l *Log) FirstIndex() (uint64, error) {
	first, _ := l.state.Load().bounds()
	return first, nil
}

// LastIndex implements raft.LogStore; 0 if there are no entries.
func (l *Log) LastIndex() (uint64, error) {
	_, last := l.state.Load().bounds()
	return last, nil
}

// IsMonotonic implements raft.MonotonicLogStore: entries have no gaps.
func (l *Log) IsMonotonic() bool { return true }

// StoreLog implements raft.LogStore.
func (l *Log) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StartOffset is the log start offset: the first offset that may be read.
func (l *Log) StartOffset() int64 { return l.state.Load().startOffset }

// EndOffset is the log end offset (exclusive), including entries that raft has not committed.
func (l *Log) EndOffset() int64 { return l.state.Load().tail().nextOffset }

// DurableIndex is the last raft index that a sync covered. Under FlushFsync it is the last index.
func (l *Log) DurableIndex() uint64 { return l.durableIndex.Load() }

// SizeBytes is the size of all frames and segment headers, without preallocated room.
func (l *Log) SizeBytes() int64 {
	var n int64
	for _, s := range l.state.Load().segments {
		n += s.tail.Load().size
	}
	return n
}

// Failed is nil, or the error that stopped the log; it wraps ErrFailed.
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

// Sync makes everything durable that StoreLogs returned for before the call. Appends go on meanwhile.
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
	defer l.mu.Unlock()
	// A truncation in between synced and set durable itself; a roll synced the whole segment.
	if l.active == s && s.tail.Load().size >= tail.size && tail.size > l.durable {
		l.durable = tail.size
		l.durableIndex.Store(tail.lastIndex)
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

// usableLocked is the error of a writer that may not write.
func (l *Log) usableLocked() error {
	if l.closed {
		return ErrClosed
	}
	return l.Failed()
}

// fail stops the log for good. Returns the error to report.
func (l *Log) fail(cause error) error {
	err := fmt.Errorf("%w: %w", ErrFailed, cause)
	if !l.failure.CompareAndSwap(nil, &err) {
		return l.Failed()
	}
	l.o.Logger.Error("the log takes no more entries", "dir", l.dir, "err", cause)
	if l.o.OnFailed != nil {
		l.o.OnFailed(err)
	}
	return err
}

// Close syncs the log and closes its files. Readers must have returned. A second Close does nothing.
func (l *Log) Close() error {
	var err error
	if l.Failed() == nil { // else it was reported when it happened
		err = l.Sync()
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.shut.Store(true)
	l.noteRoomLocked()
	l.mu.Unlock()
	l.keeper.wait()

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
