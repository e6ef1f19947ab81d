package partition

import (
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

// maxStateBytes bounds a snapshot that is read back.
const maxStateBytes = 256 << 20

// fsm is what Raft applies entries to. It implements raft.BatchingFSM, so that configuration entries
// advance the state machine too and snapshots are never refused for their sake.
type fsm struct{ p *Partition }

var _ raft.BatchingFSM = fsm{}

// Apply is never called, as Raft prefers ApplyBatch.
func (f fsm) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch advances the high watermark over committed entries. An entry that cannot be read is
// impossible here (it was validated before it was proposed and checked by the log when read), so it
// stops the partition rather than being passed over.
func (f fsm) ApplyBatch(logs []*raft.Log) []any {
	p := f.p
	p.stateMu.Lock()
	for _, l := range logs {
		if l.Type != raft.LogCommand {
			continue
		}
		if err := p.state.apply(l.Data, l.Extensions, l.AppendedAt); err != nil {
			p.stateMu.Unlock()
			p.fail(fmt.Errorf("apply entry %d: %w", l.Index, err))
			return make([]any, len(logs))
		}
	}
	next, start := p.state.next, p.state.logStart
	p.stateMu.Unlock()
	p.publish(next, start)
	return make([]any, len(logs))
}

// Snapshot copies the state; the records stay in the log.
func (f fsm) Snapshot() (raft.FSMSnapshot, error) {
	f.p.stateMu.RLock()
	defer f.p.stateMu.RUnlock()
	return &stateSnapshot{p: f.p, bytes: f.p.state.encode()}, nil
}

// Restore replaces the state by a snapshot's.
func (f fsm) Restore(r io.ReadCloser) error {
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxStateBytes+1))
	if err != nil {
		return fmt.Errorf("restore %s: %w", f.p.name, err)
	}
	if len(b) > maxStateBytes {
		return fmt.Errorf("restore %s: %w: more than %d bytes", f.p.name, ErrState, maxStateBytes)
	}
	s, err := decodeState(b)
	if err != nil {
		return fmt.Errorf("restore %s: %w", f.p.name, err)
	}
	f.p.stateMu.Lock()
	f.p.state = s
	f.p.stateMu.Unlock()
	f.p.publish(s.next, s.logStart)
	return nil
}

// stateSnapshot implements raft.FSMSnapshot.
type stateSnapshot struct {
	p     *Partition
	bytes []byte
}

// Persist writes the snapshot once everything it speaks of is on disk: after a power loss the log
// must not end before its newest snapshot.
func (s *stateSnapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.p.log.Sync(); err != nil {
		return fmt.Errorf("snapshot %s: %w", s.p.name, errors.Join(err, sink.Cancel()))
	}
	if _, err := sink.Write(s.bytes); err != nil {
		return fmt.Errorf("snapshot %s: %w", s.p.name, errors.Join(err, sink.Cancel()))
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("snapshot %s: %w", s.p.name, err)
	}
	return nil
}

// Release has nothing to give back.
func (s *stateSnapshot) Release() {}
