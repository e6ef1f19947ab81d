package group

import (
	"errors"
	"math"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// guard ends a group in order where raft would end the process: raft panics when the term cannot be stored,
// and when an entry that is to be applied cannot be read. The stores of a group with a guard do not return
// those errors. They note the first one, call onFailed, and refuse from then on whatever could make another
// server, or a client, rely on this one: entries, truncations and votes.
type guard struct {
	failure  atomic.Pointer[error]
	onFailed func(error)
}

// fail notes the first failure.
func (g *guard) fail(err error) {
	if g.failure.CompareAndSwap(nil, &err) {
		g.onFailed(err)
	}
}

// failed returns the failure, or nil.
func (g *guard) failed() error {
	if err := g.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// raftStable is the stable store as raft gets it. A term that could not be stored is accepted in memory:
// a term must be durable for the votes and entries of it alone, and all of those are refused.
type raftStable struct {
	raft.StableStore
	*guard
}

// SetUint64 implements raft.StableStore. It never fails for the term.
func (s raftStable) SetUint64(key []byte, val uint64) error {
	err := s.failed()
	if err == nil {
		if err = s.StableStore.SetUint64(key, val); err != nil {
			s.fail(err)
		}
	}
	if string(key) == currentTermKey {
		return nil
	}
	return err
}

// Set implements raft.StableStore.
func (s raftStable) Set(key, val []byte) error {
	if err := s.failed(); err != nil {
		return err
	}
	err := s.StableStore.Set(key, val)
	if err != nil {
		s.fail(err)
	}
	return err
}

// unreadable is the index of the entry that stands for one that could not be read. Raft applies it, which
// raftFSM refuses; a follower that got it could not store it, since it follows no entry; and its term, 0,
// is that of no entry.
const unreadable = math.MaxUint64

// raftLog is the log as raft gets it.
type raftLog struct {
	raft.LogStore
	*guard
	start *startRead
}

// IsMonotonic implements raft.MonotonicLogStore as the log does.
func (l raftLog) IsMonotonic() bool {
	m, ok := l.LogStore.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

// GetLog implements raft.LogStore. It fails only for entries that the log does not hold.
func (l raftLog) GetLog(index uint64, out *raft.Log) error {
	if l.start.serve(index, out) {
		return nil
	}
	err := l.LogStore.GetLog(index, out)
	if err == nil || errors.Is(err, raft.ErrLogNotFound) {
		return err
	}
	l.fail(readFailure("the log", err))
	*out = raft.Log{Index: unreadable, Type: raft.LogCommand}
	return nil
}

// StoreLog implements raft.LogStore.
func (l raftLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (l raftLog) StoreLogs(entries []*raft.Log) error {
	if err := l.failed(); err != nil {
		return err
	}
	return l.LogStore.StoreLogs(entries)
}

// DeleteRange implements raft.LogStore.
func (l raftLog) DeleteRange(first, last uint64) error {
	if err := l.failed(); err != nil {
		return err
	}
	return l.LogStore.DeleteRange(first, last)
}

// raftFSM is the state machine as raft gets it: after an entry that could not be read it gets no other.
// Raft calls all but Persist from one goroutine.
type raftFSM struct {
	raft.FSM
	*guard
	ended bool // an entry could not be read
}

// Apply implements raft.FSM.
func (f *raftFSM) Apply(entry *raft.Log) any {
	if f.ends(entry) {
		return f.failed()
	}
	return f.FSM.Apply(entry)
}

func (f *raftFSM) ends(entry *raft.Log) bool {
	f.ended = f.ended || entry.Index == unreadable
	return f.ended
}

// Snapshot implements raft.FSM.
func (f *raftFSM) Snapshot() (raft.FSMSnapshot, error) {
	if f.ended {
		return nil, f.failed()
	}
	return f.FSM.Snapshot()
}

// raftBatchingFSM is raftFSM for a state machine that takes batches.
type raftBatchingFSM struct {
	raftFSM
	batching raft.BatchingFSM
}

// ApplyBatch implements raft.BatchingFSM.
func (f *raftBatchingFSM) ApplyBatch(entries []*raft.Log) []any {
	n := 0
	for n < len(entries) && !f.ends(entries[n]) {
		n++
	}
	var answers []any
	if n > 0 {
		answers = f.batching.ApplyBatch(entries[:n])
	}
	for range entries[n:] {
		answers = append(answers, f.failed())
	}
	return answers
}

func guardFSM(fsm raft.FSM, g *guard) raft.FSM {
	if b, ok := fsm.(raft.BatchingFSM); ok {
		return &raftBatchingFSM{raftFSM{FSM: fsm, guard: g}, b}
	}
	return &raftFSM{FSM: fsm, guard: g}
}
