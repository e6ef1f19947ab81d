package partition

import "github.com/wasmill/wasmill/core/record"

// maxSequence is the largest producer sequence; the next one is 0 (KIP-98).
const maxSequence = 1<<31 - 1

// keptBatches is how many of a producer's last batches are remembered, so that a retry of any of
// them gets its first answer again. Kafka's clients keep at most five requests in flight.
const keptBatches = 5

// batchRange is one batch of an idempotent producer.
type batchRange struct {
	first, last int32 // sequences
	baseOffset  int64
}

// producer is what a partition remembers of one idempotent producer.
type producer struct {
	epoch   int16
	n       uint8                   // batches in use
	batches [keptBatches]batchRange // each begins where the one before it ends
	lastMs  int64                   // when its last entry was appended, ms since 1970, by the leader's clock
}

// sequenced names one batch of an idempotent producer.
type sequenced struct {
	id    int64
	epoch int16
	first int32
	last  int32
}

// sequenceVerdict is the answer of a sequence check.
type sequenceVerdict uint8

const (
	admit          sequenceVerdict = iota
	admitDuplicate                 // already written, all of it: answer with the first offset again if it is known
	refuseStale                    // an older epoch: another producer took over
	refuseGap                      // sequences are missing before this batch, or it is older than what is remembered
	refuseOverlap                  // a part of it is written, and a part is not, or is not remembered
)

func nextSequence(s int32) int32 { return record.AddSequence(s, 1) }

// sequencesFrom is how many sequences b is after a: they count modulo 2^31.
func sequencesFrom(a, b int32) int64 { return int64(uint32(b-a) & maxSequence) }

// check decides whether s may follow what p remembers; p is nil for a producer that is not known. An
// unknown producer, and a new epoch, begin with sequence 0: else a batch that overtakes the producer's
// first one would be written, and the first one then be taken for a repetition.
func (p *producer) check(s sequenced) (sequenceVerdict, int64) {
	switch {
	case p != nil && s.epoch < p.epoch:
		return refuseStale, -1
	case p == nil || s.epoch > p.epoch || p.n == 0:
		if s.first != 0 {
			return refuseGap, -1
		}
		return admit, -1
	}
	for _, b := range p.batches[:p.n] {
		if b.first == s.first && b.last == s.last {
			return admitDuplicate, b.baseOffset
		}
	}
	return compare(p.batches[0].first, p.expected(), s), -1
}

// compare decides about a batch of an epoch whose sequences from oldest up to next, without next, are
// written. Positions on the circle of sequences are counted from oldest. It is no duplicate to be behind
// oldest: whether such a sequence was written is not known, as a producer that wraps may be ahead as well.
func compare(oldest, next int32, s sequenced) sequenceVerdict {
	written := sequencesFrom(oldest, next)
	begin := sequencesFrom(oldest, s.first)
	end := begin + sequencesFrom(s.first, s.last) + 1
	switch {
	case end <= written:
		return admitDuplicate
	case begin < written, end > maxSequence+1: // it begins among what is written, or reaches into it from behind
		return refuseOverlap
	case begin == written:
		return admit
	}
	return refuseGap
}

// has reports whether s is among what p has written, remembered or not, given that s was admitted once:
// then it is not so far from what p remembers that before and after are confused.
func (p *producer) has(s sequenced) bool {
	if p == nil || s.epoch != p.epoch {
		return p != nil && s.epoch < p.epoch
	}
	behind := sequencesFrom(s.last, p.expected())
	return behind > 0 && behind <= maxSequence/2
}

// append records that s was written at baseOffset.
func (p *producer) append(s sequenced, baseOffset, nowMs int64) {
	// Versions before this one let a forgotten producer go on anywhere. What comes after such a gap says
	// nothing about the sequences within it, so nothing before it is remembered.
	if s.epoch != p.epoch || s.first != p.expected() {
		p.epoch, p.n = s.epoch, 0
	}
	if p.n == keptBatches {
		copy(p.batches[:], p.batches[1:])
		p.n--
	}
	p.batches[p.n] = batchRange{first: s.first, last: s.last, baseOffset: baseOffset}
	p.n++
	p.lastMs = nowMs
}

// expectedIn is the sequence that comes next in an epoch that is not older than the producer's.
func (p *producer) expectedIn(epoch int16) int32 {
	if p != nil && epoch > p.epoch {
		return 0
	}
	return p.expected()
}

// expected is the sequence that comes next in the producer's epoch: 0 for one that is not known (nil).
func (p *producer) expected() int32 {
	if p == nil || p.n == 0 {
		return 0
	}
	return nextSequence(p.batches[p.n-1].last)
}
