package record

// Record is one record of a batch. Who owns Key, Value and Headers depends on where it comes from: a
// Decoder's records alias the batch or the decoder until its next call.
type Record struct {
	OffsetDelta int32  // offset relative to the batch's base offset
	Attributes  int8   // no bit has a meaning yet; kept as sent
	Timestamp   int64  // ms since 1970
	Key         []byte // nil is null, which differs from empty
	Value       []byte // nil is null
	Headers     []RecordHeader
}

// RecordHeader is one header of a record. The key is never null, the value may be.
type RecordHeader struct {
	Key   []byte
	Value []byte
}

// minRecordSize is the encoded size of a record with null key, null value and no headers, its
// length prefix included.
const minRecordSize = 7

// appendRecord encodes r, its length prefix included.
func appendRecord(dst []byte, r *Record, offsetDelta int32, timestampDelta int64, bodySize int) []byte {
	dst = appendVarint(dst, int64(bodySize))
	dst = append(dst, byte(r.Attributes))
	dst = appendVarint(dst, timestampDelta)
	dst = appendVarint(dst, int64(offsetDelta))
	dst = appendNullable(dst, r.Key)
	dst = appendNullable(dst, r.Value)
	dst = appendVarint(dst, int64(len(r.Headers)))
	for i := range r.Headers {
		dst = appendVarint(dst, int64(len(r.Headers[i].Key)))
		dst = append(dst, r.Headers[i].Key...)
		dst = appendNullable(dst, r.Headers[i].Value)
	}
	return dst
}

// recordBodySize is the size of what appendRecord writes after the length prefix.
func recordBodySize(r *Record, offsetDelta int32, timestampDelta int64) int {
	size := 1 + varintSize(timestampDelta) + varintSize(int64(offsetDelta)) +
		nullableSize(r.Key) + nullableSize(r.Value) + varintSize(int64(len(r.Headers)))
	for i := range r.Headers {
		size += varintSize(int64(len(r.Headers[i].Key))) + len(r.Headers[i].Key) + nullableSize(r.Headers[i].Value)
	}
	return size
}

func appendNullable(dst, b []byte) []byte {
	if b == nil {
		return append(dst, 1) // zigzag of -1
	}
	return append(appendVarint(dst, int64(len(b))), b...)
}

func nullableSize(b []byte) int {
	if b == nil {
		return 1
	}
	return varintSize(int64(len(b))) + len(b)
}
