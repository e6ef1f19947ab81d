package group

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

var (
	// ErrDamaged means that something which raft reads at the start is not what was written. It stays so
	// until the group's files are restored.
	ErrDamaged = errors.New("the group's files are damaged")
	// ErrUnreadable means that something which raft reads at the start could not be read, as with a bad
	// sector or too many open files. What is on the disk may be sound: starting again may succeed.
	ErrUnreadable = errors.New("the group's files cannot be read")
)

// IsDamage reports whether Start failed because of what lies in the group's stores, and would fail again.
func IsDamage(err error) bool {
	for _, damage := range []error{ErrDamaged, ErrLogLost, ErrHistoryGap, ErrVoteLost} {
		if errors.Is(err, damage) {
			return true
		}
	}
	return false
}

// readFailure classifies an error of a store. Stores report damage by an error with a method Damaged; an
// entry between the first and the last index that is not there is damage too.
func readFailure(what string, err error) error {
	kind := ErrUnreadable
	var damage interface{ Damaged() bool }
	if errors.Is(err, raft.ErrLogNotFound) || errors.As(err, &damage) && damage.Damaged() {
		kind = ErrDamaged
	}
	return fmt.Errorf("%w: read %s: %w", kind, what, err)
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// startRead is what NewRaft reads of the log, read before it: NewRaft panics when one of its reads fails.
// So that nothing is read twice, raftLog serves NewRaft from here. NewRaft wants the last entry, and then
// every entry after the newest snapshot, in order, of which it uses the configurations alone; the data of
// commands is not kept.
//
// NewRaft reads from one goroutine, and starts its own after the last read. From then on nothing here
// changes.
type startRead struct {
	last           raft.Log
	configurations map[uint64]raft.Log
	wantLast       bool
	next           uint64 // the index after those that NewRaft has read
}

// readStart reads and checks every entry that NewRaft will read, to its last byte, and compares the
// stored term with the log and the snapshot.
func readStart(o Options) (*startRead, error) {
	last, err := o.Log.LastIndex()
	if err != nil {
		return nil, readFailure("the last index", err)
	}
	covered, err := newestSnapshot(o.Snapshots)
	if err != nil {
		return nil, err
	}
	s := &startRead{configurations: map[uint64]raft.Log{}, wantLast: last > 0, next: covered.Index + 1}
	if last > 0 {
		if err := s.read(o.Log, last, &s.last); err != nil {
			return nil, err
		}
	}
	term := covered.Term
	for index := s.next; index <= last; index++ {
		var entry raft.Log
		if err := s.read(o.Log, index, &entry); err != nil {
			return nil, err
		}
		if entry.Term < term {
			return nil, damaged("entry %d is of term %d, after one of term %d", index, entry.Term, term)
		}
		term = entry.Term
	}
	return s, checkTerm(o.Stable, max(term, s.last.Term))
}

// read reads one entry and keeps it if it is a configuration.
func (s *startRead) read(log raft.LogStore, index uint64, entry *raft.Log) error {
	if err := log.GetLog(index, entry); err != nil {
		return readFailure(fmt.Sprintf("log entry %d", index), err)
	}
	if entry.Index != index {
		return damaged("log entry %d says that it is entry %d", index, entry.Index)
	}
	switch entry.Type {
	case raft.LogCommand, raft.LogNoop, raft.LogBarrier:
	case raft.LogConfiguration:
		if err := checkConfiguration(entry.Data); err != nil {
			return damaged("log entry %d: %v", index, err)
		}
		s.configurations[index] = *entry
	default:
		return damaged("log entry %d is of the unknown type %d", index, entry.Type)
	}
	return nil
}

// checkConfiguration reports what raft would panic about.
func checkConfiguration(data []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("its configuration cannot be decoded: %v", p)
		}
	}()
	raft.DecodeConfiguration(data)
	return nil
}

// newestSnapshot is empty if there is none.
func newestSnapshot(snapshots raft.SnapshotStore) (raft.SnapshotMeta, error) {
	list, err := snapshots.List()
	if err != nil {
		return raft.SnapshotMeta{}, readFailure("the list of snapshots", err)
	}
	if len(list) == 0 {
		return raft.SnapshotMeta{}, nil
	}
	return *list[0], nil
}

// serve answers a read of NewRaft. It reports false for a read that NewRaft does not do: raftLog then reads
// the log.
func (s *startRead) serve(index uint64, out *raft.Log) bool {
	switch {
	case s.finished():
		return false
	case s.wantLast:
		s.wantLast = false
		*out = s.last
		return index == s.last.Index
	case index != s.next:
		s.next = s.last.Index + 1 // raft has restored an older snapshot than the newest
		return false
	}
	s.next++
	entry, ok := s.configurations[index]
	if !ok {
		entry = raft.Log{Index: index, Type: raft.LogNoop}
	}
	*out = entry
	return true
}

// finished reports whether NewRaft has read everything.
func (s *startRead) finished() bool { return !s.wantLast && s.next > s.last.Index }
