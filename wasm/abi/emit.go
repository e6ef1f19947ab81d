package abi

import (
	"encoding/binary"
	"fmt"

	"github.com/wasmill/wasmill/core/record"
)

// emit builds the new record of an EMIT. What it does not inherit is checked where it lies, then copied.
func (d *decoder) emit(a *Action, b []byte) error {
	if err := d.destination(a, b); err != nil {
		return err
	}
	le := binary.LittleEndian
	flags := b[1]
	r := d.in.Records[a.Index] // what is not overwritten below is inherited
	if flags&flagTimestamp != 0 {
		r.Timestamp = int64(le.Uint64(b[48:]))
	}
	headers, count, err := d.headerBlock(b)
	if err != nil {
		return err
	}
	if flags&flagInheritKey == 0 {
		if r.Key, err = d.field("key", b[20:]); err != nil {
			return err
		}
	}
	if flags&flagInheritValue == 0 {
		if r.Value, err = d.field("value", b[28:]); err != nil {
			return err
		}
	}
	if flags&flagInheritHeaders == 0 {
		if r.Headers, err = d.headers(headers, count); err != nil {
			return err
		}
	}
	a.Record = r
	return d.account(&a.Record)
}

// field copies a key or a value out of the module's memory.
func (d *decoder) field(name string, b []byte) ([]byte, error) {
	le := binary.LittleEndian
	ptr, size := le.Uint32(b), le.Uint32(b[4:])
	if size == null {
		return nil, nil
	}
	data, ok := view(d.mem, ptr, size)
	if !ok {
		return nil, fmt.Errorf("%s of %d bytes at %#x, memory is %d bytes: %w", name, size, ptr, len(d.mem), ErrBounds)
	}
	if len(data) > d.limits.MaxRecordBytes {
		return nil, fmt.Errorf("%s of %d bytes, a record has at most %d: %w", name, size, d.limits.MaxRecordBytes, ErrLimit)
	}
	// Counted before it is copied: the arena never holds more than MaxOutputBytes and one record.
	if d.bytes+len(data) > d.limits.MaxOutputBytes {
		return nil, d.tooMuch()
	}
	return d.arena.copy(data), nil
}

// headerBlock finds the bytes of an EMIT's headers and checks their number against them.
func (d *decoder) headerBlock(b []byte) ([]byte, int, error) {
	if b[1]&flagInheritHeaders != 0 {
		return nil, 0, nil
	}
	le := binary.LittleEndian
	ptr, size, count := le.Uint32(b[36:]), le.Uint32(b[40:]), le.Uint32(b[44:])
	if size == null && count == 0 {
		return nil, 0, nil
	}
	data, ok := view(d.mem, ptr, size)
	switch {
	case !ok:
		return nil, 0, fmt.Errorf("headers of %d bytes at %#x, memory is %d bytes: %w", size, ptr, len(d.mem), ErrBounds)
	case uint64(count)*8 > uint64(size):
		return nil, 0, fmt.Errorf("%d headers in %d bytes: %w", count, size, ErrMalformed)
	case uint64(count) > uint64(d.limits.MaxHeaders):
		return nil, 0, fmt.Errorf("%d headers, a record has at most %d: %w", count, d.limits.MaxHeaders, ErrLimit)
	case len(data) > d.limits.MaxRecordBytes:
		return nil, 0, fmt.Errorf("headers of %d bytes, a record has at most %d: %w", size, d.limits.MaxRecordBytes, ErrLimit)
	case d.bytes+len(data) > d.limits.MaxOutputBytes:
		return nil, 0, d.tooMuch()
	}
	return data, int(count), nil
}

// headers copies a header block once and cuts the copy.
func (d *decoder) headers(block []byte, count int) ([]record.RecordHeader, error) {
	if count == 0 {
		if len(block) != 0 {
			return nil, fmt.Errorf("no headers in %d bytes: %w", len(block), ErrMalformed)
		}
		return nil, nil
	}
	rest := d.arena.copy(block)
	headers := d.arena.newHeaders(count)
	for i := range headers {
		if len(rest) < 8 {
			return nil, fmt.Errorf("header %d of %d begins past the end of %d bytes: %w", i, count, len(block), ErrMalformed)
		}
		keyLen, valueLen := binary.LittleEndian.Uint32(rest), binary.LittleEndian.Uint32(rest[4:])
		rest = rest[8:]
		size := uint64(keyLen)
		if valueLen != null {
			size += uint64(valueLen)
		}
		if keyLen == null || size > uint64(len(rest)) {
			return nil, fmt.Errorf("header %d of %d: key of %d and value of %d bytes in %d: %w", i, count, keyLen, valueLen, len(rest), ErrMalformed)
		}
		headers[i].Key = rest[:keyLen:keyLen]
		if valueLen != null {
			headers[i].Value = rest[keyLen:size:size]
		}
		rest = rest[size:]
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%d bytes after the last of %d headers: %w", len(rest), count, ErrMalformed)
	}
	return headers, nil
}

// account counts a record that leaves the call as a new one.
func (d *decoder) account(r *record.Record) error {
	size := RecordSize(r, AllFields)
	if size > d.limits.MaxRecordBytes || len(r.Headers) > d.limits.MaxHeaders {
		return fmt.Errorf("record of %d bytes and %d headers, limits are %d and %d: %w",
			size, len(r.Headers), d.limits.MaxRecordBytes, d.limits.MaxHeaders, ErrLimit)
	}
	if d.bytes += size; d.bytes > d.limits.MaxOutputBytes {
		return d.tooMuch()
	}
	return nil
}

func (d *decoder) tooMuch() error {
	return fmt.Errorf("more than %d bytes emitted and routed in one call: %w", d.limits.MaxOutputBytes, ErrLimit)
}
