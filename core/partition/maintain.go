package partition

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/raftstore/log"
)

// Rolled tells whether a segment was sealed since the last Maintain.
func (p *Partition) Rolled() bool { return p.rolled.Load() }

// Maintain does what a partition needs now and then: a snapshot, so that a restart reads the tail and
// not the log, and retention. Not safe for concurrent use with itself.
func (p *Partition) Maintain(now time.Time) error {
	p.rolled.Store(false)
	if p.Failure() != nil || p.ending() {
		return nil
	}
	err := p.trim(now)
	if err == nil {
		// On a full disk, dropping what the older snapshots do not need makes room for the new one, and
		// must not wait for it.
		err = errors.Join(p.dropSegments(now), p.Snapshot(), p.dropSegments(now))
	}
	if p.ending() {
		return nil // it was closed under us: whatever went wrong does not matter
	}
	return err
}

func (p *Partition) ending() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closing
}

// Snapshot makes the state durable if it moved since the last one.
func (p *Partition) Snapshot() error {
	if index, _, ok := p.snaps.Newest(); ok && index >= p.raft.AppliedIndex() {
		return nil
	}
	err := p.raft.Snapshot().Error()
	if err == nil || errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil
	}
	return fmt.Errorf("snapshot %s: %w", p.name, err)
}

// trim proposes a new log start offset when retention has given up the oldest segments. The offset is
// replicated: every replica's readers see the same start. Its entry takes of the room that the log spares
// for those that are not reserved, so that a full disk cannot keep retention from making space.
func (p *Partition) trim(now time.Time) error {
	c := p.config.Load()
	to := p.log.RetentionOffset(log.Retention{
		MaxBytes: max(c.RetentionBytes, 0), MaxAge: max(c.RetentionAge, 0), Now: now,
	})
	to = min(to, p.highWatermark.Load())
	if to <= p.logStart.Load() {
		return nil
	}
	if err := p.enter(); err != nil {
		return err
	}
	defer p.inflight.Done()
	pr := &proposal{ext: entryMeta{trimTo: to}.encode(), done: make(chan struct{})}
	p.mu.Lock()
	p.proposeOpenLocked()
	p.proposeLocked(pr)
	p.mu.Unlock()
	p.settle(pr)
	if pr.err != nil {
		return p.raftError(pr.err)
	}
	return nil
}

// dropSegments gives back the files that lie before the log start offset and behind the oldest durable
// snapshot: Raft refuses to start on a log that begins after its snapshot, and should the newest one
// turn out damaged, the one before it is what it starts from.
func (p *Partition) dropSegments(now time.Time) error {
	index, _, ok := p.snaps.Oldest()
	if !ok {
		return nil
	}
	trimmed, err := p.log.Retain(log.Retention{BeforeOffset: p.logStart.Load(), Now: now}, index)
	if err != nil {
		return fmt.Errorf("retention of %s: %w", p.name, err)
	}
	if trimmed.Segments > 0 {
		p.logger.Info("retention dropped segments", "segments", trimmed.Segments, "bytes", trimmed.Bytes,
			"log_start_offset", p.logStart.Load())
	}
	return nil
}
