package recordjson

import (
	"bytes"
	"encoding/base64"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
)

// Reader reads records from JSON text: strictly, with the place of every fault. Set the exported fields
// before the first call. A Reader may be used again, and by one goroutine at a time.
type Reader struct {
	// Record is called with every record that was read, in their order. Its bytes alias the body.
	Record func(r record.Record, partition int32)

	MaxRecords int   // that a body may hold; four times as many record headers
	Partition  int32 // of records that name none
	Now        int64 // ms since 1970, for records that bring no time

	scan    scanner
	count   int
	headers []record.RecordHeader
}

// headersPerRecord bounds the headers of a body, as a multiple of the records that it may hold.
const headersPerRecord = 4

// keptHeaders is the longest slice of headers that Release keeps.
const keptHeaders = 1 << 14

// Release forgets the body, and whatever was set, and keeps memory for the next one. The records' headers
// must not be used afterwards.
func (r *Reader) Release() {
	headers := r.headers
	*r = Reader{}
	if cap(headers) <= keptHeaders {
		clear(headers)
		r.headers = headers[:0]
	}
}

// Read reads {"records":[...]}. It overwrites body, which the records alias. The error is an
// *errcode.Error; records before the fault were handed out.
func (r *Reader) Read(body []byte) error {
	r.begin(body)
	s := &r.scan
	seen := false
	err := s.object(`an object {"records":[...]}`, func(name []byte, at int) error {
		if string(name) != "records" || seen {
			return s.errorAt(at, "unknown or repeated member %q; the body has one member, records", clip(name))
		}
		seen = true
		return r.list()
	})
	if err == nil {
		err = s.end()
	}
	if err == nil && !seen {
		err = s.errorAt(s.pos, `the object has no member "records"`)
	}
	return coded(err)
}

func (r *Reader) begin(body []byte) {
	r.scan, r.count, r.headers = newScanner(body), 0, r.headers[:0]
}

// ReadLines reads NDJSON: one record per line, empty lines are skipped. Otherwise it is like Read.
func (r *Reader) ReadLines(body []byte) error {
	r.begin(body)
	return coded(r.lines())
}

func (r *Reader) lines() error {
	s := &r.scan
	s.oneLine = true
	for {
		switch s.peek() {
		case '\n':
			s.newLine()
			continue
		case 0:
			if s.pos >= len(s.b) {
				return nil
			}
		}
		if err := r.record(); err != nil {
			return err
		}
		if s.peek() != '\n' && s.pos < len(s.b) {
			return s.unexpected("the end of the line")
		}
	}
}

// DryRun is what the body of a dry run says besides its records.
type DryRun struct {
	Topic     string
	Partition int32
	Place     string // "write" when the body names none
	Config    []byte // compact JSON; nil for none
	OnError   string
}

// ReadDryRun reads {"topic","partition","place","config","on_error","records"}. Otherwise it is like Read.
func (r *Reader) ReadDryRun(body []byte) (DryRun, error) {
	r.begin(body)
	s := &r.scan
	d := DryRun{}
	err := s.object("an object", func(name []byte, at int) (err error) {
		switch string(name) {
		case "topic":
			d.Topic, err = s.stringOrNull()
		case "partition":
			d.Partition, err = r.partitionNumber()
		case "place":
			d.Place, err = s.stringOrNull()
		case "on_error":
			d.OnError, err = s.stringOrNull()
		case "config":
			if !s.null() {
				var config []byte
				config, err = s.value()
				d.Config = bytes.Clone(config)
			}
		case "records":
			err = r.list()
		default:
			err = s.errorAt(at, "unknown member %q; the body has topic, partition, place, config, on_error and records", clip(name))
		}
		return err
	})
	if err == nil {
		err = s.end()
	}
	if d.Place == "" {
		d.Place = "write"
	}
	return d, coded(err)
}

// list reads an array of records.
func (r *Reader) list() error {
	return r.scan.array("an array of records", r.record)
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
func (r *Reader) record() error {
	if r.count == r.MaxRecords {
		return errcode.New(errcode.RecordListTooLarge,
			"the body holds more than %d records; send fewer at once, or record batches, which have no such limit", r.MaxRecords).
			With("max_records", r.MaxRecords).With("line", r.scan.line)
	}
	rec, partition := record.Record{Timestamp: r.Now}, r.Partition
	seen := 0
	err := r.scan.object("a record, which is an object", func(name []byte, at int) error {
		member := recordMember(name)
		switch {
		case member == 0:
			return r.scan.errorAt(at, "a record has no member %q; it has key, key_b64, value, value_b64, headers, timestamp and partition", clip(name))
		case seen&member != 0:
			return r.scan.errorAt(at, "member %q is given twice, or as text and as base64 too", clip(name))
		}
		seen |= member
		return r.member(&rec, &partition, name, member)
	})
	if err != nil {
		return err
	}
	r.count++
	r.Record(rec, partition)
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

func (r *Reader) member(rec *record.Record, partition *int32, name []byte, member int) (err error) {
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
		*partition, err = r.partitionNumber()
	}
	return err
}

// bytes reads a key's or value's bytes: null stays null, a string is its text, anything else its
// compact JSON.
func (r *Reader) bytes(encoded bool) ([]byte, error) {
	if r.scan.null() {
		return nil, nil
	}
	if encoded {
		return r.base64()
	}
	if r.scan.peek() == '"' {
		return r.scan.text()
	}
	return r.scan.value()
}

func (r *Reader) base64() ([]byte, error) {
	at := r.scan.pos
	text, err := r.scan.text()
	if err != nil {
		return nil, err
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(out, text)
	if err != nil {
		return nil, r.scan.errorAt(at, "the string is not base64 (standard alphabet, padded): %v", err)
	}
	return out[:n], nil
}

// readHeaders reads {"name":value} or [{"key","value"}], both in order.
func (r *Reader) readHeaders() ([]record.RecordHeader, error) {
	if r.scan.null() {
		return nil, nil
	}
	from := len(r.headers)
	var err error
	switch r.scan.peek() {
	case '{':
		err = r.scan.object("headers", func(name []byte, _ int) error {
			value, err := r.bytes(false)
			if err != nil {
				return err
			}
			return r.header(record.RecordHeader{Key: name, Value: value})
		})
	case '[':
		err = r.scan.array("headers", r.listedHeader)
	default:
		err = r.scan.unexpected("headers, an object or an array of objects,")
	}
	return r.headers[from:len(r.headers):len(r.headers)], err
}

func (r *Reader) listedHeader() error {
	var h record.RecordHeader
	seen := 0
	at := r.scan.pos
	err := r.scan.object("a header, which is an object", func(name []byte, at int) error {
		member := recordMember(name)
		if member != hasKey && member != hasValue || seen&member != 0 {
			return r.scan.errorAt(at, "unknown or repeated member %q; a header has key and value, or key_b64 and value_b64", clip(name))
		}
		seen |= member
		encoded := bytes.HasSuffix(name, []byte(base64Suffix))
		var err error
		if member == hasValue {
			h.Value, err = r.bytes(encoded)
			return err
		}
		if r.scan.null() {
			return r.scan.errorAt(at, "a header's key must not be null")
		}
		h.Key, err = r.bytes(encoded)
		return err
	})
	if err == nil && seen&hasKey == 0 {
		err = r.scan.errorAt(at, "the header has no key")
	}
	if err != nil {
		return err
	}
	return r.header(h)
}

func (r *Reader) header(h record.RecordHeader) error {
	if most := headersPerRecord * r.MaxRecords; len(r.headers) == most {
		return errcode.New(errcode.RecordListTooLarge, "the body holds more than %d record headers; send fewer records at once", most).
			With("max_headers", most).With("line", r.scan.line)
	}
	r.headers = append(r.headers, h)
	return nil
}

// timestamp reads RFC 3339 text or milliseconds since 1970; null is the time of arrival.
func (r *Reader) timestamp() (int64, error) {
	if r.scan.null() {
		return r.Now, nil
	}
	at := r.scan.pos
	if r.scan.peek() == '"' {
		text, err := r.scan.text()
		if err != nil {
			return 0, err
		}
		t, err := time.Parse(time.RFC3339Nano, string(text))
		if err != nil {
			return 0, r.scan.errorAt(at, "timestamp %q is not of the form 2006-01-02T15:04:05.000Z", clip(text))
		}
		return t.UnixMilli(), nil
	}
	return r.scan.integer("timestamp", "RFC 3339 text or whole milliseconds since 1970", 0, 1<<62)
}

func (r *Reader) partitionNumber() (int32, error) {
	if r.scan.null() {
		return r.Partition, nil
	}
	n, err := r.scan.integer("partition", "a number from 0 on", 0, 1<<31-1)
	return int32(n), err
}
