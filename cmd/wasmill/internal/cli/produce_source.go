package cli

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/wasmill/wasmill/core/record"
)

// input is one record of the input. place counts lines or records from 1.
type input struct {
	record.Record
	partition int32 // -1: by key
	place     int
}

// source yields the input's records; io.EOF ends it. What next returns is valid until the next call.
type source interface {
	next() (input, error)
	unit() string // what place counts: "line" or "record"
}

// defaults fill in what a record does not say itself.
type defaults struct {
	key       []byte // nil: none
	headers   []record.RecordHeader
	partition int32
}

func (d defaults) fill(in input) input {
	if in.Key == nil {
		in.Key = d.key
	}
	if len(d.headers) > 0 {
		in.Headers = append(in.Headers[:len(in.Headers):len(in.Headers)], d.headers...)
	}
	if in.partition < 0 {
		in.partition = d.partition
	}
	return in
}

func newSource(r io.Reader, f produceFlags, headers []record.RecordHeader) (source, error) {
	d := defaults{headers: headers, partition: f.partition}
	if f.hasKey {
		d.key = []byte(f.key)
	}
	switch f.format {
	case "lines":
		return &lineSource{lines: newLines(r, f.maxRecord), separator: []byte(f.keySeparator), defaults: d}, nil
	case "ndjson":
		return &ndjsonSource{lines: newLines(r, f.maxRecord), defaults: d}, nil
	case "json":
		return &jsonSource{dec: json.NewDecoder(r), defaults: d}, nil
	case "raw":
		return &rawSource{r: r, most: f.maxRecord, defaults: d}, nil
	case "batches":
		return nil, nil // they are never taken apart
	}
	return nil, fmt.Errorf("unknown --format %q: one of lines, ndjson, json, raw, batches", f.format)
}

// lines cuts the input at newlines; a carriage return before one belongs to it.
type lines struct {
	s    *bufio.Scanner
	most int
	n    int
}

func newLines(r io.Reader, most int) *lines {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, min(64<<10, most+2)), most+2)
	return &lines{s: s, most: most}
}

func (l *lines) next() ([]byte, error) {
	if !l.s.Scan() {
		err := l.s.Err()
		switch {
		case err == nil:
			return nil, io.EOF
		case errors.Is(err, bufio.ErrTooLong):
			return nil, fmt.Errorf("line %d is longer than %d bytes; raise --max-record-bytes, or is this another --format?", l.n+1, l.most)
		}
		return nil, fmt.Errorf("read line %d: %w", l.n+1, err)
	}
	l.n++
	return l.s.Bytes(), nil
}

type lineSource struct {
	lines     *lines
	separator []byte
	defaults  defaults
}

func (s *lineSource) unit() string { return "line" }

func (s *lineSource) next() (input, error) {
	line, err := s.lines.next()
	if err != nil {
		return input{}, err
	}
	in := input{partition: -1, place: s.lines.n, Record: record.Record{Value: line}}
	if len(s.separator) > 0 {
		key, value, ok := bytes.Cut(line, s.separator)
		if !ok {
			return input{}, fmt.Errorf("line %d has no key separator %q", s.lines.n, s.separator)
		}
		in.Key, in.Value = key, value
	}
	return s.defaults.fill(in), nil
}

type ndjsonSource struct {
	lines    *lines
	defaults defaults
}

func (s *ndjsonSource) unit() string { return "line" }

func (s *ndjsonSource) next() (input, error) {
	for {
		line, err := s.lines.next()
		if err != nil {
			return input{}, err
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		in, err := parseRecord(line)
		if err != nil {
			return input{}, fmt.Errorf("line %d: %w", s.lines.n, err)
		}
		in.place = s.lines.n
		return s.defaults.fill(in), nil
	}
}

// jsonSource reads an array of records, or an object with a member "records", without holding more
// than one record of it.
type jsonSource struct {
	dec      *json.Decoder
	begun    bool
	n        int
	defaults defaults
}

func (s *jsonSource) unit() string { return "record" }

func (s *jsonSource) next() (input, error) {
	if !s.begun {
		if err := s.begin(); err != nil {
			return input{}, err
		}
		s.begun = true
	}
	if !s.dec.More() {
		if _, err := s.dec.Token(); err != nil { // the closing bracket
			return input{}, s.fault(err)
		}
		return input{}, io.EOF
	}
	var raw json.RawMessage
	if err := s.dec.Decode(&raw); err != nil {
		return input{}, s.fault(err)
	}
	s.n++
	in, err := parseRecord(raw)
	if err != nil {
		return input{}, fmt.Errorf("record %d: %w", s.n, err)
	}
	in.place = s.n
	return s.defaults.fill(in), nil
}

// begin goes to the first record.
func (s *jsonSource) begin() error {
	const shape = `the input is neither an array of records nor {"records": [...]}`
	t, err := s.dec.Token()
	if err != nil {
		return s.fault(err)
	}
	if t == json.Delim('[') {
		return nil
	}
	if t != json.Delim('{') {
		return errors.New(shape)
	}
	name, err := s.dec.Token()
	if err != nil {
		return s.fault(err)
	}
	t, err = s.dec.Token()
	if err != nil {
		return s.fault(err)
	}
	if name != "records" || t != json.Delim('[') {
		return errors.New(shape)
	}
	return nil
}

func (s *jsonSource) fault(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("JSON at byte %d: %w", s.dec.InputOffset(), err)
}

type rawSource struct {
	r        io.Reader
	most     int
	done     bool
	defaults defaults
}

func (s *rawSource) unit() string { return "record" }

func (s *rawSource) next() (input, error) {
	if s.done {
		return input{}, io.EOF
	}
	s.done = true
	value, err := io.ReadAll(io.LimitReader(s.r, int64(s.most)+1))
	if err != nil {
		return input{}, fmt.Errorf("read input: %w", err)
	}
	if len(value) > s.most {
		return input{}, fmt.Errorf("the input is longer than %d bytes; raise --max-record-bytes", s.most)
	}
	return s.defaults.fill(input{partition: -1, place: 1, Record: record.Record{Value: value}}), nil
}

// jsonInput is a record as the HTTP API takes it.
type jsonInput struct {
	Key       json.RawMessage `json:"key"`
	KeyB64    *string         `json:"key_b64"`
	Value     json.RawMessage `json:"value"`
	ValueB64  *string         `json:"value_b64"`
	Headers   json.RawMessage `json:"headers"`
	Timestamp json.RawMessage `json:"timestamp"`
	Partition *int32          `json:"partition"`
	// What consume writes besides: reading it back must work.
	Topic  json.RawMessage `json:"topic"`
	Offset json.RawMessage `json:"offset"`
}

func parseRecord(b []byte) (input, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var j jsonInput
	if err := dec.Decode(&j); err != nil {
		return input{}, fmt.Errorf("not a record: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return input{}, errors.New("not a record: something follows the object")
	}
	in := input{partition: -1}
	if j.Partition != nil {
		if *j.Partition < 0 {
			return input{}, fmt.Errorf("partition %d is negative", *j.Partition)
		}
		in.partition = *j.Partition
	}
	var errs [4]error
	in.Key, errs[0] = jsonToBytes("key", j.Key, j.KeyB64)
	in.Value, errs[1] = jsonToBytes("value", j.Value, j.ValueB64)
	in.Headers, errs[2] = parseHeaders(j.Headers)
	in.Timestamp, errs[3] = parseTimestamp(j.Timestamp)
	return in, errors.Join(errs[:]...)
}

// jsonToBytes is the bytes that a JSON value means: a string its bytes, null nothing, anything else its
// compact text.
func jsonToBytes(name string, raw json.RawMessage, b64 *string) ([]byte, error) {
	null := len(raw) == 0 || string(raw) == "null"
	if b64 != nil {
		if !null {
			return nil, fmt.Errorf("%s and %s_b64 are both given", name, name)
		}
		b, err := base64.StdEncoding.DecodeString(*b64)
		if err != nil {
			return nil, fmt.Errorf("%s_b64: %w", name, err)
		}
		return b, nil
	}
	if null {
		return nil, nil
	}
	if raw[0] == '"' {
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return []byte(s), nil
	}
	var buf bytes.Buffer
	if err := json.Compact(&buf, raw); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return buf.Bytes(), nil
}

// parseHeaders reads {"name": "value"} in the order given, or [{"key", "value"|"value_b64"}].
func parseHeaders(raw json.RawMessage) ([]record.RecordHeader, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	if raw[0] == '{' {
		return headerObject(raw)
	}
	var list []struct {
		Key      string          `json:"key"`
		Value    json.RawMessage `json:"value"`
		ValueB64 *string         `json:"value_b64"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("headers: %w", err)
	}
	out := make([]record.RecordHeader, 0, len(list))
	for _, h := range list {
		v, err := jsonToBytes("header "+h.Key, h.Value, h.ValueB64)
		if err != nil {
			return nil, err
		}
		out = append(out, record.RecordHeader{Key: []byte(h.Key), Value: v})
	}
	return out, nil
}

func headerObject(raw json.RawMessage) ([]record.RecordHeader, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("headers: %w", err)
	}
	var out []record.RecordHeader
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("headers: %w", err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("headers: %w", err)
		}
		key, ok := name.(string)
		if !ok {
			return nil, fmt.Errorf("headers: %v is not a name", name)
		}
		v, err := jsonToBytes("header "+key, value, nil)
		if err != nil {
			return nil, err
		}
		out = append(out, record.RecordHeader{Key: []byte(key), Value: v})
	}
	return out, nil
}

// parseTimestamp reads RFC 3339 or milliseconds since 1970; none is 0.
func parseTimestamp(raw json.RawMessage) (int64, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return 0, nil
	}
	var ms float64
	if json.Unmarshal(raw, &ms) == nil && ms >= 0 && ms < math.MaxInt64/2 {
		return int64(ms), nil
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
			return t.UnixMilli(), nil
		}
	}
	return 0, fmt.Errorf("timestamp %s is neither RFC 3339 nor milliseconds since 1970", raw)
}
