package abi

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/wasmill/wasmill/core/record"
)

// Input is one batch for one call.
type Input struct {
	Topic         string
	Partition     int32
	Place         Place
	BaseTimestamp int64           // ms
	BaseOffset    int64           // offset of OffsetDelta 0; -1: not known yet
	Records       []record.Record // read only; an OffsetDelta of -1 has no offset
}

// Size is how many bytes Encode writes.
func (in *Input) Size(mask Mask) (int, error) {
	n := int64(inputHeaderSize) + int64(len(in.Records))*descriptorSize + int64(len(in.Topic))
	for i := range in.Records {
		n += int64(RecordSize(&in.Records[i], mask))
	}
	if n > math.MaxInt32 {
		return 0, fmt.Errorf("encode %d records of %s/%d: %d bytes: %w", len(in.Records), in.Topic, in.Partition, n, ErrInputTooLarge)
	}
	return int(n), nil
}

// RecordSize is how many bytes r adds to an input besides its descriptor.
func RecordSize(r *record.Record, mask Mask) int {
	n := 0
	if mask&FieldKey != 0 {
		n += len(r.Key)
	}
	if mask&FieldValue != 0 {
		n += len(r.Value)
	}
	if mask&FieldHeaders != 0 {
		n += headersSize(r.Headers)
	}
	return n
}

// DescriptorSize is what each record of an input costs besides RecordSize, in bytes.
const DescriptorSize = descriptorSize

func headersSize(headers []record.RecordHeader) int {
	n := 8 * len(headers)
	for i := range headers {
		n += len(headers[i].Key) + len(headers[i].Value)
	}
	return n
}

// Encode writes the batch to the start of dst, which is usually the module's own memory, and returns the
// bytes written. dst must hold at least Size bytes. It allocates nothing.
func (in *Input) Encode(dst []byte, mask Mask) int {
	le := binary.LittleEndian
	at := inputHeaderSize + len(in.Records)*descriptorSize // where the next bytes go
	header := dst[:inputHeaderSize]
	le.PutUint32(header[0:], inputHeaderSize)
	le.PutUint32(header[4:], descriptorSize)
	le.PutUint32(header[8:], uint32(len(in.Records)))
	le.PutUint32(header[12:], uint32(mask))
	le.PutUint32(header[16:], uint32(in.Partition))
	le.PutUint32(header[20:], uint32(in.Place))
	le.PutUint64(header[24:], uint64(in.BaseTimestamp))
	le.PutUint32(header[32:], uint32(at))
	le.PutUint32(header[36:], uint32(len(in.Topic)))
	le.PutUint64(header[40:], 0)
	at += copy(dst[at:], in.Topic)
	for i := range in.Records {
		desc := dst[inputHeaderSize+i*descriptorSize:][:descriptorSize]
		at = encodeRecord(dst, desc, at, &in.Records[i], mask)
		le.PutUint64(desc[40:], uint64(in.offset(&in.Records[i])))
	}
	return at
}

func encodeRecord(dst, desc []byte, at int, r *record.Record, mask Mask) int {
	le := binary.LittleEndian
	var key, value []byte
	if mask&FieldKey != 0 {
		key = r.Key
	}
	if mask&FieldValue != 0 {
		value = r.Value
	}
	at = encodeField(dst, desc[0:], at, key)
	at = encodeField(dst, desc[8:], at, value)
	off, size, count := 0, uint32(null), 0
	if mask&FieldHeaders != 0 {
		count = len(r.Headers)
		if count > 0 {
			off = at
		}
		end := encodeHeaders(dst, at, r.Headers)
		size, at = uint32(end-at), end
	}
	le.PutUint32(desc[16:], uint32(off))
	le.PutUint32(desc[20:], size)
	le.PutUint32(desc[24:], uint32(count))
	le.PutUint32(desc[28:], 0)
	timestamp := int64(0)
	if mask&FieldTimestamp != 0 {
		timestamp = r.Timestamp
	}
	le.PutUint64(desc[32:], uint64(timestamp))
	return at
}

func encodeField(dst, desc []byte, at int, field []byte) int {
	off, size := 0, uint32(null)
	if field != nil {
		size = uint32(len(field))
		if size > 0 {
			off = at
		}
	}
	binary.LittleEndian.PutUint32(desc[0:], uint32(off))
	binary.LittleEndian.PutUint32(desc[4:], size)
	return at + copy(dst[at:], field)
}

func encodeHeaders(dst []byte, at int, headers []record.RecordHeader) int {
	for i := range headers {
		h := &headers[i]
		valueLen := uint32(null)
		if h.Value != nil {
			valueLen = uint32(len(h.Value))
		}
		binary.LittleEndian.PutUint32(dst[at:], uint32(len(h.Key)))
		binary.LittleEndian.PutUint32(dst[at+4:], valueLen)
		at += 8
		at += copy(dst[at:], h.Key)
		at += copy(dst[at:], h.Value)
	}
	return at
}

func (in *Input) offset(r *record.Record) int64 {
	if in.BaseOffset < 0 || r.OffsetDelta < 0 {
		return -1
	}
	return in.BaseOffset + int64(r.OffsetDelta)
}

// Offset is the offset of record i, or -1.
func (in *Input) Offset(i int) int64 {
	if i >= len(in.Records) {
		return -1
	}
	return in.offset(&in.Records[i])
}
