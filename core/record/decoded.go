package record

// Decoded is the records of one batch, decoded: the input of a pipeline, and what a Builder replaces. They
// come from a batch (Unpacked, Unpacker), or were collected by a Draft and have no batch yet. The memory
// belongs to the Unpacked, Unpacker or Draft and must not be changed.
type Decoded struct {
	Records []Record

	batch   Batch  // nil: a Draft's
	codec   Codec  // of a Draft
	section []byte // the records as batch encodes them, uncompressed
	ends    []int  // where record i ends in section, and record i+1 begins
}

// decoded puts together what the decoder read of b.
func (d *Decoder) decoded(b Batch, records []Record) Decoded {
	return Decoded{Records: records, batch: b, section: d.records, ends: d.ends}
}

// Batch is the batch as it came; nil when there is none yet, so that one has to be built.
func (d *Decoded) Batch() Batch { return d.batch }

// Codec is the batch's, or the one that a Draft's batch shall have.
func (d *Decoded) Codec() Codec {
	if d.batch != nil {
		return d.batch.Codec()
	}
	return d.codec
}

// raw is record i as batch encodes it, its length prefix included.
func (d *Decoded) raw(i int) []byte {
	start := 0
	if i > 0 {
		start = d.ends[i-1]
	}
	return d.section[start:d.ends[i]:d.ends[i]]
}

// Draft collects the records of a batch to come without encoding them, so that a pipeline can change them
// before they are encoded for the first time. It keeps one Record each (88 bytes) and none of their bytes:
// those must stay as they are until the batch has been built. Otherwise use a Builder. The zero Draft is ready,
// as after Reset(CodecNone). Not for concurrent use.
type Draft struct {
	codec   Codec
	records []Record
	size    int
}

// Reset begins a new batch. The records handed out before are void.
func (d *Draft) Reset(codec Codec) {
	clear(d.records)
	d.codec, d.records, d.size = codec, d.records[:0], 0
}

// Append adds r, numbered by its place.
func (d *Draft) Append(r Record) {
	r.OffsetDelta = int32(len(d.records))
	d.records = append(d.records, r)
	body := recordBodySize(&r, r.OffsetDelta, r.Timestamp-d.records[0].Timestamp)
	d.size += varintSize(int64(body)) + body
}

// Len is the number of records appended.
func (d *Draft) Len() int { return len(d.records) }

// Bytes is the size that the batch would have without compression, as Builder.Bytes would say.
func (d *Draft) Bytes() int { return HeaderSize + d.size }

// Decoded is the records so far. It shares the draft's memory, and is void after Reset.
func (d *Draft) Decoded() Decoded { return Decoded{Records: d.records, codec: d.codec} }
