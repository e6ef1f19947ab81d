package partition

import (
	"slices"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
)

// What is in flight counts for sequence checks as if it were written: an idempotent producer sends
// its next batches before the first is answered. The overlay below the lock holds it.

// twinLocked finds a request in flight that carries the same batch or one of the same marks.
func (p *Partition) twinLocked(f *flight) *flight {
	for _, m := range f.marks {
		if t := p.flyingMarks[m.Origin]; t != nil && !t.group.settled() {
			return t
		}
	}
	if f.seq.id < 0 {
		return nil
	}
	for _, t := range p.flying[f.seq.id] {
		if t.seq == f.seq && !t.group.settled() {
			return t
		}
	}
	return nil
}

// flyingLocked is a producer's requests that are still to be written. Those whose outcome is known, or
// which the state has already, are left out although their goroutines have not yet come to take them
// out: answers come back in any order, and only what is not in the state tells what comes after it.
func (p *Partition) flyingLocked(id int64, known *producer) []*flight {
	return slices.DeleteFunc(slices.Clone(p.flying[id]), func(f *flight) bool {
		if f.group.settled() {
			return true
		}
		if known == nil {
			return false
		}
		verdict, _ := known.check(f.seq)
		return verdict == admitDuplicate || verdict == refuseForgotten
	})
}

// settled tells whether the group's outcome is known.
func (g *group) settled() bool {
	select {
	case <-g.done:
		return true
	default:
		return false
	}
}

// admitLocked checks marks and sequences against what is written and what is in flight.
func (p *Partition) admitLocked(f *flight) (Appended, error) {
	p.stateMu.RLock()
	defer p.stateMu.RUnlock()
	if p.allMarksSeen(f.marks) {
		return Appended{BaseOffset: -1, Duplicate: true}, nil
	}
	if f.seq.id < 0 {
		return Appended{}, nil
	}
	known := p.state.producers[f.seq.id]
	verdict, offset, expected := admit, int64(-1), int32(0)
	if known != nil {
		verdict, offset = known.check(f.seq)
		expected = known.expected()
	}
	if verdict == admitDuplicate {
		return Appended{BaseOffset: offset, Duplicate: true}, nil
	}
	if flying := p.flyingLocked(f.seq.id, known); len(flying) > 0 && verdict != refuseForgotten {
		last := flying[len(flying)-1].seq
		verdict, expected = checkAfter(last, f.seq), nextSequence(last.last)
	}
	return Appended{}, p.refusal(verdict, f.seq, expected)
}

// Peek tells what Append would answer to an idempotent producer's batch, and writes nothing: where the
// batch lies that it repeats, or why its sequence is refused. Whoever writes elsewhere on the batch's
// behalf before it is appended asks first, as what follows a refused batch may not have come yet.
// Batches of other producers are never refused.
func (p *Partition) Peek(b record.Batch) (Appended, error) {
	if b.ProducerID() < 0 {
		return Appended{}, nil
	}
	f := &flight{seq: sequenceOf(b)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.twinLocked(f) != nil {
		return Appended{}, nil // on its way: Append waits for its outcome
	}
	return p.admitLocked(f)
}

// checkAfter decides whether s may follow last, which is still on its way.
func checkAfter(last, s sequenced) admission {
	switch {
	case s.epoch < last.epoch:
		return refuseStale
	case s.epoch > last.epoch && s.first == 0, s.epoch == last.epoch && s.first == nextSequence(last.last):
		return admit
	}
	return refuseGap
}

func (p *Partition) allMarksSeen(marks []Mark) bool {
	for _, m := range marks {
		prev, ok := p.state.marks[m.Origin]
		if !ok || !m.seen(prev.Mark) {
			return false
		}
	}
	return len(marks) > 0
}

func (p *Partition) refusal(v admission, s sequenced, expected int32) error {
	var e *errcode.Error
	switch v {
	case refuseStale:
		e = errcode.New(errcode.InvalidProducerEpoch,
			"append %s: producer %d has epoch %d no longer; stop this producer, a newer one has taken its place", p.name, s.id, s.epoch)
	case refuseGap:
		e = errcode.New(errcode.OutOfOrderSequence,
			"append %s: producer %d sent sequence %d where %d comes next; send the missing batches first", p.name, s.id, s.first, expected)
	case refuseForgotten:
		e = errcode.New(errcode.DuplicateSequence,
			"append %s: producer %d wrote sequence %d before, too long ago to tell its offset; go on with %d", p.name, s.id, s.first, expected)
	default:
		return nil
	}
	return e.With("expected_sequence", expected)
}

// trackLocked puts a request into the overlay; untrack takes it out once its entry is applied (or
// has failed: then what follows must be sent again too, as Kafka's clients do).
func (p *Partition) trackLocked(f *flight) {
	if f.seq.id >= 0 {
		p.flying[f.seq.id] = append(p.flying[f.seq.id], f)
	}
	for _, m := range f.marks {
		p.flyingMarks[m.Origin] = f
	}
}

func (p *Partition) untrack(f *flight) {
	if f.seq.id < 0 && len(f.marks) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range f.marks {
		if p.flyingMarks[m.Origin] == f {
			delete(p.flyingMarks, m.Origin)
		}
	}
	if f.seq.id < 0 {
		return
	}
	rest := p.flying[f.seq.id]
	for i, t := range rest {
		if t == f {
			rest = append(rest[:i], rest[i+1:]...)
			break
		}
	}
	if len(rest) == 0 {
		delete(p.flying, f.seq.id)
		return
	}
	p.flying[f.seq.id] = rest
}
