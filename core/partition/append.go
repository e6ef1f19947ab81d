package partition

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	"golang.org/x/sync/semaphore"

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

	// coalesceBelow is the size up to which a request that finds others in flight joins a common
	// entry: there an entry costs more than the copy.
	coalesceBelow = 16 << 10
	// maxGroup closes a common entry.
	maxGroup = 256 << 10
	// groupsInFlight lets one common entry be written while the next gathers.
	groupsInFlight = 2

	// queueWait is how long a request may wait for its turn before it is sent away.
	queueWait = 5 * time.Second
)

// Append is one request to write record batches.
type Append struct {
	// Data is record batches back to back, validated. The log patches their base offsets and leader
	// epochs in place; the caller leaves it alone until Append returns. Only the first batch may
	// belong to an idempotent producer. Data may be empty when Marks are to be written alone.
	Data  []byte
	Marks []Mark
}

// Appended tells where the records went.
type Appended struct {
	BaseOffset int64 // of the first batch; -1 for a repetition whose offset is no longer known
	Duplicate  bool  // it had been written before; nothing was written now
}

// group is one Raft entry and the requests that share it.
type group struct {
	data   []byte
	ext    []byte
	shared bool // gathered from several requests: data is the group's own
	future raft.ApplyFuture
	done   chan struct{} // closed when err is set
	err    error
}

// flight is an idempotent batch, or a mark, that has been handed to Raft and not yet answered.
type flight struct {
	group *group
	start int // where the request's data begins in the group's
	seq   sequenced
	marks []Mark
	ext   []byte // the marks as the entry carries them
}

// appender is the write half of a partition.
type appender struct {
	budget *semaphore.Weighted // bytes outstanding
	slots  chan struct{}       // common entries outstanding
}

func newAppender() appender {
	return appender{budget: semaphore.NewWeighted(maxOutstanding), slots: make(chan struct{}, groupsInFlight)}
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

	weight := int64(min(max(len(a.Data), minWeight), maxOutstanding))
	if err := p.acquire(ctx, weight); err != nil {
		return Appended{}, err
	}
	defer p.appender.budget.Release(weight)

	f := &flight{marks: a.Marks, ext: entryMeta{marks: a.Marks, trimTo: -1}.encode(), seq: sequenced{id: -1}}
	size := len(a.Data) + len(f.ext)
	if err := p.log.Reserve(size); err != nil {
		return Appended{}, p.storageError("reserve", err)
	}
	defer p.log.Release(size)
	if len(a.Data) > 0 {
		if b := record.Batch(a.Data); b.ProducerID() >= 0 {
			f.seq = sequenceOf(b)
		}
	}
	for {
		again, done, err := p.submit(f, a)
		if err != nil || done.Duplicate {
			return done, err
		}
		if again == nil {
			break
		}
		<-again.done // the same batch, or its mark, is in flight: its outcome is ours
	}
	return p.await(f, len(a.Data) > 0)
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

// acquire takes the request's share of the outstanding bytes.
func (p *Partition) acquire(ctx context.Context, weight int64) error {
	if p.appender.budget.TryAcquire(weight) {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, queueWait)
	defer cancel()
	if err := p.appender.budget.Acquire(wait, weight); err != nil {
		return errcode.New(errcode.Overloaded,
			"append %s: %d MiB are waiting for the disk; slow down and retry", p.name, maxOutstanding>>20).
			With("retry_after_ms", 1000)
	}
	return nil
}

// submit checks sequences and marks and hands the request to Raft, all under the lock: the order of
// checks is the order of entries. It returns the group of a request in flight that this one repeats,
// or an outcome that is known already, or neither: then f.group is set.
func (p *Partition) submit(f *flight, a Append) (*group, Appended, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if twin := p.twinLocked(f); twin != nil {
		return twin.group, Appended{}, nil
	}
	if dup, err := p.admitLocked(f); err != nil || dup.Duplicate {
		return nil, dup, err
	}
	small := len(a.Data) > 0 && len(a.Data) <= coalesceBelow && len(a.Marks) == 0
	switch {
	case small && p.gathering != nil:
		p.joinLocked(f, a.Data)
	case small && p.outstanding > 0:
		p.gathering = &group{shared: true, done: make(chan struct{})}
		p.joinLocked(f, a.Data)
		p.inflight.Add(1)
		go p.runGroup(p.gathering)
	default:
		p.proposeGatheringLocked() // earlier requests go first
		f.group = &group{data: a.Data, ext: f.ext, done: make(chan struct{})}
		p.proposeLocked(f.group)
	}
	p.trackLocked(f)
	return nil, Appended{}, nil
}

// joinLocked adds the request's bytes to the common entry.
func (p *Partition) joinLocked(f *flight, data []byte) {
	g := p.gathering
	f.group, f.start = g, len(g.data)
	g.data = append(g.data, data...)
	if len(g.data) >= maxGroup {
		p.proposeGatheringLocked()
	}
}

// proposeGatheringLocked closes the common entry, if there is one, and hands it to Raft.
func (p *Partition) proposeGatheringLocked() {
	if g := p.gathering; g != nil {
		p.gathering = nil
		p.proposeLocked(g)
	}
}

// proposeLocked never blocks: the budget keeps the entries below the capacity of raft's queue.
func (p *Partition) proposeLocked(g *group) {
	p.outstanding++
	g.future = p.raft.ApplyLog(raft.Log{Data: g.data, Extensions: g.ext}, 0)
}

// runGroup sees a common entry through: it lets requests gather until a slot is free, then proposes
// the entry, unless a larger request has already done so, and waits for the outcome.
func (p *Partition) runGroup(g *group) {
	defer p.inflight.Done()
	p.appender.slots <- struct{}{}
	defer func() { <-p.appender.slots }()
	p.mu.Lock()
	if p.gathering == g {
		p.proposeGatheringLocked()
	}
	p.mu.Unlock()
	p.settle(g)
}

// settle waits for Raft's answer and publishes it.
func (p *Partition) settle(g *group) {
	g.err = g.future.Error()
	p.mu.Lock()
	p.outstanding--
	p.mu.Unlock()
	close(g.done)
}

// await waits until the request's entry is committed and applied.
func (p *Partition) await(f *flight, hasData bool) (Appended, error) {
	if f.group.shared {
		<-f.group.done
	} else {
		p.settle(f.group)
	}
	p.untrack(f)
	if err := f.group.err; err != nil {
		return Appended{}, p.raftError(err)
	}
	if !hasData {
		return Appended{BaseOffset: -1}, nil
	}
	return Appended{BaseOffset: record.Batch(f.group.data[f.start:]).BaseOffset()}, nil
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
