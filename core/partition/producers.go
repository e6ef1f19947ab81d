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
	n       uint8 // batches in use
	batches [keptBatches]batchRange
	lastMs  int64 // when its last entry was appended, ms since 1970, by the leader's clock
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
	admit           sequenceVerdict = iota
	admitDuplicate                  // already written: answer with the first offset again
	refuseStale                     // an older epoch: another producer took over
	refuseGap                       // sequences are missing before this batch
	refuseForgotten                 // older than what is remembered: certainly written, offset unknown
)

func nextSequence(s int32) int32 { return record.AddSequence(s, 1) }

// check decides whether s may follow what p remembers.
func (p *producer) check(s sequenced) (sequenceVerdict, int64) {
	switch {
	case s.epoch < p.epoch:
		return refuseStale, -1
	case s.epoch > p.epoch:
		if s.first != 0 {
			return refuseGap, -1
		}
		return admit, -1
	case p.n == 0:
		return admit, -1
	}
	for _, b := range p.batches[:p.n] {
		if b.first == s.first && b.last == s.last {
			return admitDuplicate, b.baseOffset
		}
	}
	expect := nextSequence(p.batches[p.n-1].last)
	if s.first == expect {
		return admit, -1
	}
	if behind := uint32(expect-s.first) & maxSequence; behind <= maxSequence/2 {
		return refuseForgotten, -1
	}
	return refuseGap, -1
}

// append records that s was written at baseOffset.
func (p *producer) append(s sequenced, baseOffset, nowMs int64) {
	if s.epoch != p.epoch {
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

// expected is the sequence that comes next in the producer's epoch.
func (p *producer) expected() int32 {
	if p.n == 0 {
		return 0
	}
	return nextSequence(p.batches[p.n-1].last)
}
