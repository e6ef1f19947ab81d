package record

import (
	"encoding/binary"
	"iter"
)

// Split cuts the first batch off buf by its length field alone: nothing but the length is checked.
// Both results alias buf; the batch's capacity ends with it. Errors: ErrTooShort if buf ends before
// the batch (also when it is empty), ErrLength if the length field cannot be.
func Split(buf []byte) (first Batch, rest []byte, err error) {
	if len(buf) < prefixSize {
		return nil, nil, batchError(Batch(buf), ErrTooShort, "%d bytes left, need %d", len(buf), HeaderSize)
	}
	length := int32(binary.BigEndian.Uint32(buf[offLength : offLength+4]))
	if length < minLength {
		return nil, nil, batchError(Batch(buf), ErrLength, "%d, the least is %d", length, minLength)
	}
	size := prefixSize + int64(length)
	if size > int64(len(buf)) {
		return nil, nil, batchError(Batch(buf), ErrTooShort, "%d bytes left, need %d", len(buf), size)
	}
	return Batch(buf[:size:size]), buf[size:], nil
}

// All walks the batches that stand back to back in buf, as Split does. It ends after the first error.
func All(buf []byte) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		for len(buf) > 0 {
			b, rest, err := Split(buf)
			if !yield(b, err) || err != nil {
				return
			}
			buf = rest
		}
	}
}
