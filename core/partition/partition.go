// Package partition is one partition of a topic on this broker: a state machine on a replica whose log is
// the partition's log. It takes record batches, assigns them offsets through Raft, remembers idempotent
// producers and positions, serves reads below the high watermark and drops what retention has given up.
//
// The way of a write: Append checks sequences and order under one lock (append.go, admit.go) and proposes
// an entry to the replica. Raft hands it to log.Log, which assigns base offsets and makes it durable, and
// then to the machine (machine.go), which advances the state (state.go) and the high watermark.
//
// Locks, in their order: mu, then stateMu, or the replica's own. life.mu and waitMu are leaves. Readers of
// the log hold life.readers and none of the others. No lock is held while waiting for Raft or the disk.
package partition

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/replica"
	"github.com/wasmill/wasmill/raftstore/group"
	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/raftstore/snapshot"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// retainedSnapshots is two, so that one damaged snapshot costs nothing: the log reaches back to the older
// one.
const retainedSnapshots = 2

// Options open a partition.
type Options struct {
	Name      string // topic/partition, for people
	Group     string // name of the Raft group in the stable store; never used again
	FS        vfs.FS
	Dir       string // the partition's own directory; made when missing
	ID        raft.ServerID
	Stable    raft.StableStore
	Transport func(group string) group.Transport // makes the transport of a group
	Recycler  *log.Recycler                      // may be nil
	Config    Config
	Logger    *slog.Logger
	Appends   *admission.Budget // bytes that all partitions may have pending; nil: as many as a broker's alone
	Observer  log.Observer      // may be nil
	OnRoll    func()            // a segment was sealed: Maintain is due; must not block
	// OnLeadership is called with true when the partition takes writes here, and with false when it does no
	// longer: one call at a time, in order. It must not block, and must not call the partition. May be nil.
	OnLeadership func(leads bool)
	Timing       group.Timing // zero for the defaults
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
	ops      ops
	dir      string
	fs       vfs.FS
	logger   *slog.Logger
	log      *log.Log
	snaps    *snapshot.Store
	replica  *replica.Replica
	appender appender
	config   atomic.Pointer[Config]
	life     life
	close    func() error

	rolled   atomic.Bool // a segment was sealed since the last Maintain
	onRolled func()

	// mu covers the fields below. One critical section checks a request against the state and what is
	// pending, makes it pending, and proposes it or adds it to the open proposal: the order of checks is
	// the order of entries.
	mu               sync.Mutex
	open             *proposal                  // shared proposal that still takes requests
	pending          map[int64][]*pendingAppend // by producer id
	pendingPositions map[string]*pendingAppend  // by origin

	// stateMu covers state: for writing while a batch of entries is applied, for reading during a look-up.
	stateMu sync.RWMutex
	state   *state

	// waitMu covers advanced, together with the changes that close it: the bounds move, and the partition
	// ends. A caller that finds under waitMu that neither has happened gets a channel that will be closed.
	// The bounds are read without it.
	waitMu        sync.Mutex
	advanced      chan struct{} // closed and forgotten at the next move of the high watermark
	highWatermark atomic.Int64
	logStart      atomic.Int64
}

// ops name what is tried, for errors.
type ops struct{ append, position, trim, sync string }

// Open opens or makes the partition and starts its replica. It does not wait for a leader: see WaitReady.
// IsDamage says whether an error is about the partition's own files.
func Open(o Options) (*Partition, error) {
	p, err := newPartition(o)
	if err != nil {
		return nil, fmt.Errorf("open partition %s: %w", o.Name, err)
	}
	if err := p.openStores(o); err != nil {
		return nil, fmt.Errorf("open partition %s: %w", o.Name, errors.Join(err, p.closeLog()))
	}
	if err := p.replica.Start(replica.Stores{Log: p.log, Stable: o.Stable, Snapshots: p.snaps}); err != nil {
		return nil, fmt.Errorf("open partition %s: %w", o.Name, errors.Join(err, p.closeLog()))
	}
	p.life.become(serving) // or it has failed already
	return p, nil
}

// newPartition makes a partition without its stores.
func newPartition(o Options) (*Partition, error) {
	if o.Appends == nil {
		o.Appends = admission.Default().Appends
	}
	p := &Partition{
		name: o.Name, dir: o.Dir, fs: o.FS, logger: o.Logger.With("partition", o.Name),
		ops:      ops{append: "append " + o.Name, position: "read a position of " + o.Name, trim: "trim " + o.Name, sync: "sync " + o.Name},
		appender: newAppender(o.Appends), onRolled: o.OnRoll,
		pending: map[int64][]*pendingAppend{}, pendingPositions: map[string]*pendingAppend{}, state: newState(),
	}
	p.config.Store(&o.Config)
	p.close = sync.OnceValue(p.shutdown)
	var err error
	p.replica, err = replica.New(replica.Options{
		Name: "partition " + o.Name, Group: o.Group, ID: o.ID, Transport: o.Transport, Machine: machine{p},
		Logger: p.logger, OnChange: p.onChange(o.OnLeadership), Timing: o.Timing,
	})
	return p, err
}

// onChange follows the replica's state. The replica calls it in order, one call at a time.
func (p *Partition) onChange(onLeadership func(leads bool)) func(replica.State) {
	leads := false
	return func(s replica.State) {
		if s == replica.Failed {
			p.life.become(failed)
		}
		if now := s == replica.Ready; now != leads {
			leads = now
			if onLeadership != nil {
				onLeadership(leads)
			}
		}
	}
}

func (p *Partition) openStores(o Options) (err error) {
	p.log, err = log.Open(o.FS, o.Dir, log.Options{
		SegmentBytes: o.Config.SegmentBytes, Flush: o.Config.Flush, Recycler: o.Recycler,
		Logger: p.logger, Observer: o.Observer, OnFailed: p.replica.Fail, OnRoll: p.onRoll,
	})
	if err != nil {
		return err
	}
	p.snaps, err = snapshot.Open(o.FS, path.Join(o.Dir, "snapshots"),
		snapshot.Options{Retain: retainedSnapshots, Logger: p.logger})
	if err != nil {
		return err
	}
	return p.checkEnd()
}

// checkEnd refuses a log that ends before its newest snapshot.
func (p *Partition) checkEnd() error {
	index, _, ok := p.snaps.Newest()
	last, err := p.log.LastIndex()
	if err != nil || !ok || last >= index {
		return err
	}
	return fmt.Errorf("%w: %s ends at raft index %d, offset %d, but its snapshot proves that index %d was durable; "+
		"verifying the log names the place; restore the last segment file from a backup", ErrLogShort, p.dir, last, p.log.EndOffset(), index)
}

func (p *Partition) closeLog() error {
	if p.log == nil {
		return nil
	}
	return p.log.Close()
}

// WaitReady returns when the partition takes writes here: this broker leads its group and has applied
// everything that was written in earlier terms.
func (p *Partition) WaitReady(ctx context.Context) error { return p.replica.WaitReady(ctx) }

// Leads reports whether the partition takes writes here, as far as this broker knows.
func (p *Partition) Leads() bool { return p.replica.State() == replica.Ready }

// Name is topic/partition.
func (p *Partition) Name() string { return p.name }

// SizeBytes is what the log's records take on disk.
func (p *Partition) SizeBytes() int64 { return p.log.SizeBytes() }

// Position is how far an origin's records have been written here; false if it never wrote. It takes a
// context and returns an error because a destination may be led by another broker. Errors are
// *errcode.Error: NOT_LEADER_OR_FOLLOWER, STORAGE_FAILED, SHUTTING_DOWN and UNKNOWN_TOPIC_OR_PARTITION.
func (p *Partition) Position(_ context.Context, origin string) (Position, bool, error) {
	if _, err := p.lead(p.ops.position); err != nil {
		return Position{}, false, err
	}
	p.stateMu.RLock()
	defer p.stateMu.RUnlock()
	saved, ok := p.state.positions[origin]
	return saved.Position, ok, nil
}

// lead is the leadership under which the partition takes writes here, or why it does not.
func (p *Partition) lead(op string) (replica.Leadership, error) {
	if s := p.life.now(); s != serving {
		return 0, p.refusal(op, s)
	}
	return p.replica.Lead(op)
}

// refusal is why nothing is written, or read, in a state.
func (p *Partition) refusal(op string, s lifeState) *errcode.Error {
	switch {
	case s >= deleting:
		return errcode.New(errcode.UnknownTopicOrPartition, "%s: the topic has been deleted", op)
	case s >= closing:
		return errcode.New(errcode.ShuttingDown, "%s: the broker is shutting down; retry in a moment", op)
	}
	return p.replica.Failure()
}

// Failure is why the partition takes no writes until it is opened again, nil when it has not failed.
func (p *Partition) Failure() error {
	if failure := p.replica.Failure(); failure != nil {
		return failure
	}
	return nil
}

// Reconfigure takes over a changed topic configuration. Not safe for concurrent use with itself.
func (p *Partition) Reconfigure(c Config) error {
	if old := p.config.Swap(&c); *old == c || p.life.now() != serving {
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

// Close stops taking writes, answers those it took, ends Raft with a snapshot and closes the files. Those
// who wait for records or read are turned away. It is idempotent and safe for concurrent use.
func (p *Partition) Close() error {
	p.life.become(closing) // or it is being deleted
	return p.close()
}

func (p *Partition) shutdown() error {
	p.endWaits()
	p.life.work.Wait()
	p.life.awaitReaders()
	end := p.replica.Close
	if p.life.now() == deleting {
		end = p.replica.Discard
	}
	err := errors.Join(end(), p.log.Close())
	p.life.become(closed)
	if err != nil {
		return fmt.Errorf("close partition %s: %w", p.name, err)
	}
	return nil
}

// Delete closes the partition and removes its files. Those who wait for records or read are told that
// the topic is gone. After an error it may be called again.
func (p *Partition) Delete() error {
	p.life.become(deleting) // or it is that already
	if err := p.close(); err != nil {
		p.logger.Warn("closing a partition that is to be deleted", "error", err)
	}
	if err := p.fs.RemoveAll(p.dir); err != nil {
		return fmt.Errorf("delete partition %s: %w", p.name, err)
	}
	p.life.become(deleted)
	err := p.fs.SyncDir(path.Dir(p.dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the topic's directory is gone too, as after an earlier call that failed at the sync
	}
	return err
}
