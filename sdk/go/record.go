package wasmill

import "iter"

// Record is one record of a batch, with the changes that the handler has made to it so far.
// It is valid until the handler returns; the slices it hands out point into the batch and
// must not be written to.
type Record struct {
	batch *Batch
	d     *descriptor
	index int

	changed   Fields
	key       []byte
	value     []byte
	headers   []Header // holds the record's headers once FieldHeaders is in changed
	timestamp int64
}

func (r *Record) point(index int, d *descriptor) {
	r.index, r.d, r.changed = index, d, 0
}

// Index is the record's place in the batch, counted from zero.
func (r *Record) Index() int { return r.index }

// Offset is the record's offset in its topic, or -1 where it has none yet: on write.
func (r *Record) Offset() int64 { return r.d.offset }

// Key is the record's key, nil when it is null.
func (r *Record) Key() []byte {
	if r.changed&FieldKey != 0 {
		return r.key
	}
	return r.batch.bytes(r.d.keyOff, r.d.keyLen)
}

// Value is the record's value, nil when it is null.
func (r *Record) Value() []byte {
	if r.changed&FieldValue != 0 {
		return r.value
	}
	return r.batch.bytes(r.d.valueOff, r.d.valueLen)
}

// Timestamp is the record's time in milliseconds since 1970; time.UnixMilli takes it.
func (r *Record) Timestamp() int64 {
	if r.changed&FieldTimestamp != 0 {
		return r.timestamp
	}
	return r.d.timestamp
}

// Headers yields the record's headers in order.
func (r *Record) Headers() iter.Seq[Header] {
	return func(yield func(Header) bool) {
		if r.changed&FieldHeaders != 0 {
			for _, h := range r.headers {
				if !yield(h) {
					return
				}
			}
			return
		}
		rest := r.batch.bytes(r.d.headersOff, r.d.headersLen)
		for range r.headerCount() {
			var h Header
			h, rest = cutHeader(rest)
			if !yield(h) {
				return
			}
		}
	}
}

// headerCount guards against a descriptor without header bytes: a mask without headers.
func (r *Record) headerCount() uint32 {
	if r.d.headersLen == nullLength {
		return 0
	}
	return r.d.headersCount
}

// Header is the value of the last header named key, which is the one that counts by
// convention when there are several.
func (r *Record) Header(key string) (value []byte, ok bool) {
	for h := range r.Headers() {
		if h.Key == key {
			value, ok = h.Value, true
		}
	}
	return value, ok
}

// SetKey gives the record another key; nil makes it null. The slice must stay unchanged
// until the record is kept or routed. Where the key decides the partition, on write, the
// record keeps the partition that it was sent to.
func (r *Record) SetKey(key []byte) { r.key, r.changed = key, r.changed|FieldKey }

// SetValue gives the record another value; nil makes it null. The slice must stay unchanged
// until the record is kept or routed, and may be reused after that.
func (r *Record) SetValue(value []byte) { r.value, r.changed = value, r.changed|FieldValue }

// SetTimestamp gives the record another time, in milliseconds since 1970.
func (r *Record) SetTimestamp(ms int64) { r.timestamp, r.changed = ms, r.changed|FieldTimestamp }

// SetHeader replaces the headers named key by one with the given value, or adds it.
// FieldHeaders must be among the transform's fields, or the other headers would be lost.
func (r *Record) SetHeader(key string, value []byte) {
	r.DeleteHeader(key)
	r.headers = append(r.headers, Header{Key: key, Value: value})
}

// DeleteHeader removes the headers named key.
func (r *Record) DeleteHeader(key string) {
	if r.changed&FieldHeaders == 0 {
		if r.batch.Fields()&FieldHeaders == 0 {
			panic("wasmill: headers changed without FieldHeaders in Transform.Fields")
		}
		kept := r.headers[:0]
		for h := range r.Headers() {
			kept = append(kept, h)
		}
		r.headers, r.changed = kept, r.changed|FieldHeaders
	}
	kept := r.headers[:0]
	for _, h := range r.headers {
		if h.Key != key {
			kept = append(kept, h)
		}
	}
	r.headers = kept
}

// cutHeader reads the first header of b: u32 key length, u32 value length, key, value.
func cutHeader(b []byte) (Header, []byte) {
	keyLen, valueLen := le32(b), le32(b[4:])
	b = b[8:]
	h := Header{Key: text(b[:keyLen])}
	b = b[keyLen:]
	if valueLen == nullLength {
		return h, b
	}
	h.Value = b[:valueLen:valueLen]
	return h, b[valueLen:]
}

// appendHeaders writes headers as the ABI has them.
func appendHeaders(dst []byte, headers []Header) []byte {
	for _, h := range headers {
		dst = put32(dst, uint32(len(h.Key)))
		if h.Value == nil {
			dst = put32(dst, nullLength)
		} else {
			dst = put32(dst, uint32(len(h.Value)))
		}
		dst = append(dst, h.Key...)
		dst = append(dst, h.Value...)
	}
	return dst
}

func headersSize(headers []Header) int {
	n := 0
	for _, h := range headers {
		n += 8 + len(h.Key) + len(h.Value)
	}
	return n
}

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

func put32(dst []byte, v uint32) []byte {
	return append(dst, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}
