package record

import "encoding/binary"

// A position below zero means that a read failed. Every further read returns it, so that a
// record's fields can be read in a row and checked once.
const failed = -1

// readVarint reads a zigzag varint of up to 64 bits at b[i:] and returns the position after it.
// The one-byte case, nearly all there are, is small enough to be inlined.
func readVarint(b []byte, i int) (int64, int) {
	if uint(i) < uint(len(b)) && b[i] < 0x80 {
		return int64(b[i]>>1) ^ -int64(b[i]&1), i + 1
	}
	return readLongVarint(b, i)
}

func readLongVarint(b []byte, i int) (int64, int) {
	if uint(i) >= uint(len(b)) {
		return 0, failed
	}
	u, n := binary.Uvarint(b[i:])
	if n <= 0 {
		return 0, failed
	}
	return int64(u>>1) ^ -int64(u&1), i + n
}

// readVarint32 is readVarint for values that must fit an int32. Five bytes hold every one of them;
// longer encodings are refused because other readers of the format refuse them.
func readVarint32(b []byte, i int) (int32, int) {
	if uint(i) < uint(len(b)) && b[i] < 0x80 {
		return int32(b[i]>>1) ^ -int32(b[i]&1), i + 1
	}
	v, end := readLongVarint(b, i)
	if v != int64(int32(v)) || end-i > 5 {
		return 0, failed
	}
	return int32(v), end
}

// appendVarint appends v as a zigzag varint.
func appendVarint(dst []byte, v int64) []byte {
	return binary.AppendUvarint(dst, uint64(v)<<1^uint64(v>>63))
}

// varintSize is the number of bytes that appendVarint takes for v.
func varintSize(v int64) int {
	u := uint64(v)<<1 ^ uint64(v>>63)
	n := 1
	for ; u >= 0x80; u >>= 7 {
		n++
	}
	return n
}

// readBytes reads a length-prefixed field at b[i:]; null, allowed here, gives nil. The result
// aliases b.
func readBytes(b []byte, i int) ([]byte, int) {
	n, i := readVarint32(b, i)
	if n < 0 {
		if n == -1 {
			return nil, i
		}
		return nil, failed
	}
	if i < 0 || int(n) > len(b)-i {
		return nil, failed
	}
	end := i + int(n)
	return b[i:end:end], end
}
