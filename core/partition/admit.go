package partition

import (
	"slices"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/replica"
)

// What is pending counts for sequence checks as if it were written: an idempotent producer sends its next
// batches before the first is answered. So a request is checked against the state, which has what is
// applied, and against what is pending: appends that Raft has and that were not answered yet.
//
// Between the two there is an overlap. An entry is applied, then its future is answered, and only then
// does the request's goroutine wake up and take its append out of what is pending:
//
//	Raft                          request A (sequence 0)       request B (sequence 1), C (0 again)
//	applies A: the state has 0    -                            -
//	answers A's future            -                            -
//	-                             settle: proposal.done closed -
//	-                             -                            B, C are checked here
//	-                             untrack: A is not pending    -
//
// Checked in the overlap, A is in the state and pending too. What is settled is therefore not taken for
// pending (duplicateOfLocked, pendingOfLocked), and what the state has already does not count either, as
// it may be applied while its future is still to be answered.
//
// When the leadership changes, appends may still be pending that were proposed under the last one. Their
// outcome is decided before this replica is ready again: what was committed is applied by then, and all
// else never will be. So they count no longer, although their goroutines may not have run since:
//
//	leadership 1                    leadership 2
//	A (sequence 0) is proposed
//	ends: A's future is answered
//	with LEADERSHIP LOST            ready; the state has no A
//	                                B (sequence 1) is checked: it must not follow A, which is lost
//	A's request wakes up
//
// What Raft refuses at once is over at once too (proposeLocked), and a request that joins no proposal closes
// the open one before it is checked: else it would follow what the replica then refuses.

// duplicateOfLocked finds a pending append that carries the same batch or one of the same positions.
func (p *Partition) duplicateOfLocked(l replica.Leadership, a *pendingAppend) *pendingAppend {
	for _, position := range a.positions {
		if d := p.pendingPositions[position.Origin]; d != nil && !d.proposal.over(l) {
			return d
		}
	}
	if a.seq.id < 0 {
		return nil
	}
	for _, d := range p.pending[a.seq.id] {
		if d.seq == a.seq && !d.proposal.over(l) {
			return d
		}
	}
	return nil
}

// pendingOfLocked is a producer's appends that are still to be written, without those whose outcome is
// known or which the state has already: answers come back in any order, and only what is not in the
// state decides what may come after it.
func (p *Partition) pendingOfLocked(l replica.Leadership, id int64, known *producer) []*pendingAppend {
	return slices.DeleteFunc(slices.Clone(p.pending[id]), func(a *pendingAppend) bool {
		if a.proposal.over(l) {
			return true
		}
		return known.has(a.seq)
	})
}

// admitLocked checks positions and sequences against what is written and what is pending.
func (p *Partition) admitLocked(l replica.Leadership, a *pendingAppend) (Appended, error) {
	p.stateMu.RLock()
	defer p.stateMu.RUnlock()
	if p.allReached(a.positions) {
		return Appended{BaseOffset: -1, Duplicate: true}, nil
	}
	if a.seq.id < 0 {
		return Appended{}, nil
	}
	known := p.state.producers[a.seq.id]
	verdict, offset := known.check(a.seq)
	if verdict == admitDuplicate {
		return Appended{BaseOffset: offset, Duplicate: true}, nil
	}
	expected := known.expectedIn(a.seq.epoch)
	if pending := p.pendingOfLocked(l, a.seq.id, known); len(pending) > 0 {
		verdict, expected = checkAfter(known, pending, a.seq)
	}
	return Appended{}, p.sequenceError(verdict, a.seq, expected)
}

// Peek is what Append would answer to an idempotent producer's batch, without writing anything: where the
// batch lies that it repeats, or why its sequence is refused. Whoever writes elsewhere on the batch's
// behalf before it is appended asks first, as what follows a refused batch may not have come yet.
// Batches of other producers are never refused.
func (p *Partition) Peek(b record.Batch) (Appended, error) {
	if b.ProducerID() < 0 {
		return Appended{}, nil
	}
	a := &pendingAppend{seq: sequenceOf(b)}
	p.mu.Lock()
	defer p.mu.Unlock()
	leadership, err := p.lead(p.ops.append)
	if err != nil {
		return Appended{}, err
	}
	if p.duplicateOfLocked(leadership, a) != nil {
		return Appended{}, nil // Append waits for the pending one's outcome
	}
	return p.admitLocked(leadership, a)
}

// checkAfter decides whether s may follow what is pending, which follows known, and says which sequence
// comes next. It is no repetition of a pending batch (see duplicateOfLocked); one that repeats several of
// them, or a part of one, is refused: it is not decided yet whether they will be written.
func checkAfter(known *producer, pending []*pendingAppend, s sequenced) (verdict sequenceVerdict, expected int32) {
	last := pending[len(pending)-1].seq
	expected = nextSequence(last.last)
	switch {
	case s.epoch < last.epoch:
		return refuseStale, expected
	case s.epoch > last.epoch:
		if s.first != 0 {
			return refuseGap, 0
		}
		return admit, 0
	}
	var oldest int32
	if known != nil && known.n > 0 && known.epoch == last.epoch {
		oldest = known.batches[0].first
	} // else all of the epoch that is written or pending begins with 0
	if verdict = compare(oldest, expected, s); verdict == admitDuplicate {
		verdict = refuseOverlap
	}
	return verdict, expected
}

// allReached reports whether there are positions and the state has all of them. The caller holds stateMu.
func (p *Partition) allReached(positions []Position) bool {
	for _, position := range positions {
		saved, ok := p.state.positions[position.Origin]
		if !ok || !position.reached(saved.Position) {
			return false
		}
	}
	return len(positions) > 0
}

func (p *Partition) sequenceError(v sequenceVerdict, s sequenced, expected int32) error {
	var e *errcode.Error
	switch v {
	case refuseStale:
		e = errcode.New(errcode.InvalidProducerEpoch,
			"%s: producer %d has epoch %d no longer; stop this producer, a newer one has taken its place", p.ops.append, s.id, s.epoch)
	case refuseGap:
		e = errcode.New(errcode.OutOfOrderSequence,
			"%s: producer %d sent sequence %d where %d comes next: send the missing batches first, or begin with 0 under a new producer id",
			p.ops.append, s.id, s.first, expected)
	case refuseOverlap:
		e = errcode.New(errcode.OverlappingSequence,
			"%s: producer %d sent sequences %d to %d, a part of which is written or pending and a part is not; nothing of it was written now: "+
				"repeat batches as they were first sent, and go on with %d", p.ops.append, s.id, s.first, s.last, expected)
	default:
		return nil
	}
	return e.With("expected_sequence", expected)
}

// trackLocked makes an append pending; untrack ends that once its entry is applied (or has failed: then
// what follows must be sent again too, as Kafka's clients do).
func (p *Partition) trackLocked(a *pendingAppend) {
	if a.seq.id >= 0 {
		p.pending[a.seq.id] = append(p.pending[a.seq.id], a)
	}
	for _, position := range a.positions {
		p.pendingPositions[position.Origin] = a
	}
}

func (p *Partition) untrack(a *pendingAppend) {
	if a.seq.id < 0 && len(a.positions) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, position := range a.positions {
		if p.pendingPositions[position.Origin] == a {
			delete(p.pendingPositions, position.Origin)
		}
	}
	if a.seq.id < 0 {
		return
	}
	rest := slices.DeleteFunc(p.pending[a.seq.id], func(other *pendingAppend) bool { return other == a })
	if len(rest) == 0 {
		delete(p.pending, a.seq.id)
		return
	}
	p.pending[a.seq.id] = rest
}
