package record

import (
	"slices"
	"sync"
)

const (
	// What a decoder keeps between batches: a rare large batch must not occupy memory for good.
	maxKeptScratch = 4 << 20 // bytes
	maxKeptHeaders = 1 << 16 // headers of 48 bytes
)

// decoders serve those that validate without a Decoder of their own.
var decoders = sync.Pool{New: func() any { return new(Decoder) }}

// Decoder reads the records of batches, one batch at a time, and owns the memory for decompressing
// them. The zero Decoder works, with DefaultLimits. Not for concurrent use.
//
// It does not look at the checksum: CheckHeader or Validate come first for bytes from outside.
// Bytes that were never checked cannot make it panic or allocate beyond its limits either.
type Decoder struct {
	limits  Limits
	scratch []byte
	headers []RecordHeader
	records []byte // the encoded records of the batch decoded last, uncompressed
	ends    []int  // where each of them ends in records
}

// NewDecoder returns a decoder that refuses batches over the limits.
func NewDecoder(l Limits) *Decoder { return &Decoder{limits: l.withDefaults()} }

// release returns a pooled decoder.
func (d *Decoder) release() {
	if cap(d.scratch) <= maxKeptScratch {
		decoders.Put(d)
	}
}

// Decode appends the records of b to dst, growing it when its capacity does not suffice. Keys,
// values and headers alias b or the decoder and are valid until the decoder's next call. On error
// dst comes back as it was.
func (d *Decoder) Decode(b Batch, dst []Record) ([]Record, error) { return d.decode(b, dst, false) }

// decodeProduced is ValidateProduced and Decode in one walk over the records.
func (d *Decoder) decodeProduced(b Batch, dst []Record, l Limits) ([]Record, error) {
	d.limits = l.withDefaults()
	if err := b.checkHeader(&d.limits); err != nil {
		return dst, err
	}
	if err := b.checkProducedHeader(); err != nil {
		return dst, err
	}
	return d.decode(b, dst, true)
}

// decode is Decode; produced demands that offset deltas equal the records' places.
func (d *Decoder) decode(b Batch, dst []Record, produced bool) ([]Record, error) {
	c, err := d.cursor(b)
	if err != nil {
		return dst, err
	}
	if cap(d.headers) > maxKeptHeaders {
		d.headers = nil
	}
	headers := d.headers[:0]
	d.ends = slices.Grow(d.ends[:0], c.count)
	out := slices.Grow(dst, c.count)
	for c.next() {
		if produced && !c.checkDelta(int64(c.index), int64(c.index)) {
			break
		}
		r := Record{
			OffsetDelta: c.offsetDelta, Attributes: c.attributes, Timestamp: c.timestamp(),
			Key: c.key, Value: c.value,
		}
		if c.headerCount > 0 {
			from := len(headers)
			if !c.checkHeaderCount(from+int(c.headerCount), d.limits.MaxBatchHeaders) {
				break
			}
			if headers, err = c.appendHeaders(headers); err != nil {
				break
			}
			r.Headers = headers[from:len(headers):len(headers)]
		}
		out = append(out, r)
		d.ends = append(d.ends, c.end)
	}
	d.headers, d.records = headers, c.section
	if c.err != nil {
		return dst, c.err
	}
	return out, nil
}

// cursor starts a walk over the records of b, decompressing them if need be. The cursor is valid
// until the decoder's next call.
func (d *Decoder) cursor(b Batch) (cursor, error) {
	if d.limits.MaxRecords == 0 {
		d.limits = DefaultLimits()
	}
	if err := b.checkShape(); err != nil {
		return cursor{}, err
	}
	section, err := d.section(b)
	if err != nil {
		return cursor{}, err
	}
	return newCursor(b, section, &d.limits)
}

// section is the uncompressed bytes of b's records.
func (d *Decoder) section(b Batch) ([]byte, error) {
	payload := b.Payload()
	if b.Codec() == CodecNone || len(payload) == 0 {
		return payload, nil
	}
	if cap(d.scratch) > maxKeptScratch {
		d.scratch = nil
	}
	out, err := decompress(d.scratch[:0], b.Codec(), payload, d.limits.MaxDecompressedBytes)
	if cap(out) > cap(d.scratch) {
		d.scratch = out
	}
	if err != nil {
		return nil, batchError(b, err, "codec %s, %d bytes", b.Codec(), len(payload))
	}
	return out, nil
}
