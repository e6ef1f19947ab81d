package metadata

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// runSnapshots takes a snapshot whenever enough was applied since the last one.
func (s *Store) runSnapshots() {
	for {
		select {
		case <-s.stop:
			return
		case <-s.machine.due:
			if err := s.snapshot(); err != nil {
				s.options.Logger.Error("metadata snapshot failed; the log keeps growing until one succeeds", "error", err)
			}
		}
	}
}

// snapshot writes the image and cuts the log behind the oldest snapshot that is kept.
func (s *Store) snapshot() error {
	if err := s.group.Raft().Snapshot().Error(); err != nil {
		if errors.Is(err, raft.ErrNothingNewToSnapshot) {
			return nil
		}
		return fmt.Errorf("snapshot metadata: %w", err)
	}
	if index, _, ok := s.snapshots.Newest(); ok {
		s.machine.snapshotted.Store(index)
	}
	return s.trimLog()
}

// trimLog drops log entries that no snapshot needs. Raft does not: its groups keep their logs.
// SnapshotEvery entries stay for replicas that are a little behind, and the last one always does.
func (s *Store) trimLog() error {
	oldest, _, ok := s.snapshots.Oldest()
	if !ok {
		return nil
	}
	first, err := s.log.FirstIndex()
	if err != nil {
		return fmt.Errorf("trim metadata log: %w", err)
	}
	last, err := s.log.LastIndex()
	if err != nil {
		return fmt.Errorf("trim metadata log: %w", err)
	}
	if last <= s.options.SnapshotEvery {
		return nil
	}
	cut := min(oldest, last-s.options.SnapshotEvery)
	if first == 0 || cut < first {
		return nil
	}
	if err := s.log.DeleteRange(first, cut); err != nil {
		return fmt.Errorf("trim metadata log to %d: %w", cut, err)
	}
	return nil
}
