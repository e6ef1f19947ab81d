package partition

import (
	"errors"
	"fmt"
	"time"

	"github.com/wasmill/wasmill/raftstore/log"
)

// Rolled reports whether a segment was sealed since the last Maintain.
func (p *Partition) Rolled() bool { return p.rolled.Load() }

// Maintain does what a partition needs now and then: a snapshot, so that a restart reads the tail and
// not the log, and retention. On a replica that does not lead it moves no log start, but follows the one
// that the leader has set. Not safe for concurrent use with itself.
func (p *Partition) Maintain(now time.Time) error {
	p.rolled.Store(false)
	if p.life.now() != serving {
		return nil
	}
	err := p.trim(now)
	if err == nil {
		// On a full disk, dropping what the older snapshots do not need makes room for the new one, and
		// must not wait for it.
		err = errors.Join(p.dropSegments(now), p.replica.Snapshot(), p.dropSegments(now))
	}
	if p.life.now() >= closing {
		return nil // it was closed meanwhile, which explains any error
	}
	return err
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
	if to <= p.logStart.Load() || !p.Leads() {
		return nil
	}
	if s, entered := p.life.enter(); !entered {
		return p.refusal(p.ops.trim, s)
	}
	defer p.life.work.Done()
	p.mu.Lock()
	leadership, err := p.lead(p.ops.trim)
	if err != nil {
		p.mu.Unlock()
		return err
	}
	p.proposeOpenLocked()
	pr := newProposal(leadership, nil, entryMeta{trimTo: to}.encode())
	p.proposeLocked(pr)
	p.mu.Unlock()
	p.settle(pr)
	return pr.err
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
