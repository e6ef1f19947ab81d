package controller

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/replica"
	"github.com/wasmill/wasmill/raftstore/boltlog"
	"github.com/wasmill/wasmill/raftstore/snapshot"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// retainedSnapshots is two, so that one damaged snapshot costs nothing: the log reaches back to the older
// one.
const retainedSnapshots = 2

// Controller is this broker's replica of the metadata group. Safe for concurrent use.
type Controller struct {
	options   Options
	machine   *machine
	replica   *replica.Replica
	log       syncedLog
	snapshots *snapshot.Store
	close     func() error

	stop  chan struct{}  // closed when the controller closes
	tasks sync.WaitGroup // the goroutine that takes snapshots
}

// syncedLog is a Bolt log as a replica wants it: its entries are durable when StoreLogs returns.
type syncedLog struct{ *boltlog.Log }

// Sync has nothing to do.
func (syncedLog) Sync() error { return nil }

// Open opens or makes the group's files and starts it. It does not wait for a leader: see WaitReady.
func Open(o Options) (*Controller, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	c := &Controller{options: o, machine: newMachine(o.SnapshotEvery), stop: make(chan struct{})}
	c.close = sync.OnceValue(c.shutdown)
	if err := c.open(); err != nil {
		return nil, fmt.Errorf("open metadata %s: %w", o.Dir, err)
	}
	c.tasks.Go(c.runSnapshots)
	return c, nil
}

func (c *Controller) open() (err error) {
	o := c.options
	c.replica, err = replica.New(replica.Options{
		Name: "the metadata", Group: GroupName, ID: o.ID, Transport: o.Transport, Machine: c.machine, Logger: o.Logger,
	})
	if err != nil {
		return err
	}
	if err := vfs.MkdirAllSynced(o.FS, o.Dir); err != nil {
		return err
	}
	if c.log.Log, err = boltlog.Open(o.FS, path.Join(o.Dir, "log.db"), c.replica.Fail); err != nil {
		return err
	}
	c.snapshots, err = snapshot.Open(o.FS, path.Join(o.Dir, "snapshots"),
		snapshot.Options{Retain: retainedSnapshots, Logger: o.Logger})
	if err == nil {
		err = c.replica.Start(replica.Stores{Log: c.log, Stable: o.Stable, Snapshots: c.snapshots})
	}
	if err != nil {
		return errors.Join(err, c.log.Close())
	}
	return nil
}

// WaitReady waits until this broker leads the group and its image holds every command that was ever
// acknowledged.
func (c *Controller) WaitReady(ctx context.Context) error { return c.replica.WaitReady(ctx) }

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
	op := "metadata command " + metadata.Kind(command)
	reply, err := c.replica.Execute(ctx, replica.Proposal{Op: op, Data: data})
	if err != nil {
		return metadata.Result{}, err
	}
	a, ok := reply.(answer)
	if !ok {
		return metadata.Result{}, errcode.New(errcode.Unknown, "%s: the state machine answered %T", op, reply)
	}
	return a.result, a.err
}

// Close takes a snapshot, ends the group and closes its files. It is idempotent and waits for everything
// that was started. Image keeps answering.
func (c *Controller) Close() error { return c.close() }

func (c *Controller) shutdown() error {
	close(c.stop)
	err := c.replica.Close()
	c.tasks.Wait()
	return errors.Join(err, c.trimLog(), c.log.Close())
}
