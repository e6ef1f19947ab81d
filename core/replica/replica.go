package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/raftstore/group"
)

// Replica is this server's member of a Raft group. Safe for concurrent use.
type Replica struct {
	options Options
	logger  *slog.Logger
	machine StateMachine
	stores  Stores
	raft    atomic.Pointer[raft.Raft]     // nil until Start
	failure atomic.Pointer[errcode.Error] // set once, under mu
	slots   chan struct{}                 // one for each proposal that is not answered
	close   func() error

	// caughtUp is whether the state machine has had every entry of earlier terms since this server was
	// last elected. It is false from the moment that the group loses its leadership, whatever the state.
	caughtUp atomic.Bool
	applied  atomic.Uint64 // index of the last entry that the state machine has seen since Start
	discard  atomic.Bool   // no last snapshot

	// condition is the state and the leadership. It is read without mu and changed under it.
	condition atomic.Uint64

	// mu covers every change of the state, and what must happen in one and the same state: adding to work,
	// and handing a proposal to Raft, which does not block, as maxPending is below the capacity of Raft's
	// queue. It is never held while waiting for Raft. OnChange is called under it.
	mu      sync.Mutex
	group   *group.Group  // nil until Start
	changed chan struct{} // closed, and replaced, at every change of state

	// work counts what must end before Raft does: proposals, barriers, snapshots. Added to under mu and in
	// states before Failed only, so that no Add can race with a Wait.
	work sync.WaitGroup
	// ending counts the goroutine that ends Raft after a failure. Added to under mu and in states before
	// Closing only.
	ending sync.WaitGroup
}

// New makes a replica that is not started.
func New(o Options) (*Replica, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	r := &Replica{
		options: o, logger: o.Logger, machine: o.Machine,
		slots: make(chan struct{}, maxPending), changed: make(chan struct{}),
	}
	r.close = sync.OnceValue(r.shutdown)
	return r, nil
}

// Start restores the newest snapshot and starts Raft on the stores. A replica without any history becomes
// a group of its own. It does not wait for a leader. After an error the replica cannot be used.
func (r *Replica) Start(s Stores) error {
	r.stores = s
	if err := r.restore(); err != nil {
		return fmt.Errorf("start %s: %w", r.options.Name, err)
	}
	g, err := group.Start(group.Options{
		Name: r.options.Group, ID: r.options.ID, Log: storeGate{Log: s.Log, r: r}, Stable: s.Stable,
		Snapshots: s.Snapshots, Transport: r.options.Transport(r.options.Group), FSM: &fsm{r: r},
		Logger: r.logger, SkipRestore: true, OnLeadership: r.onLeadership, OnFailed: r.Fail, Timing: r.options.Timing,
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", r.options.Name, err)
	}
	if err := r.started(g); err != nil {
		return fmt.Errorf("start %s: %w", r.options.Name, errors.Join(err, g.Close()))
	}
	return nil
}

// started takes over the running group. It may have been elected, have failed, or have been closed
// meanwhile.
func (r *Replica) started(g *group.Group) error {
	r.raft.Store(g.Raft())
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.State() {
	case Failed:
		return r.Failure()
	case Closing, Closed:
		return r.refusal("start "+r.options.Name, Closed) // Close has not seen the group, and will not end it
	case CatchingUp:
		r.catchUpLocked(g)
	}
	r.group = g
	return nil
}

// restore loads the newest sound snapshot. Raft itself would fall back to an older one when the newest
// cannot be decoded; after a downgrade that would silently lose what the newer version knew.
func (r *Replica) restore() error {
	list, err := r.stores.Snapshots.List()
	if err != nil || len(list) == 0 {
		return err
	}
	_, data, err := r.stores.Snapshots.Open(list[0].ID)
	if err != nil {
		return err
	}
	if err := errors.Join(r.machine.Restore(data), data.Close()); err != nil {
		return fmt.Errorf("restore snapshot %s: %w", list[0].ID, err)
	}
	return nil
}

// State is what the replica may do just now.
func (r *Replica) State() State { return condition(r.condition.Load()).state() }

// toLocked changes the state and wakes the callers of WaitReady. A change that the table does not have is a
// bug of this package.
func (r *Replica) toLocked(next State) {
	now := condition(r.condition.Load())
	if !now.state().mayBecome(next) {
		panic(fmt.Sprintf("%s: state %s cannot follow %s", r.options.Name, next, now.state()))
	}
	leadership := now.leadership()
	if next == CatchingUp {
		leadership++
	}
	r.condition.Store(uint64(newCondition(next, leadership)))
	close(r.changed)
	r.changed = make(chan struct{})
	r.options.OnChange(next)
}

// WaitReady waits until this server leads the group and its state machine has applied every entry of
// earlier terms. The error is the failure of the replica, SHUTTING_DOWN, or the context's.
func (r *Replica) WaitReady(ctx context.Context) error {
	op := "wait until " + r.options.Name + " is ready"
	for {
		r.mu.Lock()
		state, changed := r.State(), r.changed
		r.mu.Unlock()
		switch state {
		case Ready:
			return nil
		case Failed, Closing, Closed:
			return r.refusal(op, state)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s (it is %s): %w", op, state, context.Cause(ctx))
		}
	}
}

// Failure is why the replica takes no proposals until it is opened again, nil if it has not failed.
func (r *Replica) Failure() *errcode.Error { return r.failure.Load() }

// Fail stops the replica: it takes no more proposals, and Raft ends when all earlier ones are answered. The
// owner of the log calls it when the log takes no more entries. It does not wait. Only the first call
// counts.
func (r *Replica) Fail(cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Failure() != nil {
		return
	}
	r.failure.Store(errcode.New(errcode.StorageFailed,
		"%s takes no writes: %w; check the disk, then restart the broker", r.options.Name, cause))
	if s := r.State(); s == Closing || s == Closed {
		return // Close ends Raft
	}
	r.logger.Error("replica stopped: its storage failed; reads go on", "error", cause)
	r.toLocked(Failed)
	if r.group != nil {
		r.ending.Go(r.endFailed)
	}
}

// endFailed ends Raft, in a goroutine of its own: most failures are found on a goroutine of Raft.
func (r *Replica) endFailed() {
	r.work.Wait()
	if err := r.group.Close(); err != nil {
		r.logger.Error("ending Raft after the storage failed", "error", err)
	}
}

// Close refuses new proposals, waits until the earlier ones are answered, takes a last snapshot, so that the
// next start reads little of the log, and ends Raft. It is idempotent.
func (r *Replica) Close() error { return r.close() }

// Discard is Close without the last snapshot, for a replica whose stores are about to be deleted.
func (r *Replica) Discard() error {
	r.discard.Store(true)
	return r.close()
}

func (r *Replica) shutdown() error {
	r.mu.Lock()
	r.toLocked(Closing)
	g := r.group
	r.mu.Unlock()
	r.work.Wait()
	r.ending.Wait()
	var err error
	if g != nil {
		r.lastSnapshot()
		err = g.Close()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.toLocked(Closed)
	return err
}

func (r *Replica) lastSnapshot() {
	if r.discard.Load() || r.Failure() != nil {
		return
	}
	if err := r.takeSnapshot(); err != nil {
		r.logger.Warn("no snapshot at the end; the next start reads more of the log", "error", err)
	}
}

// Snapshot makes the state durable if an entry was applied since the last snapshot. Followers take
// snapshots too.
func (r *Replica) Snapshot() error {
	if err := r.begin("snapshot " + r.options.Name); err != nil {
		return err
	}
	defer r.work.Done()
	return r.takeSnapshot()
}

// begin adds to work, unless the replica has failed or is closed.
func (r *Replica) begin(op string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.State(); s >= Failed || r.group == nil {
		return r.refusal(op, s)
	}
	r.work.Add(1)
	return nil
}

func (r *Replica) takeSnapshot() error {
	// Raft's own AppliedIndex is too low for a moment after an entry was answered.
	if index, _, ok := r.stores.Snapshots.Newest(); ok && index >= r.applied.Load() {
		return nil
	}
	err := r.raft.Load().Snapshot().Error()
	if err == nil || errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil
	}
	return fmt.Errorf("snapshot %s: %w", r.options.Name, err)
}
