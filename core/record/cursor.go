package record

import "fmt"

// cursor walks the records of a batch in order without allocating. It parses a record up to its header
// count; the headers themselves only when asked. What it hands out aliases section.
type cursor struct {
	section []byte // the records' bytes, uncompressed
	start   int    // where the current record begins, at its length prefix
	end     int    // where it ends
	index   int    // of the current record, -1 before the first
	count   int    // records that the batch claims to have

	attributes     int8
	offsetDelta    int32
	headerCount    int32
	timestampDelta int64
	key, value     []byte
	headersAt      int

	baseTimestamp  int64
	appendTime     int64 // what every record bears if isAppendTime
	isAppendTime   bool
	baseOffset     int64
	maxRecordBytes int
	maxHeaders     int
	err            error
}

// newCursor checks count against section, which bounds whatever is allocated for that many records.
// l has its defaults filled in.
func newCursor(b Batch, section []byte, l *Limits) (cursor, error) {
	count := int(b.Count())
	if count > l.MaxRecords {
		return cursor{}, batchError(b, ErrTooLarge, "%d records, the limit is %d", count, l.MaxRecords)
	}
	if count < 0 || count > len(section)/minRecordSize {
		return cursor{}, batchError(b, ErrCount, "%d records in %d bytes", count, len(section))
	}
	return cursor{
		section: section, index: -1, count: count,
		baseTimestamp: b.BaseTimestamp(), appendTime: b.MaxTimestamp(), isAppendTime: b.IsLogAppendTime(),
		baseOffset: b.BaseOffset(), maxRecordBytes: l.MaxRecordBytes, maxHeaders: l.MaxHeaders,
	}, nil
}

// next moves to the next record. It returns false after the last one and at the first malformed
// one; err says which.
func (c *cursor) next() bool {
	if c.err != nil || c.index >= c.count {
		return false
	}
	c.index++
	c.start = c.end
	if c.index == c.count {
		if c.end != len(c.section) {
			c.fail(ErrRecord, "%d bytes after the last record", len(c.section)-c.end)
		}
		return false
	}
	length, i := readVarint32(c.section, c.end)
	if i < 0 || length < 1 || int(length) > len(c.section)-i {
		return c.fail(ErrRecord, "length %d with %d bytes left", length, len(c.section)-c.end)
	}
	if int(length) > c.maxRecordBytes {
		return c.fail(ErrTooLarge, "%d bytes, the limit is %d", length, c.maxRecordBytes)
	}
	return c.parse(i, i+int(length))
}

// parse reads the record whose body is section[i:end].
func (c *cursor) parse(i, end int) bool {
	b := c.section[:end]
	c.end = end
	c.attributes = int8(b[i])
	c.timestampDelta, i = readVarint(b, i+1)
	c.offsetDelta, i = readVarint32(b, i)
	c.key, i = readBytes(b, i)
	c.value, i = readBytes(b, i)
	c.headerCount, i = readVarint32(b, i)
	c.headersAt = i
	if i < 0 {
		return c.fail(ErrRecord, "fields reach beyond its %d bytes", end-c.start)
	}
	// A header takes two bytes at least; none may leave a byte over.
	if n := int(c.headerCount); n < 0 || n > (end-i)/2 || n == 0 && i != end {
		return c.fail(ErrRecord, "%d headers in %d bytes", n, end-i)
	}
	if int(c.headerCount) > c.maxHeaders {
		return c.fail(ErrTooLarge, "%d headers, the limit is %d", c.headerCount, c.maxHeaders)
	}
	return true
}

// fail notes the first error, with the current record's identity.
func (c *cursor) fail(sentinel error, format string, args ...any) bool {
	c.err = fmt.Errorf("batch at offset %d: record %d: %w: %s",
		c.baseOffset, c.index, sentinel, fmt.Sprintf(format, args...))
	return false
}

// timestamp is the current record's time in ms since 1970.
func (c *cursor) timestamp() int64 {
	if c.isAppendTime {
		return c.appendTime
	}
	return c.baseTimestamp + c.timestampDelta
}

// appendHeaders parses the current record's headers and appends them to dst. On error, which is
// err as well, dst comes back as it was.
func (c *cursor) appendHeaders(dst []RecordHeader) ([]RecordHeader, error) {
	out, i := dst, c.headersAt
	for range c.headerCount {
		var h RecordHeader
		if h.Key, h.Value, i = c.header(i); i < 0 {
			return dst, c.err
		}
		out = append(out, h)
	}
	if !c.checkEnd(i) {
		return dst, c.err
	}
	return out, nil
}

// checkHeaders parses the current record's headers and keeps nothing.
func (c *cursor) checkHeaders() bool {
	i := c.headersAt
	for range c.headerCount {
		if _, _, i = c.header(i); i < 0 {
			return false
		}
	}
	return c.checkEnd(i)
}

// header reads one header of the current record.
func (c *cursor) header(i int) (key, value []byte, next int) {
	b := c.section[:c.end]
	key, i = readBytes(b, i)
	value, i = readBytes(b, i)
	if i < 0 || key == nil {
		c.fail(ErrRecord, "malformed header")
		return nil, nil, failed
	}
	return key, value, i
}

func (c *cursor) checkEnd(i int) bool {
	return i == c.end || c.fail(ErrRecord, "%d bytes after the last header", c.end-i)
}
