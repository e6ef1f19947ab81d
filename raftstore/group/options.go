package group

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"
)

// Options says what a group is made of. Everything above Logger is required.
type Options struct {
	// Name is unique in the process and appears in errors and logs.
	Name string
	// ID is this server's, the same for all its groups.
	ID        raft.ServerID
	Log       raft.LogStore
	Stable    raft.StableStore
	Snapshots raft.SnapshotStore
	Transport Transport
	// FSM should implement raft.BatchingFSM, which lets configuration entries advance it: raft refuses a
	// snapshot while the last configuration is newer than what the state machine has seen.
	FSM raft.FSM

	// Logger is nil for no logs.
	Logger *slog.Logger
	// SkipRestore leaves the newest snapshot out at the start, for a state machine that restores itself;
	// raft still takes index, term and configuration from it.
	SkipRestore bool
	// OnLeadership is called when this server begins (true) or ceases (false) to lead, one call at a
	// time, from a goroutine of the group. Raft waits for it at the next change but one.
	OnLeadership func(leads bool)
	// Timing is zero for the defaults.
	Timing Timing
}

// Transport is what a group needs of its transport: raft's calls to peers, and a way to start an
// election by hand.
type Transport interface {
	raft.Transport
	raft.WithPreVote
	// Campaign makes this server a candidate at once, without the election timeout and without the
	// pre-vote. It returns before the election. A leader that gets it steps down first, so it is for
	// groups that have no leader.
	Campaign() error
}

// Timing is raft's clockwork; zero fields take the defaults. Heartbeat is at most Election, and Lease at
// most Heartbeat.
type Timing struct {
	// Heartbeat is how long a follower waits for its leader; a leader sends some ten within it.
	Heartbeat time.Duration
	// Election is how long a candidate waits for votes.
	Election time.Duration
	// Lease is after how long without a quorum a leader steps down.
	Lease time.Duration
	// Commit is how often an idle leader tells its followers what is committed. It is the main cost of
	// an idle group. A group of one voter commits without it.
	Commit time.Duration
}

// The defaults serve thousands of groups in one process: a dead server is noticed by the process, not
// by each group for itself.
const (
	defaultHeartbeat = 3 * time.Second
	defaultElection  = 3 * time.Second
	defaultLease     = 2 * time.Second
	defaultCommit    = 2 * time.Second
)

// Never, as far as raft's own decisions go: snapshots are taken on demand, and the log is cut by its
// own retention, segment by segment.
const (
	neverInterval  = 10 * 365 * 24 * time.Hour
	neverEntries   = 1 << 62
	maxRaftEntries = 1024 // the most that raft accepts as MaxAppendEntries
)

// Validate reports everything that is missing.
func (o *Options) Validate() error {
	var errs []error
	require := func(ok bool, what string) {
		if !ok {
			errs = append(errs, fmt.Errorf("group options %q: %s is missing", o.Name, what))
		}
	}
	require(o.Name != "", "Name")
	require(o.ID != "", "ID")
	require(o.Log != nil, "Log")
	require(o.Stable != nil, "Stable")
	require(o.Snapshots != nil, "Snapshots")
	require(o.Transport != nil, "Transport")
	require(o.FSM != nil, "FSM")
	return errors.Join(errs...)
}

func (o *Options) logger() *slog.Logger {
	if o.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Logger.With("group", o.Name)
}

func (o *Options) config(logger *slog.Logger) *raft.Config {
	or := func(d, byDefault time.Duration) time.Duration {
		if d == 0 {
			return byDefault
		}
		return d
	}
	c := raft.DefaultConfig()
	c.LocalID = o.ID
	c.Logger = newRaftLogger(logger)
	c.HeartbeatTimeout = or(o.Timing.Heartbeat, defaultHeartbeat)
	c.ElectionTimeout = or(o.Timing.Election, defaultElection)
	c.LeaderLeaseTimeout = or(o.Timing.Lease, defaultLease)
	c.CommitTimeout = or(o.Timing.Commit, defaultCommit)
	c.MaxAppendEntries = maxRaftEntries
	c.BatchApplyCh = true
	c.TrailingLogs = neverEntries
	c.SnapshotInterval = neverInterval
	c.SnapshotThreshold = neverEntries
	c.NoLegacyTelemetry = true
	c.NoSnapshotRestoreOnStart = o.SkipRestore
	c.PreVoteDisabled = false
	// An entry of configuration that removes this server must not end the instance behind its owner's back.
	c.ShutdownOnRemove = false
	return c
}
