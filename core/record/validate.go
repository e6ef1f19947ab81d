package record

// CheckHeader checks everything that can be checked without walking the records: length, magic, codec,
// counts and checksum. It allocates nothing unless it fails.
func (b Batch) CheckHeader(l Limits) error {
	l = l.withDefaults()
	return b.checkHeader(&l)
}

func (b Batch) checkHeader(l *Limits) error {
	if err := b.checkShape(); err != nil {
		return err
	}
	if len(b) > l.MaxBatchBytes {
		return batchError(b, ErrTooLarge, "%d bytes, the limit is %d", len(b), l.MaxBatchBytes)
	}
	count, last := int64(b.Count()), int64(b.LastOffsetDelta())
	if count < 0 || last < 0 || count > last+1 {
		return batchError(b, ErrCount, "%d records, last offset delta %d", count, last)
	}
	if count > int64(l.MaxRecords) {
		return batchError(b, ErrTooLarge, "%d records, the limit is %d", count, l.MaxRecords)
	}
	if sum := b.checksum(); sum != b.CRC() {
		return batchError(b, ErrCRC, "field says %#08x, the bytes give %#08x", b.CRC(), sum)
	}
	return nil
}

// checkShape makes sure that accessors may be used and the payload's encoding is known.
func (b Batch) checkShape() error {
	if len(b) < HeaderSize {
		return batchError(b, ErrTooShort, "%d bytes, a header has %d", len(b), HeaderSize)
	}
	if int64(b.Length()) != int64(len(b)-prefixSize) {
		return batchError(b, ErrLength, "%d, but %d bytes follow", b.Length(), len(b)-prefixSize)
	}
	if b.Magic() != Magic {
		return batchError(b, ErrMagic, "version %d", b.Magic())
	}
	if b.Codec() > CodecZstd {
		return batchError(b, ErrCodec, "number %d", b.Codec())
	}
	return nil
}

// Validate checks a batch as it may stand in a log: CheckHeader, and every record well formed, with
// offset deltas strictly increasing from 0 or more to LastOffsetDelta at most, so that batches pass
// of which records were filtered out. Compressed records are decompressed within the limits. It
// allocates nothing for an uncompressed batch unless it fails.
func (b Batch) Validate(l Limits) error {
	l = l.withDefaults()
	if err := b.checkHeader(&l); err != nil {
		return err
	}
	return b.checkRecords(&l, false)
}

// ValidateProduced checks a batch as a producer must send it: Validate, and at least one record,
// offset deltas 0..n-1 without holes, producer fields that go together, and no flags that are not
// a producer's to set.
func (b Batch) ValidateProduced(l Limits) error {
	l = l.withDefaults()
	if err := b.checkHeader(&l); err != nil {
		return err
	}
	if err := b.checkProducedHeader(); err != nil {
		return err
	}
	return b.checkRecords(&l, true)
}

func (b Batch) checkProducedHeader() error {
	if a := b.Attributes(); a&^(attrCodecMask|AttrTransactional) != 0 {
		return batchError(b, ErrAttributes, "%#04x", uint16(a))
	}
	if count, last := b.Count(), b.LastOffsetDelta(); count == 0 || last != count-1 {
		return batchError(b, ErrCount, "%d records, last offset delta %d", count, last)
	}
	id, epoch, sequence := b.ProducerID(), b.ProducerEpoch(), b.BaseSequence()
	switch {
	case id < NoProducerID:
		return batchError(b, ErrProducer, "producer id %d", id)
	case id == NoProducerID && b.IsTransactional():
		return batchError(b, ErrProducer, "transactional without a producer id")
	case id >= 0 && (epoch < 0 || sequence < 0):
		return batchError(b, ErrProducer, "producer id %d, epoch %d, base sequence %d", id, epoch, sequence)
	}
	return nil
}

func (b Batch) checkRecords(l *Limits, produced bool) error {
	if b.Codec() == CodecNone {
		c, err := newCursor(b, b.Payload(), l)
		if err != nil {
			return err
		}
		return c.check(b.LastOffsetDelta(), l.MaxBatchHeaders, produced)
	}
	d := decoders.Get().(*Decoder)
	defer d.release()
	d.limits = *l
	c, err := d.cursor(b)
	if err != nil {
		return err
	}
	return c.check(b.LastOffsetDelta(), l.MaxBatchHeaders, produced)
}

// check walks all records. contiguous demands that offset deltas equal the records' places.
func (c *cursor) check(last int32, maxBatchHeaders int, contiguous bool) error {
	headers, least := 0, int64(0)
	for c.next() {
		most := int64(last)
		if contiguous {
			most = least
		}
		if !c.checkDelta(least, most) {
			break
		}
		least = int64(c.offsetDelta) + 1
		if c.headerCount == 0 {
			continue
		}
		headers += int(c.headerCount)
		if !c.checkHeaderCount(headers, maxBatchHeaders) || !c.checkHeaders() {
			break
		}
	}
	return c.err
}

// checkDelta checks the current record's offset delta.
func (c *cursor) checkDelta(least, most int64) bool {
	if delta := int64(c.offsetDelta); delta < least || delta > most {
		return c.fail(ErrOffsets, "offset delta %d, expected %d to %d", delta, least, most)
	}
	return true
}

// checkHeaderCount checks the number of headers in the batch up to the current record.
func (c *cursor) checkHeaderCount(n, most int) bool {
	if n > most {
		return c.fail(ErrTooLarge, "%d headers in the batch so far, the limit is %d", n, most)
	}
	return true
}
