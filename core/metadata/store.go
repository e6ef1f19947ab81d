package metadata

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/raftstore/boltlog"
	"github.com/wasmill/wasmill/raftstore/group"
	"github.com/wasmill/wasmill/raftstore/snapshot"
	"github.com/wasmill/wasmill/raftstore/stable"
	"github.com/wasmill/wasmill/raftstore/transport"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// groupName is the metadata group's among the groups of a broker.
const groupName = "metadata"

// Options say what a Store is made of. FS, Dir, ID and Stable are required.
type Options struct {
	FS vfs.FS
	// Dir holds the group's log and snapshots; it is made if it is not there.
	Dir string
	// ID is this broker's.
	ID raft.ServerID
	// Stable keeps the group's term and vote; it stays its owner's and must be closed after the Store.
	Stable *stable.Store
	// Logger is nil for no logs.
	Logger *slog.Logger
	// Now stamps commands; nil for the system's clock.
	Now func() time.Time
	// SnapshotEvery is how many log entries there may be without a snapshot; 0 for 1024.
	SnapshotEvery uint64
	// StartTimeout bounds how long Open waits until the group leads and is up to date; 0 for 30 s.
	StartTimeout time.Duration
}

// Validate reports everything that is missing.
func (o Options) Validate() error {
	var errs []error
	for _, f := range []struct {
		ok   bool
		name string
	}{{o.FS != nil, "FS"}, {o.Dir != "", "Dir"}, {o.ID != "", "ID"}, {o.Stable != nil, "Stable"}} {
		if !f.ok {
			errs = append(errs, fmt.Errorf("metadata options: %s is missing", f.name))
		}
	}
	return errors.Join(errs...)
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.SnapshotEvery == 0 {
		o.SnapshotEvery = 1024
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = 30 * time.Second
	}
	return o
}

// Store is the metadata Raft group of this broker. Safe for concurrent use.
type Store struct {
	options   Options
	machine   *machine
	log       *boltlog.Log
	snapshots *snapshot.Store
	group     *group.Group

	stop      chan struct{}
	closeOnce sync.Once
	closeErr  error
	done      sync.WaitGroup // the snapshot goroutine and those that wait for raft's answers

	mu     sync.Mutex
	closed bool // no more done.Add
}

// Open opens or makes the group's files, starts it, and waits until it leads and its image holds every
// command that was ever acknowledged.
func Open(o Options) (*Store, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	s := &Store{options: o, machine: newMachine(o.Logger, o.SnapshotEvery), stop: make(chan struct{})}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("open metadata %s: %w", o.Dir, err)
	}
	return s, nil
}

func (s *Store) open() (err error) {
	fsys := s.options.FS
	if err := vfs.MkdirAllSynced(fsys, s.options.Dir); err != nil {
		return err
	}
	if s.log, err = boltlog.Open(fsys, path.Join(s.options.Dir, "log.db")); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.closeParts())
		}
	}()
	// Two, so that one damaged snapshot costs nothing: the log reaches back to the older one.
	const retain = 2
	s.snapshots, err = snapshot.Open(fsys, path.Join(s.options.Dir, "snapshots"),
		snapshot.Options{Retain: retain, Logger: s.options.Logger})
	if err != nil {
		return err
	}
	if err := s.restoreNewest(); err != nil {
		return err
	}
	return s.start()
}

// restoreNewest loads the newest sound snapshot. Raft itself would fall back to an older one when the
// newest cannot be decoded; after a downgrade that would silently lose what the newer broker knew.
func (s *Store) restoreNewest() error {
	list, err := s.snapshots.List()
	if err != nil || len(list) == 0 {
		return err
	}
	_, r, err := s.snapshots.Open(list[0].ID)
	if err != nil {
		return err
	}
	if err := s.machine.Restore(r); err != nil {
		return fmt.Errorf("snapshot %s: %w", list[0].ID, err)
	}
	return nil
}

func (s *Store) start() error {
	group, err := group.Start(group.Options{
		Name:        groupName,
		ID:          s.options.ID,
		Log:         s.log,
		Stable:      s.options.Stable.Group(groupName),
		Snapshots:   s.snapshots,
		Transport:   transport.NewLocal(s.options.ID),
		FSM:         s.machine,
		Logger:      s.options.Logger,
		SkipRestore: true,
	})
	if err != nil {
		return err
	}
	s.group = group
	ctx, cancel := context.WithTimeout(context.Background(), s.options.StartTimeout)
	defer cancel()
	if err := group.WaitLeader(ctx); err != nil {
		return err
	}
	// Entries of the last run are applied once the new leader commits one of its own.
	if err := group.Raft().Barrier(s.options.StartTimeout).Error(); err != nil {
		return fmt.Errorf("catch up with the log: %w", err)
	}
	s.done.Go(s.runSnapshots)
	return nil
}

// Image is the newest state, never nil. It costs one atomic load.
func (s *Store) Image() *Image { return s.machine.image.Load() }

// Watch is closed at the first change after the call. To miss none, take the channel first and the
// image then.
func (s *Store) Watch() <-chan struct{} { return s.machine.watch() }

// WaitVersion waits until the image's version is above after. The error is the context's.
func (s *Store) WaitVersion(ctx context.Context, after uint64) (*Image, error) {
	return s.machine.waitVersion(ctx, after)
}

// Leader is the id of the broker that leads the group, empty when none is known.
func (s *Store) Leader() string {
	_, id := s.group.Raft().LeaderWithID()
	return string(id)
}

// Propose carries a command out and waits until this broker's image shows it. The error is, or wraps,
// an *errcode.Error: the command's refusal, or why the group could not take it. After
// REQUEST_TIMED_OUT it is not known whether the command took effect.
func (s *Store) Propose(ctx context.Context, c Command) (Result, error) {
	data, err := EncodeEntry(Entry{At: s.options.Now(), Command: c})
	if err != nil {
		return Result{}, err
	}
	kind, _ := c.kind()
	if err := ctx.Err(); err != nil {
		return Result{}, errcode.New(errcode.RequestTimedOut, "metadata command %s: it came too late (%w) and had no effect", kind, err)
	}
	type outcome struct {
		answer any
		err    error
	}
	out := make(chan outcome, 1)
	if !s.goWhileOpen(func() {
		future := s.group.Raft().Apply(data, 0)
		if err := future.Error(); err != nil {
			out <- outcome{err: err}
			return
		}
		out <- outcome{answer: future.Response()}
	}) {
		return Result{}, proposeError(kind, raft.ErrRaftShutdown)
	}
	select {
	case o := <-out:
		if o.err != nil {
			return Result{}, proposeError(kind, o.err)
		}
		a, ok := o.answer.(answer)
		if !ok {
			return Result{}, errcode.New(errcode.Unknown, "metadata command %s: the state machine answered %T", kind, o.answer)
		}
		return a.result, a.err
	case <-ctx.Done():
		return Result{}, errcode.New(errcode.RequestTimedOut, "metadata command %s: gave up waiting (%w); it may still take effect", kind, ctx.Err())
	}
}

// goWhileOpen runs f in a goroutine that Close waits for, unless the store is closed.
func (s *Store) goWhileOpen(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.done.Go(f)
	return true
}

// Close takes a snapshot, stops the group and closes its files. It is idempotent and waits for
// everything that it started. Image keeps answering.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		close(s.stop)
		if err := s.snapshot(); err != nil {
			s.options.Logger.Warn("no metadata snapshot at shutdown; the next start reads more of the log", "error", err)
		}
		s.closeErr = s.closeParts()
	})
	return s.closeErr
}

// closeParts closes what is open, in the opposite order of opening; every step is tried.
func (s *Store) closeParts() error {
	var errs []error
	if s.group != nil {
		errs = append(errs, s.group.Close())
	}
	s.done.Wait()
	if err := s.log.Close(); err != nil {
		errs = append(errs, fmt.Errorf("close metadata log: %w", err))
	}
	return errors.Join(errs...)
}
