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
//	  tag 1 position: u8 kind, i16 LE epoch, i64 LE next offset or last sequence, then the origin's name
//	  tag 2 trim: i64 LE log start offset
//
// A plain produce has no extensions at all.
const (
	extVersion  = 1
	extPosition = 1
	extTrim     = 2
)

// entryMeta is the decoded form of an entry's extensions.
type entryMeta struct {
	positions []Position
	trimTo    int64 // log start offset, -1 for none
}

func (m entryMeta) encode() []byte {
	if len(m.positions) == 0 && m.trimTo < 0 {
		return nil
	}
	b := []byte{extVersion}
	for _, p := range m.positions {
		b = append(b, extPosition)
		b = binary.LittleEndian.AppendUint16(b, uint16(positionFixed+len(p.Origin)))
		b = appendPosition(b, p)
	}
	if m.trimTo >= 0 {
		b = append(b, extTrim)
		b = binary.LittleEndian.AppendUint16(b, 8)
		b = binary.LittleEndian.AppendUint64(b, uint64(m.trimTo))
	}
	return b
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
		case extPosition:
			p, err := decodePosition(field)
			if err != nil {
				return m, err
			}
			m.positions = append(m.positions, p)
		case extTrim:
			if n != 8 {
				return m, fmt.Errorf("%w: trim of %d bytes", ErrEntry, n)
			}
			if m.trimTo = int64(binary.LittleEndian.Uint64(field)); m.trimTo < 0 {
				return m, fmt.Errorf("%w: trim to offset %d", ErrEntry, m.trimTo)
			}
		default:
			return m, fmt.Errorf("%w: unknown field %d", ErrEntry, tag)
		}
	}
	return m, nil
}
