// Package partition is one partition of a topic on this broker: a Raft group whose log is the
// partition's log. It takes record batches, assigns them offsets through Raft, remembers idempotent
// producers and positions, serves reads below the high watermark and drops what retention has given up.
//
// The way of a write: Append checks sequences and order under one lock (append.go, admit.go), Raft
// hands the entry to log.Log, which assigns base offsets and makes it durable, and then to fsm
// (fsm.go), which advances the state (state.go) and the high watermark.
//
// Locks: mu before stateMu; waitMu and stateMu are never held together with I/O.
package partition

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/core/errcode"
	raftgroup "github.com/wasmill/wasmill/raftstore/group"
	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/raftstore/snapshot"
	"github.com/wasmill/wasmill/raftstore/transport"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// Options open a partition.
type Options struct {
	Name     string // topic/partition, for people
	Group    string // name of the Raft group in the stable store: unique for good
	FS       vfs.FS
	Dir      string // the partition's own directory; made when missing
	ID       raft.ServerID
	Stable   raft.StableStore
	Recycler *log.Recycler // may be nil
	Config   Config
	Logger   *slog.Logger
	Appends  *admission.Budget // bytes that all partitions may have pending; nil: as many as a broker's alone
	Observer log.Observer      // may be nil
	OnRoll   func()            // a segment was sealed: Maintain is due; must not block
}

// Config is what a topic's configuration says about each of its partitions.
type Config struct {
	SegmentBytes   int64
	Flush          log.FlushMode
	RetentionBytes int64         // -1: no limit
	RetentionAge   time.Duration // -1: no limit
}

// Partition is safe for concurrent use.
type Partition struct {
	name     string
	dir      string
	fs       vfs.FS
	logger   *slog.Logger
	log      *log.Log
	snaps    *snapshot.Store
	group    *raftgroup.Group
	raft     *raft.Raft
	appender appender
	config   atomic.Pointer[Config]

	damage *errcode.Error // why nothing is served, see Damaged; then log, snaps, group and raft are nil

	inflight sync.WaitGroup // appends and shared proposals; entered under mu
	rolled   atomic.Bool    // a segment was sealed since the last Maintain
	onRolled func()

	mu               sync.Mutex
	closing          bool
	failure          *errcode.Error             // fail-stop: why it takes no writes
	open             *proposal                  // shared proposal that still takes requests
	outstanding      int                        // proposals that Raft has
	pending          map[int64][]*pendingAppend // by producer id
	pendingPositions map[string]*pendingAppend  // by origin

	stateMu sync.RWMutex
	state   *state

	readMu  sync.RWMutex   // held for reading while the log is read: closing waits for readers
	gone    *errcode.Error // under readMu: why nothing can be read any more
	deleted atomic.Bool    // it is closing for good

	waitMu        sync.Mutex
	advanced      chan struct{} // closed and forgotten at the next move of the high watermark
	ended         bool
	highWatermark atomic.Int64
	logStart      atomic.Int64

	opened chan struct{}  // closed when group is set, or never will be
	failed sync.WaitGroup // the end of a partition that failed
	close  func() error
}

// Open opens or makes the partition and starts its Raft group. It returns before the group has a
// leader: see WaitReady.
func Open(o Options) (*Partition, error) {
	p := newPartition(o)
	defer close(p.opened)
	if err := p.openStores(o); err != nil {
		return nil, fmt.Errorf("open partition %s: %w", o.Name, errors.Join(err, p.closeStores()))
	}
	group, err := raftgroup.Start(raftgroup.Options{
		Name: o.Group, ID: o.ID, Log: p.log, Stable: o.Stable, Snapshots: p.snaps,
		Transport: transport.NewLocal(o.ID), FSM: fsm{p}, Logger: o.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("open partition %s: %w", o.Name, errors.Join(err, p.closeStores()))
	}
	p.group, p.raft = group, group.Raft()
	return p, nil
}

// newPartition makes a partition without its stores.
func newPartition(o Options) *Partition {
	if o.Appends == nil {
		o.Appends = admission.Default().Appends
	}
	p := &Partition{
		name: o.Name, dir: o.Dir, fs: o.FS, logger: o.Logger.With("partition", o.Name),
		appender: newAppender(o.Appends), onRolled: o.OnRoll,
		pending: map[int64][]*pendingAppend{}, pendingPositions: map[string]*pendingAppend{}, state: newState(),
		opened: make(chan struct{}),
	}
	p.config.Store(&o.Config)
	p.close = sync.OnceValue(p.shutdown)
	return p
}

func (p *Partition) openStores(o Options) (err error) {
	if err = vfs.MkdirAllSynced(o.FS, o.Dir); err != nil {
		return err
	}
	p.log, err = log.Open(o.FS, o.Dir, log.Options{
		SegmentBytes: o.Config.SegmentBytes, Flush: o.Config.Flush, Recycler: o.Recycler,
		Logger: p.logger, Observer: o.Observer, OnFailed: p.fail, OnRoll: p.onRoll,
	})
	if err != nil {
		return err
	}
	p.snaps, err = snapshot.Open(o.FS, path.Join(o.Dir, "snapshots"), snapshot.Options{Retain: 2, Logger: p.logger})
	if err != nil {
		return err
	}
	return p.checkEnd()
}

// ErrLogShort says that a partition's log ends before its newest snapshot, which was written only after
// everything it speaks of was durable: what looks like a torn tail is damage, and records that were
// acknowledged are missing.
var ErrLogShort = errors.New("the end of the log is damaged")

func (p *Partition) checkEnd() error {
	index, _, ok := p.snaps.Newest()
	last, err := p.log.LastIndex()
	if err != nil || !ok || last >= index {
		return err
	}
	return fmt.Errorf("%w: %s ends at raft index %d, offset %d, but its snapshot proves that index %d was durable; "+
		"`wasmill log verify` names the place, restore the last segment file from a backup", ErrLogShort, p.dir, last, p.log.EndOffset(), index)
}

func (p *Partition) closeStores() error {
	if p.log == nil {
		return nil
	}
	return p.log.Close()
}

// WaitReady returns when the partition leads its group and has applied everything it had written. What
// the group is founded on is durable then, whatever the flush mode: after a power loss a relaxed
// partition may lack records, but it must not lack its beginnings.
func (p *Partition) WaitReady(ctx context.Context) error {
	if err := p.group.WaitLeader(ctx); err != nil {
		return fmt.Errorf("start partition %s: %w", p.name, err)
	}
	if err := p.raft.Barrier(0).Error(); err != nil {
		return fmt.Errorf("start partition %s: %w", p.name, err)
	}
	if err := p.log.Sync(); err != nil {
		return fmt.Errorf("start partition %s: %w", p.name, err)
	}
	return nil
}

// Name is topic/partition.
func (p *Partition) Name() string { return p.name }

// SizeBytes is what the log's records take on disk.
func (p *Partition) SizeBytes() int64 {
	if p.damage != nil {
		return 0
	}
	return p.log.SizeBytes()
}

// Position is how far an origin's records have been written here; false if it never wrote. It takes a
// context and returns an error because a destination may be led by another broker. Errors are
// *errcode.Error: STORAGE_FAILED, SHUTTING_DOWN and UNKNOWN_TOPIC_OR_PARTITION.
func (p *Partition) Position(_ context.Context, origin string) (Position, bool, error) {
	p.mu.Lock()
	closing, failure := p.closing, p.failure
	p.mu.Unlock()
	switch {
	case closing:
		return Position{}, false, p.leaving("read a position of")
	case failure != nil:
		return Position{}, false, failure
	}
	p.stateMu.RLock()
	defer p.stateMu.RUnlock()
	saved, ok := p.state.positions[origin]
	return saved.Position, ok, nil
}

// Failure is why the partition takes no writes, nil when it does.
func (p *Partition) Failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failure == nil {
		return nil
	}
	return p.failure
}

// Reconfigure takes over a changed topic configuration. Not safe for concurrent use with itself.
func (p *Partition) Reconfigure(c Config) error {
	if old := p.config.Swap(&c); *old == c || p.Failure() != nil {
		return nil // one that has failed is opened anew, with what is configured then
	}
	if err := p.log.SetFlush(c.Flush); err != nil {
		return fmt.Errorf("reconfigure %s: %w", p.name, err)
	}
	return nil
}

func (p *Partition) onRoll(uint64) {
	p.rolled.Store(true)
	p.onRolled()
}

// fail stops the partition's writes, and Raft with them, for good; reads go on. The log never retries
// a failed fsync, as the kernel may have dropped what could not be written, and Raft on a log that
// takes nothing would stand for election again and again.
func (p *Partition) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failure != nil {
		return
	}
	p.failure = errcode.New(errcode.StorageFailed,
		"partition %s takes no writes: %w; check the disk, then restart the broker", p.name, err)
	p.logger.Error("partition stopped: its storage failed; reads go on", "error", err)
	p.failed.Go(func() {
		<-p.opened
		p.inflight.Wait() // Raft forgets, rather than answers, what it has not looked at when it ends
		if p.group == nil {
			return
		}
		if err := p.group.Close(); err != nil {
			p.logger.Error("stopping Raft after the storage failed", "error", err)
		}
	})
}

// Close stops taking writes, answers those it took, stops Raft with a snapshot and closes the files.
// It is idempotent and safe for concurrent use.
func (p *Partition) Close() error { return p.close() }

func (p *Partition) shutdown() error {
	p.mu.Lock()
	p.closing = true
	p.mu.Unlock()
	p.inflight.Wait()
	p.failed.Wait()
	p.endReads()
	p.endWaits()
	if p.damage != nil {
		return nil
	}
	if p.Failure() == nil && !p.deleted.Load() {
		if err := p.Snapshot(); err != nil {
			p.logger.Warn("no snapshot at the end: the next start reads more of the log", "error", err)
		}
	}
	if err := errors.Join(p.group.Close(), p.log.Close()); err != nil {
		return fmt.Errorf("close partition %s: %w", p.name, err)
	}
	return nil
}

// leaving is the answer to requests that come too late.
func (p *Partition) leaving(op string) *errcode.Error {
	if p.deleted.Load() {
		return errcode.New(errcode.UnknownTopicOrPartition, "%s %s: the topic has been deleted", op, p.name)
	}
	return errcode.New(errcode.ShuttingDown, "%s %s: the broker is shutting down; retry in a moment", op, p.name)
}

// Delete closes the partition and removes its files. Those who wait for records or read are told that
// the topic is gone.
func (p *Partition) Delete() error {
	p.deleted.Store(true)
	if err := p.Close(); err != nil {
		p.logger.Warn("closing a partition that is to be deleted", "error", err)
	}
	if err := p.fs.RemoveAll(p.dir); err != nil {
		return fmt.Errorf("delete partition %s: %w", p.name, err)
	}
	return p.fs.SyncDir(path.Dir(p.dir))
}
