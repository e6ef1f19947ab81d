package group

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

var (
	// ErrLogLost means that a group has voted but has neither log nor snapshot. Starting it would begin
	// an empty history under the old name: restore its files, or delete the rest of the group.
	ErrLogLost = errors.New("the group's log and snapshots are gone")
	// ErrHistoryGap means that the log begins after the end of the newest usable snapshot.
	ErrHistoryGap = errors.New("entries between the snapshot and the log are missing")
	// ErrVoteLost means that the stored term is older than the log or the snapshot, or is not there: the
	// stable store was lost or replaced by an older one, and with it perhaps a vote. This server could vote
	// a second time in one term, and two servers could lead in it.
	ErrVoteLost = errors.New("the stored term and vote are lost")
)

// bootstrap gives a group without history its first entry: a configuration with this server as the only
// voter.
//
// Raft's own BootstrapCluster stores the term first and the entry second, and takes a term without an
// entry for existing state: after a crash between the two the group would have no voter and never elect a
// leader. Here the entry decides: without log, snapshot and vote the group has not begun, and bootstrap
// runs again. A vote is cast only after the entry is durable, so a vote without a log means that the log
// was lost.
func bootstrap(o Options) error {
	last, err := o.Log.LastIndex()
	if err != nil {
		return readFailure("the last index", err)
	}
	newest, err := newestSnapshot(o.Snapshots)
	if err != nil || last > 0 || newest.Index > 0 {
		return err
	}
	if term, err := storedTerm(o.Stable, voteTermKey); err != nil || term > 0 {
		if err == nil {
			err = fmt.Errorf("it voted in term %d: %w", term, ErrLogLost)
		}
		return err
	}
	const firstTerm = 1
	term, err := storedTerm(o.Stable, currentTermKey)
	if err != nil {
		return err
	}
	if term < firstTerm {
		if err := o.Stable.SetUint64([]byte(currentTermKey), firstTerm); err != nil {
			return fmt.Errorf("store the first term: %w", err)
		}
	}
	configuration := raft.Configuration{Servers: []raft.Server{
		{Suffrage: raft.Voter, ID: o.ID, Address: o.Transport.LocalAddr()},
	}}
	entry := &raft.Log{Index: 1, Term: firstTerm, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(configuration)}
	if err := o.Log.StoreLog(entry); err != nil {
		return fmt.Errorf("store the first entry: %w", err)
	}
	// A log with relaxed flushing acknowledges entries before they are durable. The vote that follows is
	// durable at once and must not outlive this entry.
	if l, ok := o.Log.(interface{ Sync() error }); ok {
		if err := l.Sync(); err != nil {
			return fmt.Errorf("sync the first entry: %w", err)
		}
	}
	return nil
}

// Keys that raft uses in a stable store, and the error text by which it recognises a missing key.
const (
	currentTermKey = "CurrentTerm"
	voteTermKey    = "LastVoteTerm"
	notFound       = "not found"
)

// storedTerm returns 0 if there is none. Like raft, it can tell a missing key from a failure by the text
// of the error only.
func storedTerm(s raft.StableStore, key string) (uint64, error) {
	term, err := s.GetUint64([]byte(key))
	if err == nil || err.Error() == notFound {
		return term, nil
	}
	return 0, readFailure(key, err)
}

// checkTerm compares the stored term with that of the newest entry. Raft stores a term before it takes an
// entry of it, and bootstrap does so too.
func checkTerm(s raft.StableStore, newest uint64) error {
	term, err := storedTerm(s, currentTermKey)
	if err != nil || term >= newest {
		return err
	}
	return fmt.Errorf("the stable store says term %d, the log has entries of term %d: %w; %s", term, newest, ErrVoteLost, voteRemedy)
}

// voteRemedy is what to do about ErrVoteLost.
const voteRemedy = "restore the stable store from the backup that has these files, or remove this server " +
	"from the group and let it join again under a new id"

// checkContinuity refuses a log that lacks entries after the newest usable snapshot, as when the snapshot
// that covered them is damaged and an older one took its place. Raft would panic.
func checkContinuity(log raft.LogStore, snapshots raft.SnapshotStore) error {
	first, err := log.FirstIndex()
	if err != nil {
		return readFailure("the first index", err)
	}
	newest, err := newestSnapshot(snapshots)
	if err != nil {
		return err
	}
	if first > newest.Index+1 {
		return fmt.Errorf("log begins at index %d, snapshot ends at %d: %w", first, newest.Index, ErrHistoryGap)
	}
	return nil
}
