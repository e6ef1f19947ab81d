package controller

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// runSnapshots takes a snapshot whenever enough was applied since the last one.
func (c *Controller) runSnapshots() {
	for {
		select {
		case <-c.stop:
			return
		case <-c.machine.due:
			if err := c.snapshot(); err != nil {
				c.options.Logger.Error("metadata snapshot failed; the log keeps growing until one succeeds", "error", err)
			}
		}
	}
}

// snapshot writes the image and cuts the log behind the oldest snapshot that is kept.
func (c *Controller) snapshot() error {
	if err := c.group.Raft().Snapshot().Error(); err != nil {
		if errors.Is(err, raft.ErrNothingNewToSnapshot) {
			return nil
		}
		return fmt.Errorf("snapshot metadata: %w", err)
	}
	if index, _, ok := c.snapshots.Newest(); ok {
		c.machine.snapshotted.Store(index)
	}
	return c.trimLog()
}

// trimLog drops log entries that no snapshot needs. Raft does not: its groups keep their logs.
// SnapshotEvery entries stay for replicas that are a little behind, and the last one always does.
func (c *Controller) trimLog() error {
	oldest, _, ok := c.snapshots.Oldest()
	if !ok {
		return nil
	}
	first, err := c.log.FirstIndex()
	if err != nil {
		return fmt.Errorf("trim metadata log: %w", err)
	}
	last, err := c.log.LastIndex()
	if err != nil {
		return fmt.Errorf("trim metadata log: %w", err)
	}
	if last <= c.options.SnapshotEvery {
		return nil
	}
	cut := min(oldest, last-c.options.SnapshotEvery)
	if first == 0 || cut < first {
		return nil
	}
	if err := c.log.DeleteRange(first, cut); err != nil {
		return fmt.Errorf("trim metadata log to %d: %w", cut, err)
	}
	return nil
}
