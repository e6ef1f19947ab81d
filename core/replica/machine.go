package replica

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"
)

// StateMachine is what committed entries add up to. It must be deterministic: without clock, I/O or the
// order of maps. One goroutine calls Apply, Snapshot and Restore; only writing a snapshot out goes on
// meanwhile.
type StateMachine interface {
	// Apply applies committed entries in order and returns how many it applied. It may set the Answer of
	// each. An error is about the first entry that was not applied: the replica fails, and neither that
	// entry nor any later one is applied or answered as a success. A refused command is an Answer, not an
	// error. Apply must not keep Data and Extensions.
	Apply(entries []Entry) (applied int, err error)
	// Snapshot captures the state quickly. It is written later, while entries are applied.
	Snapshot() (io.WriterTo, error)
	// Restore replaces the state by a snapshot's.
	Restore(r io.Reader) error
}

// Entry is a committed entry that was proposed.
type Entry struct {
	Index      uint64
	Data       []byte
	Extensions []byte
	AppendedAt time.Time // by the clock of the leader
	Answer     any       // what Future.Wait returns where the entry was proposed
}

// errCount is the failure of a state machine that does not apply all entries, or does not count them right,
// and gives no error for it.
var errCount = errors.New("the state machine has passed over entries without an error")

// errNotApplied is the answer to entries from the first that could not be applied on.
var errNotApplied = errors.New("the entry was not applied")

// fsm is a StateMachine as Raft drives it. It implements raft.BatchingFSM, so that entries of
// configuration advance it too: Raft refuses a snapshot while the last configuration is newer than what
// the state machine has seen. Raft calls ApplyBatch, Snapshot and Restore from one goroutine.
type fsm struct {
	r       *Replica
	entries []Entry // reused
	failed  error   // why no more entries are applied
}

var _ raft.BatchingFSM = (*fsm)(nil)

// Apply is never called, as Raft prefers ApplyBatch.
func (f *fsm) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch applies the entries that were proposed. It continues after the log has failed, since entries
// that were committed before must be answered. It does not continue after an entry that could not be
// applied.
func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	answers := make([]any, len(logs))
	for _, l := range logs {
		if l.Type == raft.LogCommand {
			f.entries = append(f.entries, Entry{
				Index: l.Index, Data: l.Data, Extensions: l.Extensions, AppendedAt: l.AppendedAt,
			})
		}
	}
	applied := f.apply()
	n := 0
	for i, l := range logs {
		if l.Type != raft.LogCommand {
			continue
		}
		if n < applied {
			answers[i] = f.entries[n].Answer
		} else {
			answers[i] = errNotApplied
		}
		n++
	}
	clear(f.entries)
	f.entries = f.entries[:0]
	f.r.applied.Store(logs[len(logs)-1].Index)
	return answers
}

// apply returns how many of the entries were applied.
func (f *fsm) apply() int {
	if f.failed != nil || len(f.entries) == 0 {
		return 0
	}
	applied, err := f.r.machine.Apply(f.entries)
	switch n := len(f.entries); {
	case err == nil && applied == n:
		return applied
	case applied < 0 || applied >= n: // it is not known which of them were applied: none is a success
		err = fmt.Errorf("apply %d entries from %d on: the state machine says that it applied %d of them: %w",
			n, f.entries[0].Index, applied, cmp.Or(err, errCount))
		applied = 0
	default:
		err = fmt.Errorf("apply entry %d: %w", f.entries[applied].Index, cmp.Or(err, errCount))
	}
	f.failed = err
	f.r.Fail(err)
	return applied
}

// Snapshot refuses after an entry could not be applied, since Raft takes all entries for applied.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if f.failed != nil {
		return nil, f.failed
	}
	state, err := f.r.machine.Snapshot()
	if err != nil {
		return nil, err
	}
	return fsmSnapshot{log: f.r.stores.Log, state: state}, nil
}

// Restore replaces the state by that of a snapshot which the leader has sent.
func (f *fsm) Restore(snapshot io.ReadCloser) error {
	return errors.Join(f.r.machine.Restore(snapshot), snapshot.Close())
}

// fsmSnapshot is a captured state.
type fsmSnapshot struct {
	log   Log
	state io.WriterTo
}

// Persist writes the state after every entry in it is durable: after a power loss the log must not end
// before its newest snapshot.
func (s fsmSnapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.log.Sync(); err != nil {
		return errors.Join(fmt.Errorf("sync the log: %w", err), sink.Cancel())
	}
	if _, err := s.state.WriteTo(sink); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

// Release has nothing to give back.
func (s fsmSnapshot) Release() {}
