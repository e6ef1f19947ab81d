package partition

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/raftstore/log"
)

const (
	// maxOutstanding bounds the bytes of a partition's entries that Raft has not yet answered for.
	// Every request weighs at least minWeight, so that the entries stay below half of raft's
	// MaxAppendEntries: more would leave a rest behind that waits for CommitTimeout.
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
	data   []byte
	ext    []byte
	shared bool // by several requests: data is the proposal's own copy
	future raft.ApplyFuture
	done   chan struct{} // closed when err is set
	err    error
}

// settled reports whether the proposal's outcome is known.
func (pr *proposal) settled() bool {
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
	if err := p.enter(); err != nil {
		return Appended{}, err
	}
	defer p.inflight.Done()

	weight := p.appender.budget.Clip(int64(max(len(a.Data), minWeight)))
	if err := p.appender.budget.Acquire(ctx, weight); err != nil {
		return Appended{}, fmt.Errorf("append %s: %w", p.name, err)
	}
	defer p.appender.budget.Release(weight)

	pending := &pendingAppend{
		positions: a.Positions, ext: entryMeta{positions: a.Positions, trimTo: -1}.encode(), seq: sequenced{id: -1},
	}
	size := len(a.Data) + len(pending.ext)
	if err := p.log.Reserve(size); err != nil {
		return Appended{}, p.storageError("reserve", err)
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

// enter counts a request in, unless the partition takes none.
func (p *Partition) enter() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closing:
		return p.leaving("append")
	case p.failure != nil:
		return p.failure
	}
	p.inflight.Add(1)
	return nil
}

// submit checks sequences and positions and hands the request to Raft, all under the lock: the order of
// checks is the order of entries. It returns the proposal of a pending request that this one repeats, or
// an outcome that is known already, or neither: then pending.proposal is set.
func (p *Partition) submit(pending *pendingAppend, a Append) (*proposal, Appended, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.duplicateOfLocked(pending); d != nil {
		return d.proposal, Appended{}, nil
	}
	if done, err := p.admitLocked(pending); err != nil || done.Duplicate {
		return nil, done, err
	}
	small := len(a.Data) > 0 && len(a.Data) <= coalesceBelow && len(a.Positions) == 0
	switch {
	case small && p.open != nil:
		p.joinLocked(pending, a.Data)
	case small && p.outstanding > 0:
		p.open = &proposal{shared: true, done: make(chan struct{})}
		p.joinLocked(pending, a.Data)
		p.inflight.Add(1)
		go p.runShared(p.open)
	default:
		p.proposeOpenLocked() // earlier requests go first
		pending.proposal = &proposal{data: a.Data, ext: pending.ext, done: make(chan struct{})}
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

// proposeOpenLocked closes the open proposal, if there is one, and hands it to Raft.
func (p *Partition) proposeOpenLocked() {
	if open := p.open; open != nil {
		p.open = nil
		p.proposeLocked(open)
	}
}

// proposeLocked never blocks: the budget keeps the entries below the capacity of raft's queue.
func (p *Partition) proposeLocked(pr *proposal) {
	p.outstanding++
	pr.future = p.raft.ApplyLog(raft.Log{Data: pr.data, Extensions: pr.ext}, 0)
}

// runShared sees a shared proposal through: it lets requests join until a slot is free, then proposes it,
// unless a larger request has already done so, and waits for the outcome.
func (p *Partition) runShared(pr *proposal) {
	defer p.inflight.Done()
	p.appender.slots <- struct{}{}
	defer func() { <-p.appender.slots }()
	p.mu.Lock()
	if p.open == pr {
		p.proposeOpenLocked()
	}
	p.mu.Unlock()
	p.settle(pr)
}

// settle waits for Raft's answer and publishes it.
func (p *Partition) settle(pr *proposal) {
	pr.err = pr.future.Error()
	p.mu.Lock()
	p.outstanding--
	p.mu.Unlock()
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
		return Appended{}, p.raftError(pr.err)
	}
	if !hasData {
		return Appended{BaseOffset: -1}, nil
	}
	return Appended{BaseOffset: record.Batch(pr.data[pending.start:]).BaseOffset()}, nil
}

// raftError translates Raft's refusals.
func (p *Partition) raftError(err error) error {
	switch {
	case p.log.Failed() != nil, errors.Is(err, log.ErrDiskFull):
		return p.storageError("append", err)
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipLost),
		errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return errcode.New(errcode.NotLeaderOrFollower,
			"append %s: this broker does not lead the partition just now; retry: %w", p.name, err)
	case errors.Is(err, raft.ErrRaftShutdown):
		return errcode.New(errcode.ShuttingDown, "append %s: the partition is closing; retry: %w", p.name, err)
	}
	return fmt.Errorf("append %s: %w", p.name, err)
}

// storageError tells a full disk, which passes, from a failed one, which does not.
func (p *Partition) storageError(op string, err error) error {
	if errors.Is(err, log.ErrDiskFull) {
		return errcode.New(errcode.DiskFull,
			"%s %s: the disk is full; reads go on, free space or lower retention.bytes and retry: %w", op, p.name, err).
			With("retry_after_ms", 1000)
	}
	if p.log.Failed() != nil {
		p.fail(err)
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.failure
	}
	return errcode.New(errcode.StorageFailed, "%s %s: %w", op, p.name, err)
}
