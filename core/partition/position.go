package partition

import (
	"encoding/binary"
	"fmt"

	"github.com/wasmill/wasmill/core/record"
)

// positionFixed is the size of an encoded position without its origin.
const positionFixed = 1 + 2 + 8

// PositionKind says how the positions of an origin are ordered.
type PositionKind uint8

const (
	// PositionOffset positions only grow: source offsets of a derivation.
	PositionOffset PositionKind = 1
	// PositionSequence positions are producer sequences: modulo 2^31, below an epoch.
	PositionSequence PositionKind = 2
)

// Position says how far an origin's records have been written to this partition. It is stored in the
// same entry as the records, so that either both survive a crash or neither; an append whose positions
// are all reached already is a repetition and writes nothing.
type Position struct {
	Origin string // for example "derivation/7/3": stable, unique per source
	Kind   PositionKind
	Epoch  int16 // PositionSequence: the producer's epoch
	Next   int64 // what comes next from the origin; all before it is here
}

// OffsetPosition is the position of an origin whose records before the offset next are written.
func OffsetPosition(origin string, next int64) Position {
	return Position{Origin: origin, Kind: PositionOffset, Next: next}
}

// SequencePosition is the position of an idempotent producer whose records up to the end of last are
// written.
func SequencePosition(origin string, last record.Batch) Position {
	return Position{
		Origin: origin, Kind: PositionSequence, Epoch: last.ProducerEpoch(), Next: int64(last.LastSequence()) + 1,
	}
}

// reached reports whether saved, the origin's last position, already covers p.
func (p Position) reached(saved Position) bool {
	if p.Kind != PositionSequence {
		return p.Next <= saved.Next
	}
	if p.Epoch != saved.Epoch {
		return p.Epoch < saved.Epoch
	}
	ahead := uint32(p.Next-saved.Next) & maxSequence
	return ahead == 0 || ahead > maxSequence/2
}

// An encoded position: u8 kind, i16 LE epoch, i64 LE number, the origin's name. The number is the next
// offset, but of sequences the last one that was written.

func appendPosition(b []byte, p Position) []byte {
	number := p.Next
	if p.Kind == PositionSequence {
		number--
	}
	b = append(b, byte(p.Kind))
	b = binary.LittleEndian.AppendUint16(b, uint16(p.Epoch))
	b = binary.LittleEndian.AppendUint64(b, uint64(number))
	return append(b, p.Origin...)
}

func decodePosition(b []byte) (Position, error) {
	if len(b) < positionFixed {
		return Position{}, fmt.Errorf("%w: position of %d bytes", ErrEntry, len(b))
	}
	p := Position{
		Kind:   PositionKind(b[0]),
		Epoch:  int16(binary.LittleEndian.Uint16(b[1:])),
		Next:   int64(binary.LittleEndian.Uint64(b[3:])),
		Origin: string(b[positionFixed:]),
	}
	if p.Kind == PositionSequence {
		p.Next++
	}
	return p, nil
}
