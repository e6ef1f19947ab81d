package httpapi

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strconv"
	"time"

	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
)

// recordReader turns JSON into records. What it returns aliases the body, which it overwrites.
type recordReader struct {
	scanner
	records   []broker.ProducedRecord
	headers   []record.RecordHeader
	max       int   // records that a body may hold
	partition int32 // of records that name none
	now       int64 // ms since 1970, for records that bring no time
}

// headersPerRecord bounds the headers of a body, as a multiple of the records that it may hold.
const headersPerRecord = 4

// readJSON reads {"records":[...]}.
func (r *recordReader) readJSON(body []byte) error {
	r.scanner = newScanner(body)
	seen := false
	err := r.object(`an object {"records":[...]}`, func(name []byte, at int) error {
		if string(name) != "records" || seen {
			return r.errorAt(at, "unknown or repeated member %q; the body has one member, records", clip(name))
		}
		seen = true
		return r.list()
	})
	if err == nil {
		err = r.end()
	}
	if err == nil && !seen {
		err = r.errorAt(r.pos, `the object has no member "records"`)
	}
	return err
}

// readNDJSON reads one record per line; empty lines are passed over.
func (r *recordReader) readNDJSON(body []byte) error {
	r.scanner = newScanner(body)
	r.oneLine = true
	for {
		switch r.peek() {
		case '\n':
			r.newLine()
			continue
		case 0:
			if r.pos >= len(r.b) {
				return nil
			}
		}
		if err := r.record(); err != nil {
			return err
		}
		if r.peek() != '\n' && r.pos < len(r.b) {
			return r.unexpected("the end of the line")
		}
	}
}

// list reads an array of records.
func (r *recordReader) list() error {
	return r.array("an array of records", r.record)
}

// base64Suffix ends the names of members whose strings are bytes in base64.
const base64Suffix = "_b64"

// Which members of a record were there.
const (
	hasKey = 1 << iota
	hasValue
	hasHeaders
	hasTimestamp
	hasPartition
)

// record reads one record.
func (r *recordReader) record() error {
	if len(r.records) == r.max {
		return errcode.New(errcode.RecordListTooLarge,
			"the body holds more than %d records; send fewer at once, or record batches, for which no such limit stands", r.max).
			With("max_records", r.max).With("line", r.line)
	}
	rec := broker.ProducedRecord{Partition: r.partition}
	rec.Timestamp = r.now
	seen := 0
	err := r.object("a record, which is an object", func(name []byte, at int) error {
		member := recordMember(name)
		switch {
		case member == 0:
			return r.errorAt(at, "a record has no member %q; it has key, key_b64, value, value_b64, headers, timestamp and partition", clip(name))
		case seen&member != 0:
			return r.errorAt(at, "member %q is given twice, or as text and as base64 too", clip(name))
		}
		seen |= member
		return r.member(&rec, name, member)
	})
	if err != nil {
		return err
	}
	r.records = append(r.records, rec)
	return nil
}

func recordMember(name []byte) int {
	switch string(name) {
	case "key", "key_b64":
		return hasKey
	case "value", "value_b64":
		return hasValue
	case "headers":
		return hasHeaders
	case "timestamp":
		return hasTimestamp
	case "partition":
		return hasPartition
	}
	return 0
}

func (r *recordReader) member(rec *broker.ProducedRecord, name []byte, member int) (err error) {
	encoded := bytes.HasSuffix(name, []byte(base64Suffix))
	switch member {
	case hasKey:
		rec.Key, err = r.bytes(encoded)
	case hasValue:
		rec.Value, err = r.bytes(encoded)
	case hasHeaders:
		rec.Headers, err = r.readHeaders()
	case hasTimestamp:
		rec.Timestamp, err = r.timestamp()
	case hasPartition:
		rec.Partition, err = r.partitionNumber()
	}
	return err
}

// bytes reads a key's or value's bytes: null stays null, a string is its text, anything else its
// compact JSON.
func (r *recordReader) bytes(encoded bool) ([]byte, error) {
	if r.null() {
		return nil, nil
	}
	if encoded {
		return r.base64()
	}
	if r.peek() == '"' {
		return r.text()
	}
	start := r.pos
	v, err := r.value(r.b[start:start])
	if err != nil {
		return nil, err
	}
	return v[:len(v):len(v)], nil
}

func (r *recordReader) base64() ([]byte, error) {
	at := r.pos
	text, err := r.text()
	if err != nil {
		return nil, err
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(out, text)
	if err != nil {
		return nil, r.errorAt(at, "the string is not base64 (standard alphabet, padded): %v", err)
	}
	return out[:n], nil
}

// readHeaders reads {"name":value} or [{"key","value"}], both in order.
func (r *recordReader) readHeaders() ([]record.RecordHeader, error) {
	if r.null() {
		return nil, nil
	}
	from := len(r.headers)
	var err error
	switch r.peek() {
	case '{':
		err = r.object("headers", func(name []byte, _ int) error {
			value, err := r.bytes(false)
			if err != nil {
				return err
			}
			return r.header(record.RecordHeader{Key: name, Value: value})
		})
	case '[':
		err = r.array("headers", r.listedHeader)
	default:
		err = r.unexpected("headers, an object or an array of objects,")
	}
	return r.headers[from:len(r.headers):len(r.headers)], err
}

func (r *recordReader) listedHeader() error {
	var h record.RecordHeader
	seen := 0
	at := r.pos
	err := r.object("a header, which is an object", func(name []byte, at int) error {
		member := recordMember(name)
		if member != hasKey && member != hasValue || seen&member != 0 {
			return r.errorAt(at, "unknown or repeated member %q; a header has key and value, or key_b64 and value_b64", clip(name))
		}
		seen |= member
		encoded := bytes.HasSuffix(name, []byte(base64Suffix))
		var err error
		if member == hasValue {
			h.Value, err = r.bytes(encoded)
			return err
		}
		if r.null() {
			return r.errorAt(at, "a header's key must not be null")
		}
		h.Key, err = r.bytes(encoded)
		return err
	})
	if err == nil && seen&hasKey == 0 {
		err = r.errorAt(at, "the header has no key")
	}
	if err != nil {
		return err
	}
	return r.header(h)
}

func (r *recordReader) header(h record.RecordHeader) error {
	if most := headersPerRecord * r.max; len(r.headers) == most {
		return errcode.New(errcode.RecordListTooLarge, "the body holds more than %d record headers; send fewer records at once", most).
			With("max_headers", most).With("line", r.line)
	}
	r.headers = append(r.headers, h)
	return nil
}

// timestamp reads RFC 3339 text or milliseconds since 1970; null is the time of arrival.
func (r *recordReader) timestamp() (int64, error) {
	if r.null() {
		return r.now, nil
	}
	at := r.pos
	if r.peek() == '"' {
		text, err := r.text()
		if err != nil {
			return 0, err
		}
		t, err := time.Parse(time.RFC3339Nano, string(text))
		if err != nil {
			return 0, r.errorAt(at, "timestamp %q is not of the form 2006-01-02T15:04:05.000Z", clip(text))
		}
		return t.UnixMilli(), nil
	}
	return r.integer("timestamp", "RFC 3339 text or whole milliseconds since 1970", 0, 1<<62)
}

func (r *recordReader) partitionNumber() (int32, error) {
	if r.null() {
		return r.partition, nil
	}
	n, err := r.integer("partition", "a number from 0 on", 0, 1<<31-1)
	return int32(n), err
}

// integer reads a whole number within bounds.
func (r *recordReader) integer(name, want string, least, most int64) (int64, error) {
	at := r.pos
	if c := r.peek(); c != '-' && (c < '0' || c > '9') {
		return 0, r.unexpected(name + ", " + want + ",")
	}
	var scratch [32]byte
	text, err := r.value(scratch[:0])
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n < least || n > most {
		return 0, r.errorAt(at, "%s is %s; it must be %s", name, clip(text), want)
	}
	return n, nil
}

// asProblem is a parser's error as it is told to a client.
func asProblem(err error) error {
	var se *syntaxError
	if errors.As(err, &se) {
		return se.problem()
	}
	return err
}
