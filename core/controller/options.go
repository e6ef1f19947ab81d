package controller

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/raftstore/group"
	"github.com/wasmill/wasmill/raftstore/vfs"
)

// GroupName is the metadata group's among the groups of a broker.
const GroupName = "metadata"

// Options say what a Controller is made of. Everything above Logger is required.
type Options struct {
	// Dir holds the group's log and snapshots; it is made if it is not there.
	Dir string
	// FS has the log and the snapshots.
	FS vfs.FS
	// ID is this broker's.
	ID raft.ServerID
	// Stable keeps the term and vote of the group GroupName. Its owner closes it after the Controller.
	Stable raft.StableStore
	// Transport makes the transport of a group.
	Transport func(group string) group.Transport

	// Logger is nil for no logs.
	Logger *slog.Logger
	// Now stamps commands; nil for the system's clock.
	Now func() time.Time
	// SnapshotEvery is how many log entries there may be without a snapshot; 0 for 1024.
	SnapshotEvery uint64
}

// Validate reports everything that is missing.
func (o Options) Validate() error {
	var errs []error
	require := func(ok bool, name string) {
		if !ok {
			errs = append(errs, fmt.Errorf("controller options: %s is missing", name))
		}
	}
	require(o.Dir != "", "Dir")
	require(o.FS != nil, "FS")
	require(o.ID != "", "ID")
	require(o.Stable != nil, "Stable")
	require(o.Transport != nil, "Transport")
	return errors.Join(errs...)
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.SnapshotEvery == 0 {
		o.SnapshotEvery = 1024
	}
	return o
}
