package partition

import (
	"context"
	"fmt"

	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/replica"
)

const (
	// maxOutstanding bounds the bytes of a partition's entries that Raft has not yet answered for.
	// Every request weighs at least minWeight, so that there are no more entries than a replica takes.
	maxOutstanding = 16 << 20
	minWeight      = maxOutstanding / 512

	// coalesceBelow is the size up to which a request that finds others pending joins a shared
	// proposal: there an entry costs more than the copy.
	coalesceBelow = 16 << 10
	// maxShared closes a shared proposal.
	maxShared = 256 << 10
	// sharedPending lets one shared proposal be written while the next takes requests.
	sharedPending = 2
)

// Append is one request to write record batches.
type Append struct {
	// Data is record batches back to back, validated. The log patches their base offsets and leader
	// epochs in place; the caller leaves it alone until Append returns. Only the first batch may
	// belong to an idempotent producer. Data may be empty when Positions are to be written alone.
	Data      []byte
	Positions []Position
}

// Appended says where the records went.
type Appended struct {
	BaseOffset int64 // of the first batch; -1 for a repetition whose offset is no longer known
	Duplicate  bool  // it had been written before; nothing was written now
}

// proposal is one Raft entry and the requests that share it.
type proposal struct {
	data       []byte
	ext        []byte
	leadership replica.Leadership // under which its requests were checked
	shared     bool               // by several requests: data is the proposal's own copy
	future     replica.Future     // once it was proposed and taken
	done       chan struct{}      // closed when err is final
	err        error
}

func newProposal(l replica.Leadership, data, ext []byte) *proposal {
	return &proposal{data: data, ext: ext, leadership: l, done: make(chan struct{})}
}

// over reports whether the proposal's outcome is known, or that of every proposal of its leadership is in
// the state: see admit.go.
func (pr *proposal) over(now replica.Leadership) bool {
	if pr.leadership != now {
		return true
	}
	select {
	case <-pr.done:
		return true
	default:
		return false
	}
}

// pendingAppend is a request whose entry has been, or will be, proposed and that is not answered yet.
type pendingAppend struct {
	proposal  *proposal
	start     int // where the request's data begins in the proposal's
	seq       sequenced
	positions []Position
	ext       []byte // the positions as the entry carries them
}

// appender is the write half of a partition.
type appender struct {
	budget *admission.Budget // bytes outstanding, of those that all partitions may have
	slots  chan struct{}     // shared proposals outstanding
}

func newAppender(appends *admission.Budget) appender {
	return appender{budget: appends.Sub(maxOutstanding), slots: make(chan struct{}, sharedPending)}
}

// Append writes the batches as one unit and returns when they are committed: on disk, unless the
// topic's flush mode is relaxed. It is safe for concurrent use; requests of one producer must be
// made in order. Errors are *errcode.Error: STORAGE_FAILED, DISK_FULL, OVERLOADED,
// NOT_LEADER_OR_FOLLOWER, SHUTTING_DOWN and those of producer sequences. ctx bounds the wait for a
// turn; an entry that Raft has is waited for whatever ctx says, as its bytes are in use.
func (p *Partition) Append(ctx context.Context, a Append) (Appended, error) {
	if s, entered := p.life.enter(); !entered {
		return Appended{}, p.refusal(p.ops.append, s)
	}
	defer p.life.work.Done()

	weight := p.appender.budget.Clip(int64(max(len(a.Data), minWeight)))
	if err := p.appender.budget.Acquire(ctx, weight); err != nil {
		return Appended{}, fmt.Errorf("%s: %w", p.ops.append, err)
	}
	defer p.appender.budget.Release(weight)

	pending := &pendingAppend{
		positions: a.Positions, ext: entryMeta{positions: a.Positions, trimTo: -1}.encode(), seq: sequenced{id: -1},
	}
	size := len(a.Data) + len(pending.ext)
	if err := p.log.Reserve(size); err != nil {
		return Appended{}, p.replica.Error(p.ops.append, err)
	}
	defer p.log.Release(size)
	if len(a.Data) > 0 {
		if b := record.Batch(a.Data); b.ProducerID() >= 0 {
			pending.seq = sequenceOf(b)
		}
	}
	for {
		same, done, err := p.submit(pending, a)
		if err != nil || done.Duplicate {
			return done, err
		}
		if same == nil {
			break
		}
		<-same.done // the same batch, or its position, is pending: its outcome decides
	}
	return p.await(pending, len(a.Data) > 0)
}

// submit checks sequences and positions and hands the request to the replica, all under the lock: the order
// of checks is the order of entries. It returns the proposal of a pending request that this one repeats,
// or an outcome that is known already, or neither: then pending.proposal is set.
func (p *Partition) submit(pending *pendingAppend, a Append) (*proposal, Appended, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	leadership, err := p.lead(p.ops.append)
	if err != nil {
		return nil, Appended{}, err
	}
	if d := p.duplicateOfLocked(leadership, pending); d != nil {
		return d.proposal, Appended{}, nil
	}
	small := len(a.Data) > 0 && len(a.Data) <= coalesceBelow && len(a.Positions) == 0
	if p.open != nil && (!small || p.open.leadership != leadership) {
		p.proposeOpenLocked() // earlier requests go first, and are refused if their leadership is over
	}
	if done, err := p.admitLocked(leadership, pending); err != nil || done.Duplicate {
		return nil, done, err
	}
	switch {
	case small && p.open != nil:
		p.joinLocked(pending, a.Data)
	case small && p.replica.Pending() > 0:
		p.open = newProposal(leadership, nil, nil)
		p.open.shared = true
		shared := p.open
		p.life.work.Go(func() { p.runShared(shared) }) // this request is counted in work, so Add cannot race with Wait
		p.joinLocked(pending, a.Data)
	default:
		pending.proposal = newProposal(leadership, a.Data, pending.ext)
		p.proposeLocked(pending.proposal)
	}
	p.trackLocked(pending)
	return nil, Appended{}, nil
}

// joinLocked adds the request's bytes to the open proposal.
func (p *Partition) joinLocked(pending *pendingAppend, data []byte) {
	open := p.open
	pending.proposal, pending.start = open, len(open.data)
	open.data = append(open.data, data...)
	if len(open.data) >= maxShared {
		p.proposeOpenLocked()
	}
}

// proposeOpenLocked closes the open proposal, if there is one, and hands it to the replica.
func (p *Partition) proposeOpenLocked() {
	if open := p.open; open != nil {
		p.open = nil
		p.proposeLocked(open)
	}
}

// proposeLocked hands a proposal to the replica, which takes it or refuses it at once. What is refused is
// settled before another request is checked, which must not follow it.
func (p *Partition) proposeLocked(pr *proposal) {
	pr.future, pr.err = p.replica.Propose(pr.leadership, replica.Proposal{Op: p.ops.append, Data: pr.data, Extensions: pr.ext})
	if pr.err != nil {
		close(pr.done)
	}
}

// runShared sees a shared proposal through: it lets requests join until a slot is free, then proposes it,
// unless a larger request has already done so, and waits for the outcome.
func (p *Partition) runShared(pr *proposal) {
	p.appender.slots <- struct{}{}
	defer func() { <-p.appender.slots }()
	p.mu.Lock()
	if p.open == pr {
		p.proposeOpenLocked()
	}
	p.mu.Unlock()
	p.settle(pr)
}

// settle waits for the outcome of a proposal that was proposed, and publishes it. An error there is before
// the wait is a refusal, which is published already. It is called once for a proposal.
func (p *Partition) settle(pr *proposal) {
	if pr.err != nil {
		return
	}
	_, pr.err = pr.future.Wait()
	close(pr.done)
}

// await waits until the request's entry is committed and applied.
func (p *Partition) await(pending *pendingAppend, hasData bool) (Appended, error) {
	pr := pending.proposal
	if pr.shared {
		<-pr.done
	} else {
		p.settle(pr)
	}
	p.untrack(pending)
	if pr.err != nil {
		return Appended{}, pr.err
	}
	if !hasData {
		return Appended{BaseOffset: -1}, nil
	}
	return Appended{BaseOffset: record.Batch(pr.data[pending.start:]).BaseOffset()}, nil
}
