package replica

import (
	"context"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/errcode"
)

// maxPending bounds the proposals of a group that are not answered. It lies below Raft's MaxAppendEntries,
// 1024, which is also the capacity of Raft's queue: of more entries at once Raft would leave some for the
// next CommitTimeout, and handing one over would block.
const maxPending = 768

// Proposal is an entry for the log.
type Proposal struct {
	Op         string // the operation and its object, for errors: "append orders/3"
	Data       []byte // the log may change it in place; it belongs to the replica until Wait returns
	Extensions []byte
}

// Future is the outcome of a proposal. Wait must be called exactly once for every one: it releases the
// proposal's slot, and Close waits for it.
type Future struct {
	r    *Replica
	op   string
	raft raft.ApplyFuture
}

// Pending is how many proposals are not answered yet.
func (r *Replica) Pending() int { return len(r.slots) }

// Propose hands an entry to Raft, if the replica is still ready under the leadership under which the
// caller has checked what the entry depends on. It does not block. Entries are stored in the order in
// which they are proposed. Errors are *errcode.Error: NOT_LEADER_OR_FOLLOWER, OVERLOADED,
// STORAGE_FAILED, SHUTTING_DOWN; nothing was proposed then.
func (r *Replica) Propose(l Leadership, p Proposal) (Future, error) {
	select {
	case r.slots <- struct{}{}:
	default:
		return Future{}, overloaded(p.Op, errFull)
	}
	f, err := r.handOver(l, p)
	if err != nil {
		<-r.slots
	}
	return f, err
}

// handOver checks the leadership and hands the entry over in one step: a leadership that ends later finds
// the entry in Raft's queue, before the barrier of the next.
func (r *Replica) handOver(l Leadership, p Proposal) (Future, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := condition(r.condition.Load())
	if now != newCondition(Ready, l) {
		s := now.state()
		if s == Ready {
			s = Follower // as it was since
		}
		return Future{}, r.refusal(p.Op, s)
	}
	r.work.Add(1)
	return Future{r: r, op: p.Op, raft: r.raft.Load().ApplyLog(raft.Log{Data: p.Data, Extensions: p.Extensions}, 0)}, nil
}

// Wait returns the state machine's answer once the entry is committed and applied. Errors are
// *errcode.Error; after REQUEST_TIMED_OUT it is not known whether the entry takes effect.
func (f Future) Wait() (any, error) {
	err := f.raft.Error()
	var answer any
	if err == nil {
		answer = f.raft.Response()
	}
	<-f.r.slots
	f.r.work.Done()
	if answer == errNotApplied { //nolint:errorlint // it is this very value, and not an error of the state machine
		answer, err = nil, errNotApplied
	}
	if err != nil {
		return nil, f.r.Error(f.op, err)
	}
	return answer, nil
}

// Execute proposes an entry that depends on nothing but the order of the log, and waits for its outcome
// as long as ctx lasts. Errors are as those of Wait; REQUEST_TIMED_OUT also says that ctx has ended.
func (r *Replica) Execute(ctx context.Context, p Proposal) (any, error) {
	late := func(err error) error {
		return errcode.New(errcode.RequestTimedOut, "%s: it came too late (%w) and had no effect", p.Op, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, late(err)
	}
	l, err := r.Lead(p.Op)
	if err != nil {
		return nil, err
	}
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, late(ctx.Err())
	}
	f, err := r.handOver(l, p)
	if err != nil {
		<-r.slots
		return nil, err
	}
	type outcome struct {
		answer any
		err    error
	}
	out := make(chan outcome, 1)
	r.work.Go(func() { // the proposal's own count is still there: Close waits for this one too
		answer, err := f.Wait()
		out <- outcome{answer, err}
	})
	select {
	case o := <-out:
		return o.answer, o.err
	case <-ctx.Done():
		return nil, errcode.New(errcode.RequestTimedOut, "%s: gave up waiting (%w); it may still take effect", p.Op, ctx.Err())
	}
}
