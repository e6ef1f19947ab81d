package controller

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
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/raftstore/boltlog"
	"github.com/wasmill/wasmill/raftstore/group"
	"github.com/wasmill/wasmill/raftstore/snapshot"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// GroupName is the metadata group's among the groups of a broker.
const GroupName = "metadata"

// Options say what a Controller is made of. Everything above Logger is required.
type Options struct {
	// Dir holds the group's log and snapshots; it is made if it is not there.
	Dir string
	// FS has the log and the snapshots.
	FS vfs.FS
	// ID is this broker's.
	ID raft.ServerID
	// Stable keeps the term and vote of the group GroupName. Its owner closes it after the Controller.
	Stable raft.StableStore
	// Transport makes the transport of a group.
	Transport func(group string) group.Transport

	// Logger is nil for no logs.
	Logger *slog.Logger
	// Now stamps commands; nil for the system's clock.
	Now func() time.Time
	// SnapshotEvery is how many log entries there may be without a snapshot; 0 for 1024.
	SnapshotEvery uint64
}

// Validate reports everything that is missing.
func (o Options) Validate() error {
	var errs []error
	require := func(ok bool, name string) {
		if !ok {
			errs = append(errs, fmt.Errorf("controller options: %s is missing", name))
		}
	}
	require(o.Dir != "", "Dir")
	require(o.FS != nil, "FS")
	require(o.ID != "", "ID")
	require(o.Stable != nil, "Stable")
	require(o.Transport != nil, "Transport")
	return errors.Join(errs...)
}

func (o *Options) setDefaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.SnapshotEvery == 0 {
		o.SnapshotEvery = 1024
	}
}

// Controller is this broker's replica of the metadata group. Safe for concurrent use.
type Controller struct {
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

// Open opens or makes the group's files and starts it. It does not wait for a leader: see WaitReady.
func Open(o Options) (*Controller, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.setDefaults()
	c := &Controller{options: o, machine: newMachine(o.Logger, o.SnapshotEvery), stop: make(chan struct{})}
	if err := c.open(); err != nil {
		return nil, fmt.Errorf("open metadata %s: %w", o.Dir, err)
	}
	return c, nil
}

func (c *Controller) open() (err error) {
	fsys := c.options.FS
	if err := vfs.MkdirAllSynced(fsys, c.options.Dir); err != nil {
		return err
	}
	if c.log, err = boltlog.Open(fsys, path.Join(c.options.Dir, "log.db")); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.closeParts())
		}
	}()
	// Two, so that one damaged snapshot costs nothing: the log reaches back to the older one.
	const retain = 2
	c.snapshots, err = snapshot.Open(fsys, path.Join(c.options.Dir, "snapshots"),
		snapshot.Options{Retain: retain, Logger: c.options.Logger})
	if err != nil {
		return err
	}
	if err := c.restoreNewest(); err != nil {
		return err
	}
	return c.start()
}

// restoreNewest loads the newest sound snapshot. Raft itself would fall back to an older one when the
// newest cannot be decoded; after a downgrade that would silently lose what the newer broker knew.
func (c *Controller) restoreNewest() error {
	list, err := c.snapshots.List()
	if err != nil || len(list) == 0 {
		return err
	}
	_, r, err := c.snapshots.Open(list[0].ID)
	if err != nil {
		return err
	}
	if err := c.machine.Restore(r); err != nil {
		return fmt.Errorf("snapshot %s: %w", list[0].ID, err)
	}
	return nil
}

func (c *Controller) start() error {
	group, err := group.Start(group.Options{
		Name:        GroupName,
		ID:          c.options.ID,
		Log:         c.log,
		Stable:      c.options.Stable,
		Snapshots:   c.snapshots,
		Transport:   c.options.Transport(GroupName),
		FSM:         c.machine,
		Logger:      c.options.Logger,
		SkipRestore: true,
	})
	if err != nil {
		return err
	}
	c.group = group
	c.done.Go(c.runSnapshots)
	return nil
}

// WaitReady waits until this broker leads the group and its image holds every command that was ever
// acknowledged.
func (c *Controller) WaitReady(ctx context.Context) error {
	if err := c.group.WaitLeader(ctx); err != nil {
		return err
	}
	// Entries of the last run are applied once the new leader commits one of its own.
	if err := c.group.Raft().Barrier(0).Error(); err != nil {
		return fmt.Errorf("catch up with the metadata log: %w", err)
	}
	return nil
}

// Image is the newest state, never nil. It costs one atomic load.
func (c *Controller) Image() *metadata.Image { return c.machine.image.Load() }

// WaitVersion waits until the image's version is above after. The error is the context's.
func (c *Controller) WaitVersion(ctx context.Context, after uint64) (*metadata.Image, error) {
	return c.machine.waitVersion(ctx, after)
}

// WaitChange waits until the newest image differs from since in more than producer ids, and returns it
// with what differs. Nothing is missed, however many commands there were meanwhile. The error is the
// context's.
func (c *Controller) WaitChange(ctx context.Context, since *metadata.Image) (*metadata.Image, metadata.Changes, error) {
	seen := since
	for {
		image, err := c.machine.waitVersion(ctx, seen.Version())
		if err != nil {
			return nil, metadata.Changes{}, err
		}
		if changes := metadata.Diff(since, image); !changes.Empty() {
			return image, changes, nil
		}
		seen = image
	}
}

// Propose carries a command out and waits until this broker's image shows it. The error is, or wraps,
// an *errcode.Error: the command's refusal, or why the group could not take it. After
// REQUEST_TIMED_OUT it is not known whether the command took effect.
func (c *Controller) Propose(ctx context.Context, command metadata.Command) (metadata.Result, error) {
	data, err := metadata.EncodeEntry(metadata.Entry{At: c.options.Now(), Command: command})
	if err != nil {
		return metadata.Result{}, err
	}
	kind := metadata.Kind(command)
	if err := ctx.Err(); err != nil {
		return metadata.Result{}, errcode.New(errcode.RequestTimedOut, "metadata command %s: it came too late (%w) and had no effect", kind, err)
	}
	type outcome struct {
		answer any
		err    error
	}
	out := make(chan outcome, 1)
	if !c.goWhileOpen(func() {
		future := c.group.Raft().Apply(data, 0)
		if err := future.Error(); err != nil {
			out <- outcome{err: err}
			return
		}
		out <- outcome{answer: future.Response()}
	}) {
		return metadata.Result{}, proposeError(kind, raft.ErrRaftShutdown)
	}
	select {
	case o := <-out:
		if o.err != nil {
			return metadata.Result{}, proposeError(kind, o.err)
		}
		a, ok := o.answer.(answer)
		if !ok {
			return metadata.Result{}, errcode.New(errcode.Unknown, "metadata command %s: the state machine answered %T", kind, o.answer)
		}
		return a.result, a.err
	case <-ctx.Done():
		return metadata.Result{}, errcode.New(errcode.RequestTimedOut, "metadata command %s: gave up waiting (%w); it may still take effect", kind, ctx.Err())
	}
}

// goWhileOpen runs f in a goroutine that Close waits for, unless the controller is closed.
func (c *Controller) goWhileOpen(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.done.Go(f)
	return true
}

// Close takes a snapshot, stops the group and closes its files. It is idempotent and waits for
// everything that it started. Image keeps answering.
func (c *Controller) Close() error {
	c.closeOnce.Do(func() {
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		close(c.stop)
		if err := c.snapshot(); err != nil {
			c.options.Logger.Warn("no metadata snapshot at shutdown; the next start reads more of the log", "error", err)
		}
		c.closeErr = c.closeParts()
	})
	return c.closeErr
}

// closeParts closes what is open, in the opposite order of opening; every step is tried.
func (c *Controller) closeParts() error {
	var errs []error
	if c.group != nil {
		errs = append(errs, c.group.Close())
	}
	c.done.Wait()
	if err := c.log.Close(); err != nil {
		errs = append(errs, fmt.Errorf("close metadata log: %w", err))
	}
	return errors.Join(errs...)
}
