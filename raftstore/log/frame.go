package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/hashicorp/raft"
)

// A frame is one raft entry on disk: header, extensions, data, zeros up to a multiple of frameAlign. Integers
// are little-endian. docs/formats/log.md has the byte table.
const (
	frameMagic      = 0x52464D57 // "WMFR"
	frameHeaderSize = 80
	frameAlign      = 8
	// maxFramePayload is the most bytes that data and extensions of one entry may have together.
	maxFramePayload = 1 << 30
)

// noTimestamp is the max timestamp of an entry without records.
const noTimestamp = math.MinInt64

// noAppendedAt encodes the zero time.Time.
const noAppendedAt = math.MinInt64

var (
	errFrameShort  = errors.New("frame reaches beyond the end")
	errFrameMagic  = errors.New("no frame starts here")
	errFrameHeader = errors.New("frame header checksum differs")
	errFrameData   = errors.New("frame data checksum differs")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frameSeed returns the initial value of a segment's checksums. Frames that an earlier use of a recycled file
// left, under another salt, do not check.
func frameSeed(salt uint64) uint32 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], salt)
	return crc32.Checksum(b[:], castagnoli)
}

type frameHeader struct {
	kind            raft.LogType
	dataLen, extLen uint32
	index, term     uint64
	baseOffset      int64  // before the entry
	nextOffset      int64  // after it
	maxTimestamp    int64  // ms since 1970, or noTimestamp
	appendedAt      int64  // ns since 1970, or noAppendedAt
	durable         uint32 // bytes of the segment that were durable before this frame was written
	generation      uint32 // of the segment's newest cut at that time
	payloadCRC      uint32
}

// frameSize returns the size of a frame with n bytes of data and extensions.
func frameSize(n int64) int64 {
	return (frameHeaderSize + n + frameAlign - 1) &^ (frameAlign - 1)
}

func (h *frameHeader) payloadLen() int64 { return int64(h.dataLen) + int64(h.extLen) }

func (h *frameHeader) size() int64 { return frameSize(h.payloadLen()) }

// append appends the encoded header, with its checksum, to dst.
func (h *frameHeader) append(dst []byte, seed uint32) []byte {
	le := binary.LittleEndian
	start := len(dst)
	dst = le.AppendUint32(dst, frameMagic)
	dst = append(dst, byte(h.kind), 0, 0, 0)
	dst = le.AppendUint32(dst, h.dataLen)
	dst = le.AppendUint32(dst, h.extLen)
	dst = le.AppendUint64(dst, h.index)
	dst = le.AppendUint64(dst, h.term)
	dst = le.AppendUint64(dst, uint64(h.baseOffset))
	dst = le.AppendUint64(dst, uint64(h.nextOffset))
	dst = le.AppendUint64(dst, uint64(h.maxTimestamp))
	dst = le.AppendUint64(dst, uint64(h.appendedAt))
	dst = le.AppendUint32(dst, h.durable)
	dst = le.AppendUint32(dst, h.generation)
	dst = le.AppendUint32(dst, h.payloadCRC)
	return le.AppendUint32(dst, crc32.Update(seed, castagnoli, dst[start:]))
}

// decode decodes the header at the start of b and verifies its checksum under the segment's seed.
func (h *frameHeader) decode(b []byte, seed uint32) error {
	if len(b) < frameHeaderSize {
		return errFrameShort
	}
	le := binary.LittleEndian
	if le.Uint32(b) != frameMagic {
		return errFrameMagic
	}
	if crc32.Update(seed, castagnoli, b[:frameHeaderSize-4]) != le.Uint32(b[frameHeaderSize-4:]) {
		return errFrameHeader
	}
	*h = frameHeader{
		kind:    raft.LogType(b[4]),
		dataLen: le.Uint32(b[8:]), extLen: le.Uint32(b[12:]),
		index: le.Uint64(b[16:]), term: le.Uint64(b[24:]),
		baseOffset: int64(le.Uint64(b[32:])), nextOffset: int64(le.Uint64(b[40:])),
		maxTimestamp: int64(le.Uint64(b[48:])), appendedAt: int64(le.Uint64(b[56:])),
		durable: le.Uint32(b[64:]), generation: le.Uint32(b[68:]), payloadCRC: le.Uint32(b[72:]),
	}
	if h.payloadLen() > maxFramePayload {
		return fmt.Errorf("%w: %d bytes", errFrameHeader, h.payloadLen())
	}
	return nil
}

// payloadSum returns the checksum of an entry's extensions and data.
func payloadSum(seed uint32, ext, data []byte) uint32 {
	return crc32.Update(crc32.Update(seed, castagnoli, ext), castagnoli, data)
}

func appendedAtNanos(t time.Time) int64 {
	if t.IsZero() {
		return noAppendedAt
	}
	return t.UnixNano()
}

func appendedAtTime(ns int64) time.Time {
	if ns == noAppendedAt {
		return time.Time{}
	}
	return time.Unix(0, ns)
}
