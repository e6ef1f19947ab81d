package replica

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/raftstore/group"
)

// Options say what a replica is made of. Everything above Logger is required.
type Options struct {
	// Name says for people what is replicated, for example "partition orders/3".
	Name string
	// Group is the name of the Raft group, unique in the process.
	Group string
	// ID is this server's.
	ID raft.ServerID
	// Transport makes the transport of a group.
	Transport func(group string) group.Transport
	Machine   StateMachine

	// Logger is nil for no logs.
	Logger *slog.Logger
	// OnChange is called with every new state, in order. It is called under the replica's lock: it must be
	// quick, must not block, and must not call the replica. May be nil.
	OnChange func(State)
	// Timing is zero for the group's defaults.
	Timing group.Timing
}

// Validate reports everything that is missing.
func (o Options) Validate() error {
	var errs []error
	require := func(ok bool, what string) {
		if !ok {
			errs = append(errs, fmt.Errorf("replica options %q: %s is missing", o.Name, what))
		}
	}
	require(o.Name != "", "Name")
	require(o.Group != "", "Group")
	require(o.ID != "", "ID")
	require(o.Transport != nil, "Transport")
	require(o.Machine != nil, "Machine")
	return errors.Join(errs...)
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.OnChange == nil {
		o.OnChange = func(State) {}
	}
	return o
}

// Stores are where a replica keeps its group. They belong to the caller, who closes them after the replica.
type Stores struct {
	Log       Log
	Stable    raft.StableStore
	Snapshots Snapshots
}

// Log holds a group's entries.
type Log interface {
	raft.LogStore
	// Sync makes every entry durable for which StoreLogs has returned.
	Sync() error
}

// Snapshots holds a group's snapshots.
type Snapshots interface {
	raft.SnapshotStore
	// Newest is the position of the newest valid snapshot.
	Newest() (index, term uint64, ok bool)
}
