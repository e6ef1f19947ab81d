package group

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"
)

// Options is what a group is made of. Everything above Logger is required.
type Options struct {
	// Name is unique in the process and appears in errors and logs.
	Name string
	// ID is this server's, the same in all groups.
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
	// SkipRestore is for a state machine that has restored the newest snapshot by itself: raft does not
	// restore it again at the start, but takes index, term and configuration from it.
	SkipRestore bool
	// OnLeadership is called when this server becomes (true) or stops being (false) the leader, one call
	// at a time, from a goroutine of the group. It must not wait for raft: raft does not begin to lead
	// before the call that ended its last leadership has returned.
	OnLeadership func(leads bool)
	// OnFailed is called once, when the stable store has failed or an entry could not be read. The group
	// takes no more entries and votes then: close it. It is called from a goroutine of raft, must not wait
	// for it, and may be called before Start returns.
	OnFailed func(error)
	// Timing is zero for the defaults.
	Timing Timing
}

// Transport is what a group needs of its transport: raft's calls to peers, and a way to start an
// election at once.
type Transport interface {
	raft.Transport
	raft.WithPreVote
	// Campaign makes this server a candidate, without the election timeout and without the pre-vote. It
	// returns before the election. It is for groups that have no leader: a leader would step down first.
	Campaign() error
}

// Timing is raft's timers; zero fields take the defaults. Heartbeat is at most Election, and Lease at
// most Heartbeat.
type Timing struct {
	// Heartbeat is how long a follower waits for its leader; a leader sends some ten within it.
	Heartbeat time.Duration
	// Election is how long a candidate waits for votes.
	Election time.Duration
	// Lease is how long a leader goes on without hearing from a quorum.
	Lease time.Duration
	// Commit is how often an idle leader sends its followers the commit index. It is the main cost of an
	// idle group. A group of one voter commits without it.
	Commit time.Duration
}

// The defaults are slow, for thousands of mostly idle groups in one process.
const (
	defaultHeartbeat = 3 * time.Second
	defaultElection  = 3 * time.Second
	defaultLease     = 2 * time.Second
	defaultCommit    = 2 * time.Second
)

// Raft takes no snapshot and truncates no log by its own decision: the owner of the group takes
// snapshots, and the log drops whole segments by its retention.
const (
	neverInterval  = 10 * 365 * 24 * time.Hour
	neverEntries   = 1 << 62
	maxRaftEntries = 1024 // the most that raft accepts as MaxAppendEntries
)

// Validate reports every option that is missing.
func (o Options) Validate() error {
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

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.OnFailed == nil {
		o.OnFailed = func(error) {}
	}
	o.Timing = Timing{
		Heartbeat: cmp.Or(o.Timing.Heartbeat, defaultHeartbeat),
		Election:  cmp.Or(o.Timing.Election, defaultElection),
		Lease:     cmp.Or(o.Timing.Lease, defaultLease),
		Commit:    cmp.Or(o.Timing.Commit, defaultCommit),
	}
	return o
}

func (o Options) raftConfig() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = o.ID
	c.Logger = newRaftLogger(o.Logger.With("group", o.Name))
	c.HeartbeatTimeout = o.Timing.Heartbeat
	c.ElectionTimeout = o.Timing.Election
	c.LeaderLeaseTimeout = o.Timing.Lease
	c.CommitTimeout = o.Timing.Commit
	c.MaxAppendEntries = maxRaftEntries
	c.BatchApplyCh = true
	c.TrailingLogs = neverEntries
	c.SnapshotInterval = neverInterval
	c.SnapshotThreshold = neverEntries
	c.NoLegacyTelemetry = true
	c.NoSnapshotRestoreOnStart = o.SkipRestore
	c.PreVoteDisabled = false
	// A configuration that removes this server does not shut raft down: only Close does.
	c.ShutdownOnRemove = false
	return c
}
