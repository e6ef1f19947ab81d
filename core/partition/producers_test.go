package partition

import (
	"math"
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
		{"first batch of a new producer", &producer{}, seq(0, 0, 9), admit, -1},
		{"a producer that was forgotten goes on", &producer{}, seq(0, 70, 79), admit, -1},
		{"follows", five, seq(0, 60, 69), admit, -1},
		{"repeats the last", five, seq(0, 50, 59), admitDuplicate, 500},
		{"repeats the fifth last", five, seq(0, 10, 19), admitDuplicate, 100},
		{"repeats one too old", five, seq(0, 0, 9), refuseForgotten, -1},
		{"repeats a part", five, seq(0, 50, 55), refuseForgotten, -1},
		{"leaves a gap", five, seq(0, 61, 69), refuseGap, -1},
		{"old epoch", written(seq(3, 0, 9)), seq(2, 10, 19), refuseStale, -1},
		{"new epoch begins at 0", written(seq(3, 0, 9)), seq(4, 0, 9), admit, -1},
		{"new epoch begins elsewhere", written(seq(3, 0, 9)), seq(4, 10, 19), refuseGap, -1},
		{"wraps", written(seq(0, math.MaxInt32-9, math.MaxInt32)), seq(0, 0, 9), admit, -1},
		{"gap across the wrap", written(seq(0, math.MaxInt32-9, math.MaxInt32)), seq(0, 1, 9), refuseGap, -1},
		{"before the wrap", written(seq(0, 0, 9)), seq(0, math.MaxInt32-9, math.MaxInt32), refuseForgotten, -1},
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
