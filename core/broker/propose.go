package broker

import (
	"context"
	"errors"
	"syscall"

	"github.com/wasmill/wasmill/core/controller"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/raftstore/log"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// The databases of the metadata and of the votes grow by pages, and Raft does not survive a vote that
// finds no room: the metadata is left alone while there is less space than this. What takes something
// away needs little, and is what a full disk wants.
const (
	changeRoom = 1 << 20
	removeRoom = 64 << 10
)

// proposer changes the metadata.
type proposer struct {
	meta       *controller.Controller
	reconciler *reconciler
	disk       freeSpace
	lifetime   context.Context // of the broker
}

// serve changes the metadata and returns when this broker serves the change. It fails, with the change made,
// when the topic of that name cannot be served; "" for a change that concerns no topic's partitions.
func (p *proposer) serve(ctx context.Context, c metadata.Command, topicName string) (metadata.Result, error) {
	if p.lifetime.Err() != nil {
		return metadata.Result{}, errcode.New(errcode.ShuttingDown, "the broker is shutting down; retry in a moment")
	}
	result, err := p.propose(ctx, c)
	if err != nil {
		return result, err
	}
	failed, err := p.reconciler.reconcile(ctx)
	if err == nil {
		err = failed[topicName]
	}
	switch {
	case err != nil && p.lifetime.Err() != nil:
		err = errcode.New(errcode.ShuttingDown, "the change is made, and served after the next start: the broker is shutting down: %w", err)
	case err != nil && ctx.Err() != nil:
		err = errcode.New(errcode.RequestTimedOut, "the change is made, and will be served in a moment: %w", err)
	}
	return result, storageError(err)
}

// propose changes the metadata where the broker has nothing to do for it.
func (p *proposer) propose(ctx context.Context, c metadata.Command) (metadata.Result, error) {
	if err := p.disk.need(p.room(c)); err != nil {
		return metadata.Result{}, err
	}
	return p.meta.Propose(ctx, c)
}

// room is how much of the disk must be free before a command is proposed.
func (p *proposer) room(c metadata.Command) int64 {
	switch c := c.(type) {
	case metadata.CreateTopic:
		return changeRoom + max(int64(c.Partitions), 1)*log.FirstSegmentBytes
	case metadata.AlterTopic:
		grown := int64(c.Partitions)
		if t := p.meta.Image().Topic(c.Name); t != nil {
			grown -= int64(t.Partitions)
		}
		return changeRoom + max(grown, 0)*log.FirstSegmentBytes
	case metadata.DeleteTopic, metadata.DeletePipeline, metadata.DeleteView, metadata.DeleteDerivation, metadata.DeleteModule:
		return removeRoom
	}
	return changeRoom
}

// freeSpace is the disk that a directory is on.
type freeSpace struct {
	fs  vfs.FS
	dir string
}

// need refuses what a full disk could not take.
func (d freeSpace) need(bytes int64) error {
	free, err := d.fs.FreeBytes(d.dir)
	if err != nil || free >= uint64(bytes) {
		return nil // where it is not known, trying is the way to find out
	}
	return errcode.New(errcode.DiskFull, "the disk has %d KiB free and this takes %d; reads go on, free space and retry", free>>10, bytes>>10).
		With("retry_after_ms", 1000)
}

// storageError gives a failure of the disk its code, unless it has one.
func storageError(err error) error {
	var known *errcode.Error
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return errcode.New(errcode.DiskFull, "the disk is full; free space and retry: %w", err).With("retry_after_ms", 1000)
	}
	return errcode.New(errcode.StorageFailed, "%w", err)
}
