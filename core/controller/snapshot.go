package controller

import (
	"fmt"
)

// runSnapshots takes a snapshot whenever enough was applied since the last one.
func (c *Controller) runSnapshots() {
	for {
		select {
		case <-c.stop:
			return
		case <-c.machine.due:
		}
		err := c.replica.Snapshot()
		if err == nil {
			index, _, _ := c.snapshots.Newest()
			c.machine.snapshotted.Store(index)
			err = c.trimLog()
		}
		if err != nil && !c.stopped() {
			c.options.Logger.Error("metadata snapshot failed; the log keeps growing until one succeeds", "error", err)
		}
	}
}

func (c *Controller) stopped() bool {
	select {
	case <-c.stop:
		return true
	default:
		return false
	}
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
