package partition

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wasmill/wasmill/core/record"
)

// ErrState is returned for a partition snapshot that this version cannot read.
var ErrState = errors.New("malformed partition snapshot")

// producerExpiry is how long a silent producer is remembered, measured between entries and therefore
// the same on every replica (Kafka: producer.id.expiration.ms).
const producerExpiry = 24 * time.Hour

// maxProducers bounds the memory of a partition against clients that take a new producer id for
// every request; the producers that have been silent for longest are forgotten first.
const maxProducers = 100_000

// maxSequencePositions bounds the positions of idempotent producers' routed records in the same way.
// Derivations' positions are as many as there are derivations, and are never forgotten.
const maxSequencePositions = 100_000

// savedPosition is an origin's last position and when it was written.
type savedPosition struct {
	Position
	lastMs int64
}

// state is what the entries of a partition add up to, apart from the records themselves. It depends on
// the entries alone, without clock or I/O; but a snapshot leaves out what has expired, so a replica
// that was restored from one may know fewer silent producers than its leader.
type state struct {
	next      int64 // offset after the last applied record: the high watermark
	logStart  int64 // offsets below it are deleted
	lastMs    int64 // newest entry's append time
	producers map[int64]*producer
	positions map[string]savedPosition
	sequences int // how many of the positions are a PositionSequence
}

func newState() *state {
	return &state{producers: map[int64]*producer{}, positions: map[string]savedPosition{}}
}

// apply adds one entry. data is the entry's record batches with their offsets assigned.
func (s *state) apply(data, ext []byte, appendedAt time.Time) error {
	if ms := appendedAt.UnixMilli(); ms > s.lastMs {
		s.lastMs = ms
	}
	meta, err := decodeEntryMeta(ext)
	if err != nil {
		return err
	}
	for len(data) > 0 {
		b, rest, err := record.Split(data)
		if err != nil {
			return fmt.Errorf("entry after offset %d: %w", s.next, err)
		}
		if b.ProducerID() >= 0 {
			s.applyProducer(b)
		}
		s.next = b.NextOffset()
		data = rest
	}
	for _, p := range meta.positions {
		s.setPosition(savedPosition{Position: p, lastMs: s.lastMs})
		if s.sequences > maxSequencePositions {
			s.forgetOldestPositions()
		}
	}
	if meta.trimTo > s.logStart {
		s.logStart = min(meta.trimTo, s.next)
	}
	return nil
}

func (s *state) applyProducer(b record.Batch) {
	q := sequenceOf(b)
	p := s.producers[q.id]
	if p == nil {
		p = &producer{epoch: q.epoch}
		s.producers[q.id] = p
	}
	p.append(q, b.BaseOffset(), s.lastMs)
	if len(s.producers) > maxProducers {
		s.forgetOldest()
	}
}

// forgetOldest drops the longest silent tenth, by time and then by id so that replicas agree.
func (s *state) forgetOldest() {
	ids := slices.SortedFunc(maps.Keys(s.producers), func(a, b int64) int {
		return cmp.Or(cmp.Compare(s.producers[a].lastMs, s.producers[b].lastMs), cmp.Compare(a, b))
	})
	for _, id := range ids[:len(ids)/10] {
		delete(s.producers, id)
	}
}

func (s *state) setPosition(p savedPosition) {
	if old, ok := s.positions[p.Origin]; ok && old.Kind == PositionSequence {
		s.sequences--
	}
	if p.Kind == PositionSequence {
		s.sequences++
	}
	s.positions[p.Origin] = p
}

// forgetOldestPositions does with sequence positions what forgetOldest does with producers.
func (s *state) forgetOldestPositions() {
	origins := make([]string, 0, s.sequences)
	for origin, p := range s.positions {
		if p.Kind == PositionSequence {
			origins = append(origins, origin)
		}
	}
	slices.SortFunc(origins, func(a, b string) int {
		return cmp.Or(cmp.Compare(s.positions[a].lastMs, s.positions[b].lastMs), cmp.Compare(a, b))
	})
	for _, origin := range origins[:len(origins)/10] {
		delete(s.positions, origin)
		s.sequences--
	}
}

func sequenceOf(b record.Batch) sequenced {
	return sequenced{id: b.ProducerID(), epoch: b.ProducerEpoch(), first: b.BaseSequence(), last: b.LastSequence()}
}

// The snapshot of a partition, little-endian; integrity is the snapshot store's duty:
//
//	u32 magic "WMPS", u16 version (1), i64 next, i64 logStart, i64 lastMs,
//	u32 producers, each: i64 id, i16 epoch, i64 lastMs, u8 n, n * (i32 first, i32 last, i64 offset)
//	u32 positions, each: i64 lastMs, u16 length, position as in an entry
const (
	stateMagic   = 0x53504d57
	stateVersion = 1
)

// encode writes the state in canonical order, without what has expired.
func (s *state) encode() []byte {
	oldest := s.lastMs - producerExpiry.Milliseconds()
	le := binary.LittleEndian
	b := le.AppendUint32(nil, stateMagic)
	b = le.AppendUint16(b, stateVersion)
	for _, v := range []int64{s.next, s.logStart, s.lastMs} {
		b = le.AppendUint64(b, uint64(v))
	}
	ids := slices.Sorted(maps.Keys(s.producers))
	ids = slices.DeleteFunc(ids, func(id int64) bool { return s.producers[id].lastMs < oldest })
	b = le.AppendUint32(b, uint32(len(ids)))
	for _, id := range ids {
		b = appendProducer(b, id, s.producers[id])
	}
	origins := slices.Sorted(maps.Keys(s.positions))
	origins = slices.DeleteFunc(origins, func(o string) bool {
		return s.positions[o].Kind == PositionSequence && s.positions[o].lastMs < oldest
	})
	b = le.AppendUint32(b, uint32(len(origins)))
	for _, o := range origins {
		p := s.positions[o]
		b = le.AppendUint64(b, uint64(p.lastMs))
		b = le.AppendUint16(b, uint16(positionFixed+len(o)))
		b = appendPosition(b, p.Position)
	}
	return b
}

func appendProducer(b []byte, id int64, p *producer) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, uint64(id))
	b = le.AppendUint16(b, uint16(p.epoch))
	b = le.AppendUint64(b, uint64(p.lastMs))
	b = append(b, p.n)
	for _, r := range p.batches[:p.n] {
		b = le.AppendUint32(b, uint32(r.first))
		b = le.AppendUint32(b, uint32(r.last))
		b = le.AppendUint64(b, uint64(r.baseOffset))
	}
	return b
}

// stateReader reads little-endian fields and remembers the first shortage.
type stateReader struct {
	b   []byte
	bad bool
}

func (r *stateReader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return make([]byte, min(n, 8))
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *stateReader) u16() uint16 { return binary.LittleEndian.Uint16(r.take(2)) }
func (r *stateReader) u32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *stateReader) i64() int64  { return int64(binary.LittleEndian.Uint64(r.take(8))) }

func decodeState(b []byte) (*state, error) {
	r := &stateReader{b: b}
	if magic := r.u32(); magic != stateMagic {
		return nil, fmt.Errorf("%w: magic %#x", ErrState, magic)
	}
	if v := r.u16(); v != stateVersion {
		return nil, fmt.Errorf("%w: version %d, this broker knows %d", ErrState, v, stateVersion)
	}
	s := newState()
	s.next, s.logStart, s.lastMs = r.i64(), r.i64(), r.i64()
	for n := r.u32(); n > 0 && !r.bad; n-- {
		id, p := r.i64(), &producer{epoch: int16(r.u16()), lastMs: r.i64()}
		p.n = r.take(1)[0]
		if p.n > keptBatches {
			return nil, fmt.Errorf("%w: producer %d with %d batches", ErrState, id, p.n)
		}
		for i := range p.n {
			p.batches[i] = batchRange{first: int32(r.u32()), last: int32(r.u32()), baseOffset: r.i64()}
		}
		s.producers[id] = p
	}
	for n := r.u32(); n > 0 && !r.bad; n-- {
		ms, size := r.i64(), int(r.u16())
		field := r.take(size)
		if r.bad {
			break
		}
		p, err := decodePosition(field)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrState, err)
		}
		s.setPosition(savedPosition{Position: p, lastMs: ms})
	}
	if r.bad || len(r.b) != 0 {
		return nil, fmt.Errorf("%w: wrong length", ErrState)
	}
	return s, nil
}
