package partition

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestProducerCheck(t *testing.T) {
	seq := func(epoch int16, first, last int32) sequenced {
		return sequenced{id: 7, epoch: epoch, first: first, last: last}
	}
	written := func(batches ...sequenced) *producer {
		p := &producer{}
		for i, b := range batches {
			p.append(b, int64(100*i), 0)
		}
		return p
	}
	five := written(seq(0, 0, 9), seq(0, 10, 19), seq(0, 20, 29), seq(0, 30, 39), seq(0, 40, 49), seq(0, 50, 59))
	tests := []struct {
		name   string
		have   *producer
		next   sequenced
		want   sequenceVerdict
		offset int64
	}{
		{"first batch of an unknown producer", nil, seq(0, 0, 9), admit, -1},
		{"an unknown producer begins elsewhere", nil, seq(0, 70, 79), refuseGap, -1},
		{"an unknown producer ends its wrap at 0", nil, seq(0, math.MaxInt32, 0), refuseGap, -1},
		{"follows", five, seq(0, 60, 69), admit, -1},
		{"repeats the last", five, seq(0, 50, 59), admitDuplicate, 500},
		{"repeats the fifth last", five, seq(0, 10, 19), admitDuplicate, 100},
		{"repeats one too old", five, seq(0, 0, 9), refuseGap, -1},
		{"repeats a part of one", five, seq(0, 50, 55), admitDuplicate, -1},
		{"repeats all that is remembered at once", five, seq(0, 10, 59), admitDuplicate, -1},
		{"repeats parts of two", five, seq(0, 25, 34), admitDuplicate, -1},
		{"repeats one and goes on", five, seq(0, 50, 60), refuseOverlap, -1},
		{"repeats one too old and one that is remembered", five, seq(0, 0, 19), refuseOverlap, -1},
		{"leaves a gap", five, seq(0, 61, 69), refuseGap, -1},
		{"old epoch", written(seq(3, 0, 9)), seq(2, 10, 19), refuseStale, -1},
		{"new epoch begins at 0", written(seq(3, 0, 9)), seq(4, 0, 9), admit, -1},
		{"new epoch begins elsewhere", written(seq(3, 0, 9)), seq(4, 10, 19), refuseGap, -1},
		{"wraps", written(seq(0, math.MaxInt32-9, math.MaxInt32)), seq(0, 0, 9), admit, -1},
		{"gap across the wrap", written(seq(0, math.MaxInt32-9, math.MaxInt32)), seq(0, 1, 9), refuseGap, -1},
		{"before the wrap", written(seq(0, 0, 9)), seq(0, math.MaxInt32-9, math.MaxInt32), refuseGap, -1},
		{"overlap across the wrap", written(seq(0, math.MaxInt32-9, math.MaxInt32)), seq(0, math.MaxInt32-4, 3), refuseOverlap, -1},
		{"within, across the wrap", written(seq(0, math.MaxInt32-9, 9)), seq(0, math.MaxInt32, 3), admitDuplicate, -1},
		{"what followed a gap in an earlier version's log", written(seq(0, 0, 9), seq(0, 20, 29)), seq(0, 10, 19), refuseGap, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, offset := tt.have.check(tt.next)
			if got != tt.want || offset != tt.offset {
				t.Errorf("check = %d, %d; want %d, %d", got, offset, tt.want, tt.offset)
			}
		})
	}
}

// TestProducerCheckAgreesWithAModel compares check with a model that has every sequence ever written one by one, as
// numbers that do not wrap. Producers begin close to the wrap, and their batches are random.
func TestProducerCheckAgreesWithAModel(t *testing.T) {
	const seed, size = 11, 1 << 31
	rng := rand.New(rand.NewPCG(seed, seed))
	t.Logf("seed %d", seed)
	seen := map[sequenceVerdict]int{}
	for range 300 {
		next := int64(size - rng.IntN(40)) // of the model: what comes next
		start, bounds := next, []int64{next}
		p := &producer{}
		for range 60 {
			first := next - 35 + rng.Int64N(70)
			if rng.IntN(2) == 0 {
				first = bounds[rng.IntN(len(bounds))]
			}
			last := first + rng.Int64N(12)
			s := sequenced{first: int32(first % size), last: int32(last % size)}
			if p.n == 0 { // a producer that has come this far, whose first batch is here
				first, s.first = next, int32(next%size)
				last = max(first, last)
				s.last = int32(last % size)
			} else {
				want, wantOffset := modelVerdict(bounds, first, last), int64(-1)
				for i := range len(bounds) - 1 {
					if bounds[i] == first && bounds[i+1] == last+1 {
						wantOffset = first - start
					}
				}
				got, offset := p.check(s)
				if got != want || offset != wantOffset {
					t.Fatalf("%d to %d with batches at %d: %d, %d; want %d, %d", first, last, bounds, got, offset, want, wantOffset)
				}
				if seen[got]++; got != admit {
					if p.has(s) != (last < next) {
						t.Fatalf("%d to %d are written: %v, next is %d", first, last, p.has(s), next)
					}
					continue
				}
			}
			p.append(s, first-start, 0)
			next = last + 1
			bounds = append(bounds, next)
			bounds = bounds[max(0, len(bounds)-keptBatches-1):]
		}
	}
	for _, v := range []sequenceVerdict{admit, admitDuplicate, refuseGap, refuseOverlap} {
		if seen[v] < 100 {
			t.Errorf("verdict %d came %d times", v, seen[v])
		}
	}
}

// modelVerdict looks at every sequence from first to last: is it among what is remembered, which lies between
// the first and the last of bounds?
func modelVerdict(bounds []int64, first, last int64) sequenceVerdict {
	oldest, next := bounds[0], bounds[len(bounds)-1]
	remembered := 0
	for n := first; n <= last; n++ {
		if oldest <= n && n < next {
			remembered++
		}
	}
	switch {
	case int64(remembered) == last-first+1:
		return admitDuplicate
	case remembered > 0:
		return refuseOverlap
	case first == next:
		return admit
	}
	return refuseGap
}

// TestCheckAfterPending: what is pending counts as if it were written, but for repetitions, whose outcome is open.
func TestCheckAfterPending(t *testing.T) {
	seq := func(epoch int16, first, last int32) sequenced {
		return sequenced{id: 7, epoch: epoch, first: first, last: last}
	}
	known := &producer{}
	known.append(seq(1, 0, 9), 0, 0)
	pending := func(all ...sequenced) (list []*pendingAppend) {
		for _, s := range all {
			list = append(list, &pendingAppend{seq: s})
		}
		return list
	}
	for _, tt := range []struct {
		name     string
		known    *producer
		pending  []*pendingAppend
		next     sequenced
		want     sequenceVerdict
		expected int32
	}{
		{"follows", known, pending(seq(1, 10, 19), seq(1, 20, 29)), seq(1, 30, 39), admit, 30},
		{"leaves a gap", known, pending(seq(1, 10, 19)), seq(1, 30, 39), refuseGap, 20},
		{"repeats two", known, pending(seq(1, 10, 19), seq(1, 20, 29)), seq(1, 10, 29), refuseOverlap, 30},
		{"repeats a part", known, pending(seq(1, 10, 19)), seq(1, 10, 14), refuseOverlap, 20},
		{"repeats what is written and what is pending", known, pending(seq(1, 10, 19)), seq(1, 5, 14), refuseOverlap, 20},
		{"repeats and goes on", known, pending(seq(1, 10, 19)), seq(1, 15, 24), refuseOverlap, 20},
		{"older epoch", known, pending(seq(2, 0, 9)), seq(1, 10, 19), refuseStale, 10},
		{"newer epoch", known, pending(seq(1, 10, 19)), seq(2, 0, 9), admit, 0},
		{"newer epoch begins elsewhere", known, pending(seq(1, 10, 19)), seq(2, 20, 29), refuseGap, 0},
		{"unknown, follows", nil, pending(seq(0, 0, 9)), seq(0, 10, 19), admit, 10},
		{"unknown, begins elsewhere", nil, pending(seq(0, 0, 9)), seq(0, 20, 29), refuseGap, 10},
		{"unknown, overlaps", nil, pending(seq(0, 0, 9)), seq(0, 5, 14), refuseOverlap, 10},
		{"known by an older epoch, overlaps", known, pending(seq(2, 0, 9)), seq(2, 0, 14), refuseOverlap, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, expected := checkAfter(tt.known, tt.pending, tt.next)
			if got != tt.want || expected != tt.expected {
				t.Errorf("checkAfter = %d, %d; want %d, %d", got, expected, tt.want, tt.expected)
			}
		})
	}
}

// TestAppliedIsNotPending: an append whose entry is applied counts no longer, whatever the state still
// remembers of it.
func TestAppliedIsNotPending(t *testing.T) {
	seq := func(epoch int16, at int32) sequenced { return sequenced{epoch: epoch, first: at, last: at} }
	var unknown *producer
	p := &producer{}
	for at := range int32(9) {
		p.append(seq(1, at), int64(at), 0)
	}
	for _, tt := range []struct {
		name  string
		known *producer
		s     sequenced
		want  bool
	}{
		{"unknown", unknown, seq(0, 0), false},
		{"last", p, seq(1, 8), true},
		{"no longer remembered", p, seq(1, 0), true},
		{"next", p, seq(1, 9), false},
		{"older epoch", p, seq(0, 99), true},
		{"newer epoch", p, seq(2, 0), false},
	} {
		if got := tt.known.has(tt.s); got != tt.want {
			t.Errorf("%s: has = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestPositionReached(t *testing.T) {
	sequence := func(epoch int16, next int64) Position {
		return Position{Kind: PositionSequence, Epoch: epoch, Next: next}
	}
	offset := func(next int64) Position { return Position{Kind: PositionOffset, Next: next} }
	tests := []struct {
		name        string
		next, saved Position
		reached     bool
	}{
		{"offset after", offset(11), offset(10), false},
		{"offset same", offset(10), offset(10), true},
		{"offset before", offset(9), offset(10), true},
		{"sequence after", sequence(0, 11), sequence(0, 10), false},
		{"sequence same", sequence(0, 10), sequence(0, 10), true},
		{"sequence before", sequence(0, 9), sequence(0, 10), true},
		{"sequence wraps", sequence(0, 5), sequence(0, math.MaxInt32-5), false},
		{"newer epoch", sequence(1, 0), sequence(0, 10), false},
		{"older epoch", sequence(0, 50), sequence(1, 10), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.next.reached(tt.saved); got != tt.reached {
				t.Errorf("reached = %v, want %v", got, tt.reached)
			}
		})
	}
}
