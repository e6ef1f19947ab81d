// Package record reads, checks and writes Kafka's RecordBatch v2, the only format in which records
// travel and rest in Wasmill: on the socket, in the Raft log, on disk and in the HTTP API.
//
// A Batch is a byte slice read in place. Split and All cut a buffer into batches by their length
// fields alone; CheckHeader, Validate and ValidateProduced decide whether a batch that came from
// outside may be used. Decoder turns the records of a batch into Records; Unpacker and Unpacked do so
// within a Budget of memory. Builder writes batches. Base offset and leader epoch are outside the
// checksum, so a leader patches them in place.
//
// Nothing here panics on bad bytes once Split (or CheckHeader) has accepted the batch's length, and
// nothing allocates beyond the Limits in force. The byte table is docs/formats/record-batch.md.
package record

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

const (
	// HeaderSize is the size in bytes of a batch header, before its records.
	HeaderSize = 61
	// Magic is the format version that this package reads and writes.
	Magic = 2
	// NoTimestamp is MaxTimestamp of a batch without records.
	NoTimestamp = -1
	// NoProducerID, NoProducerEpoch and NoSequence are the fields of batches whose producer is not
	// idempotent.
	NoProducerID    = -1
	NoProducerEpoch = -1
	NoSequence      = -1

	// prefixSize covers the fields that the length field does not count: base offset and length.
	prefixSize = 12
	// minLength is the smallest value of the length field: a header without records.
	minLength = HeaderSize - prefixSize

	offBaseOffset      = 0
	offLength          = 8
	offLeaderEpoch     = 12
	offMagic           = 16
	offCRC             = 17
	offAttributes      = 21 // the checksum covers everything from here
	offLastOffsetDelta = 23
	offBaseTimestamp   = 27
	offMaxTimestamp    = 35
	offProducerID      = 43
	offProducerEpoch   = 51
	offBaseSequence    = 53
	offCount           = 57
)

// Attributes are the flags of a batch.
type Attributes uint16

const (
	attrCodecMask Attributes = 0x07
	// AttrLogAppendTime says that every record has the batch's MaxTimestamp.
	AttrLogAppendTime Attributes = 1 << 3
	// AttrTransactional marks a batch that belongs to a transaction.
	AttrTransactional Attributes = 1 << 4
	// AttrControl marks a batch of transaction markers, which producers never send.
	AttrControl Attributes = 1 << 5
	// AttrDeleteHorizon says that BaseTimestamp is the time from which tombstones may be removed.
	AttrDeleteHorizon Attributes = 1 << 6
)

// Codec is the compression that the attributes name.
func (a Attributes) Codec() Codec { return Codec(a & attrCodecMask) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is exactly one record batch. Its accessors read the bytes in place, allocate nothing and
// need at least HeaderSize bytes, which Split and CheckHeader make sure of. A Batch may be read
// concurrently; SetBaseOffset and SetLeaderEpoch write.
type Batch []byte

// BaseOffset is the offset from which the records' offset deltas count.
func (b Batch) BaseOffset() int64 {
	return int64(binary.BigEndian.Uint64(b[offBaseOffset : offBaseOffset+8]))
}

// Length is the value of the length field: the bytes after it, Size minus 12 in a sound batch.
func (b Batch) Length() int32 { return int32(binary.BigEndian.Uint32(b[offLength : offLength+4])) }

// Size is the number of bytes of the whole batch.
func (b Batch) Size() int { return len(b) }

// LeaderEpoch is the epoch of the leader that appended the batch; -1 as producers send it.
func (b Batch) LeaderEpoch() int32 {
	return int32(binary.BigEndian.Uint32(b[offLeaderEpoch : offLeaderEpoch+4]))
}

// Magic is the format version, 2 in every batch that CheckHeader accepts.
func (b Batch) Magic() int8 { return int8(b[offMagic]) }

// CRC is the checksum as written: CRC-32C of everything from the attributes on.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[offCRC : offCRC+4]) }

// Attributes are the batch's flags.
func (b Batch) Attributes() Attributes {
	return Attributes(binary.BigEndian.Uint16(b[offAttributes : offAttributes+2]))
}

// Codec is the compression of the records.
func (b Batch) Codec() Codec { return Codec(b[offAttributes+1] & byte(attrCodecMask)) }

// IsControl says whether the batch holds transaction markers instead of records.
func (b Batch) IsControl() bool { return b.Attributes()&AttrControl != 0 }

// IsTransactional says whether the batch belongs to a transaction.
func (b Batch) IsTransactional() bool { return b.Attributes()&AttrTransactional != 0 }

// IsLogAppendTime says whether every record has MaxTimestamp instead of its own timestamp.
func (b Batch) IsLogAppendTime() bool { return b.Attributes()&AttrLogAppendTime != 0 }

// LastOffsetDelta is the last offset that the batch spans, relative to BaseOffset. The record of
// that offset may have been filtered out.
func (b Batch) LastOffsetDelta() int32 {
	return int32(binary.BigEndian.Uint32(b[offLastOffsetDelta : offLastOffsetDelta+4]))
}

// LastOffset is the last offset that the batch spans.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// NextOffset is the offset after the batch.
func (b Batch) NextOffset() int64 { return b.LastOffset() + 1 }

// BaseTimestamp is the time in ms since 1970 from which the records' timestamp deltas count.
func (b Batch) BaseTimestamp() int64 {
	return int64(binary.BigEndian.Uint64(b[offBaseTimestamp : offBaseTimestamp+8]))
}

// MaxTimestamp is the largest record timestamp in ms since 1970, as the producer claims it;
// NoTimestamp in a batch without records.
func (b Batch) MaxTimestamp() int64 {
	return int64(binary.BigEndian.Uint64(b[offMaxTimestamp : offMaxTimestamp+8]))
}

// ProducerID is the idempotent producer's id, NoProducerID if there is none.
func (b Batch) ProducerID() int64 {
	return int64(binary.BigEndian.Uint64(b[offProducerID : offProducerID+8]))
}

// ProducerEpoch is the idempotent producer's epoch.
func (b Batch) ProducerEpoch() int16 {
	return int16(binary.BigEndian.Uint16(b[offProducerEpoch : offProducerEpoch+2]))
}

// BaseSequence is the sequence number of offset delta 0.
func (b Batch) BaseSequence() int32 {
	return int32(binary.BigEndian.Uint32(b[offBaseSequence : offBaseSequence+4]))
}

// LastSequence is the sequence number of LastOffsetDelta, NoSequence without a producer id.
// Sequence numbers wrap from the largest int32 to 0.
func (b Batch) LastSequence() int32 {
	if b.ProducerID() < 0 {
		return NoSequence
	}
	return AddSequence(b.BaseSequence(), b.LastOffsetDelta())
}

// AddSequence adds n >= 0 to a sequence number, wrapping from the largest int32 to 0.
func AddSequence(sequence, n int32) int32 {
	return int32((int64(sequence) + int64(n)) & math.MaxInt32)
}

// Count is the number of records in the batch.
func (b Batch) Count() int32 { return int32(binary.BigEndian.Uint32(b[offCount : offCount+4])) }

// Payload is the records' bytes as they stand in the batch, compressed if Codec says so. It aliases b.
func (b Batch) Payload() []byte { return b[HeaderSize:len(b):len(b)] }

// SetBaseOffset patches the base offset in place; the checksum does not cover it.
func (b Batch) SetBaseOffset(offset int64) {
	binary.BigEndian.PutUint64(b[offBaseOffset:offBaseOffset+8], uint64(offset))
}

// SetLeaderEpoch patches the leader epoch in place; the checksum does not cover it.
func (b Batch) SetLeaderEpoch(epoch int32) {
	binary.BigEndian.PutUint32(b[offLeaderEpoch:offLeaderEpoch+4], uint32(epoch))
}

// checksum computes what CRC should say.
func (b Batch) checksum() uint32 { return crc32.Checksum(b[offAttributes:], castagnoli) }
