package partition

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrEntry is returned for entry extensions that this version cannot read.
var ErrEntry = errors.New("malformed entry extensions")

// A Raft entry of a partition carries record batches in Data and, rarely, Extensions:
//
//	u8 version (1), then any number of fields: u8 tag, u16 LE length, that many bytes
//	  tag 1 mark: u8 kind, i16 LE epoch, i64 LE position, then the origin's name
//	  tag 2 trim: i64 LE log start offset
//
// A plain produce has no extensions at all.
const (
	extVersion = 1
	extMark    = 1
	extTrim    = 2

	markFixed = 1 + 2 + 8
	maxOrigin = 1 << 10
)

// MarkKind says how a mark's positions are ordered.
type MarkKind uint8

const (
	// MarkOffset positions only grow: the next source offset of a derivation.
	MarkOffset MarkKind = 1
	// MarkSequence positions are producer sequences: modulo 2^31, below an epoch.
	MarkSequence MarkKind = 2
)

// Mark says how far an origin's records have been written to this partition. It is stored in the
// same entry as the records, so that either both survive a crash or neither; an append whose marks
// are all known already is a repetition and writes nothing.
type Mark struct {
	Origin   string // for example "derivation/7/3": stable, unique per source
	Kind     MarkKind
	Epoch    int16 // MarkSequence: the producer's epoch
	Position int64
}

// seen tells whether prev, the origin's last mark, already covers m.
func (m Mark) seen(prev Mark) bool {
	if m.Kind != MarkSequence {
		return m.Position <= prev.Position
	}
	if m.Epoch != prev.Epoch {
		return m.Epoch < prev.Epoch
	}
	ahead := uint32(m.Position-prev.Position) & maxSequence
	return ahead == 0 || ahead > maxSequence/2
}

// entryMeta is the decoded form of an entry's extensions.
type entryMeta struct {
	marks  []Mark
	trimTo int64 // log start offset, -1 for none
}

func (m entryMeta) encode() []byte {
	if len(m.marks) == 0 && m.trimTo < 0 {
		return nil
	}
	b := []byte{extVersion}
	for _, k := range m.marks {
		b = append(b, extMark)
		b = binary.LittleEndian.AppendUint16(b, uint16(markFixed+len(k.Origin)))
		b = appendMark(b, k)
	}
	if m.trimTo >= 0 {
		b = append(b, extTrim)
		b = binary.LittleEndian.AppendUint16(b, 8)
		b = binary.LittleEndian.AppendUint64(b, uint64(m.trimTo))
	}
	return b
}

func appendMark(b []byte, k Mark) []byte {
	b = append(b, byte(k.Kind))
	b = binary.LittleEndian.AppendUint16(b, uint16(k.Epoch))
	b = binary.LittleEndian.AppendUint64(b, uint64(k.Position))
	return append(b, k.Origin...)
}

func decodeMark(b []byte) (Mark, error) {
	if len(b) < markFixed {
		return Mark{}, fmt.Errorf("%w: mark of %d bytes", ErrEntry, len(b))
	}
	return Mark{
		Kind:     MarkKind(b[0]),
		Epoch:    int16(binary.LittleEndian.Uint16(b[1:])),
		Position: int64(binary.LittleEndian.Uint64(b[3:])),
		Origin:   string(b[markFixed:]),
	}, nil
}

func decodeEntryMeta(b []byte) (entryMeta, error) {
	m := entryMeta{trimTo: -1}
	if len(b) == 0 {
		return m, nil
	}
	if b[0] != extVersion {
		return m, fmt.Errorf("%w: version %d, this broker knows %d", ErrEntry, b[0], extVersion)
	}
	for b = b[1:]; len(b) > 0; {
		if len(b) < 3 {
			return m, fmt.Errorf("%w: %d stray bytes", ErrEntry, len(b))
		}
		tag, n := b[0], int(binary.LittleEndian.Uint16(b[1:]))
		if b = b[3:]; n > len(b) {
			return m, fmt.Errorf("%w: field %d claims %d bytes of %d", ErrEntry, tag, n, len(b))
		}
		field := b[:n]
		b = b[n:]
		switch tag {
		case extMark:
			k, err := decodeMark(field)
			if err != nil {
				return m, err
			}
			m.marks = append(m.marks, k)
		case extTrim:
			if n != 8 {
				return m, fmt.Errorf("%w: trim of %d bytes", ErrEntry, n)
			}
			m.trimTo = int64(binary.LittleEndian.Uint64(field))
		default:
			return m, fmt.Errorf("%w: unknown field %d", ErrEntry, tag)
		}
	}
	return m, nil
}
