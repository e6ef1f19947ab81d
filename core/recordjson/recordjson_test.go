package recordjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
)

// collected is a reader and what it read.
type collected struct {
	Reader
	records    []record.Record
	partitions []int32
}

func newReader() *collected {
	c := &collected{Reader: Reader{MaxRecords: 1000, Partition: -1, Now: 5}}
	c.Record = func(r record.Record, partition int32) {
		c.records, c.partitions = append(c.records, r), append(c.partitions, partition)
	}
	return c
}

func TestBrokenJSONSaysWhere(t *testing.T) {
	type read = func(*Reader, []byte) error
	for _, c := range []struct {
		name         string
		read         read
		body         string
		line, column int
		says         string
	}{
		{"empty", (*Reader).Read, ``, 1, 1, "the text ends"},
		{"not an object", (*Reader).Read, ` [1]`, 1, 2, "records"},
		{"no records", (*Reader).Read, `{}`, 1, 3, "no member"},
		{"other member", (*Reader).Read, "{\n \"record\":[]}", 2, 2, `"record"`},
		{"twice", (*Reader).Read, `{"records":[],"records":[]}`, 1, 15, "repeated"},
		{"missing comma", (*Reader).Read, "{\"records\":[\n{} {}]}", 2, 4, "comma"},
		{"trailing comma", (*Reader).Read, `{"records":[{},]}`, 1, 16, "a record"},
		{"trailing text", (*Reader).Read, "{\"records\":[]}\nx", 2, 1, "the end of the text"},
		{"cut string", (*Reader).Read, `{"records":[{"key":"abc`, 1, 24, "within the string"},
		{"control character", (*Reader).Read, "{\"records\":[{\"key\":\"a\x01\"}]}", 1, 22, "control character"},
		{"bad escape", (*Reader).Read, `{"records":[{"key":"a\x"}]}`, 1, 22, "escape"},
		{"bad hex", (*Reader).Read, `{"records":[{"key":"\u12g4"}]}`, 1, 21, "escape"},
		{"not UTF-8", (*Reader).Read, "{\"records\":[{\"key\":\"ab\xff\"}]}", 1, 23, "UTF-8"},
		{"bad number", (*Reader).Read, `{"records":[{"value":1.}]}`, 1, 24, "a digit"},
		{"leading zero", (*Reader).Read, `{"records":[{"value":01}]}`, 1, 23, "comma"},
		{"bad literal", (*Reader).Read, `{"records":[{"value":nul}]}`, 1, 22, "a value"},
		{"unknown record member", (*Reader).Read, `{"records":[{"vaule":1}]}`, 1, 14, "vaule"},
		{"two values", (*Reader).Read, `{"records":[{"value":1,"value_b64":""}]}`, 1, 24, "twice"},
		{"bad base64", (*Reader).Read, `{"records":[{"value_b64":"a"}]}`, 1, 26, "base64"},
		{"base64 is no string", (*Reader).Read, `{"records":[{"value_b64":1}]}`, 1, 26, "a string"},
		{"bad timestamp", (*Reader).Read, `{"records":[{"timestamp":"yesterday"}]}`, 1, 26, "timestamp"},
		{"fractional timestamp", (*Reader).Read, `{"records":[{"timestamp":1.5}]}`, 1, 26, "milliseconds"},
		{"negative partition", (*Reader).Read, `{"records":[{"partition":-1}]}`, 1, 26, "partition"},
		{"partition is text", (*Reader).Read, `{"records":[{"partition":"1"}]}`, 1, 26, "partition"},
		{"headers are text", (*Reader).Read, `{"records":[{"headers":"x"}]}`, 1, 24, "headers"},
		{"header without key", (*Reader).Read, `{"records":[{"headers":[{"value":"x"}]}]}`, 1, 25, "no key"},
		{"header with null key", (*Reader).Read, `{"records":[{"headers":[{"key":null}]}]}`, 1, 26, "null"},
		{"line after compacted value", (*Reader).Read, "{\"records\":[{\"value\":{\n\"a\" :\n 1 }},\n  x]}", 4, 3, "a record"},
		{"broken line", (*Reader).ReadLines, "{}\n\n{\"key\":1\n{}", 3, 9, "one line"},
		{"two on a line", (*Reader).ReadLines, "{}\n{} {}", 2, 4, "the end of the line"},
		{"value on a line", (*Reader).ReadLines, "{}\n12", 2, 1, "a record"},
		{"too deep", (*Reader).ReadLines, `{"value":` + strings.Repeat("[", 600), 1, 10 + maxDepth, "deep"},
	} {
		err := c.read(&newReader().Reader, []byte(c.body))
		var se *syntaxError
		if !errors.As(err, &se) {
			t.Errorf("%s: error %v", c.name, err)
			continue
		}
		if se.line != c.line || se.column != c.column || !strings.Contains(se.message, c.says) {
			t.Errorf("%s: %v; want line %d, column %d, %q", c.name, se, c.line, c.column, c.says)
		}
		p := errcode.From(err)
		if p.Code != errcode.InvalidJSON || p.Fields["line"] != c.line || p.Fields["position"] != se.pos {
			t.Errorf("%s: problem %v %v", c.name, p, p.Fields)
		}
	}
}

// The scanner agrees with encoding/json about what is JSON, and compacts alike. It differs on purpose
// in refusing text that is not UTF-8 and nesting beyond its limit.
func checkScanner(t interface{ Errorf(string, ...any) }, text []byte) {
	own := bytes.Clone(text)
	s := newScanner(own)
	got, err := s.value()
	got = bytes.Clone(got)
	if err == nil {
		err = s.end()
	}
	want := utf8.Valid(text) && json.Valid(text) && depth(text) <= maxDepth
	if (err == nil) != want {
		t.Errorf("%q: error %v, encoding/json says valid: %v", text, err, want)
		return
	}
	var compact bytes.Buffer
	if want && json.Compact(&compact, text) == nil && !bytes.Equal(got, compact.Bytes()) {
		t.Errorf("%q is compacted to %q, want %q", text, got, compact.Bytes())
	}
	var se *syntaxError
	if errors.As(err, &se) {
		if at := place(text, se.pos); at.line != se.line || at.column != se.column || se.pos > len(text) {
			t.Errorf("%q: fault at %d is told as line %d, column %d; it is at %d, %d", text, se.pos, se.line, se.column, at.line, at.column)
		}
	}
}

func depth(text []byte) (deepest int) {
	d, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '[' || c == '{'):
			d++
			deepest = max(deepest, d)
		case !quoted && (c == ']' || c == '}'):
			d--
		}
	}
	return deepest
}

func FuzzScanner(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e-3,null,true,"x\u00e9\n"] , "b" : {} }`, `[`, `"\ud800"`, "{\n\"a\":\n}", ` -0 `, `01`, "\"\xff\"", `[[[]]]`, "\ufeff1"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) { checkScanner(t, text) })
}

func TestScannerAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune("{}[]\",:\\ \n\ttrufalsn0123-+.eEx\u00e9\U0001F600")), 0, 40, -1).Draw(t, "text")
		checkScanner(t, []byte(text))
	})
}

// Strings come out of the scanner as encoding/json reads them.
func TestTextAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		inside := rapid.StringOfN(rapid.RuneFrom([]rune("ab\\\\\\\"/bfnrtu0d8cDE\u00e9\U0001F600")), 0, 40, -1).Draw(t, "inside")
		quoted := []byte(`"` + inside + `"`)
		var want string
		valid := json.Unmarshal(quoted, &want) == nil
		s := newScanner(bytes.Clone(quoted))
		got, err := s.text()
		if err == nil {
			err = s.end()
		}
		if (err == nil) != valid || valid && string(got) != want {
			t.Errorf("%s is read as %q (%v), want %q (%v)", quoted, got, err, want, valid)
		}
	})
}

// Every record that is shown as JSON and produced again has the same bytes, but for the white space
// of values that are JSON.
func TestRecordRoundTripAgainstModel(t *testing.T) {
	bytesOf := rapid.OneOf(
		rapid.SliceOfN(rapid.Byte(), 0, 20),
		rapid.Map(rapid.StringOfN(rapid.RuneFrom([]rune("{}[]\",:\\ \n0123.trufalsn\u00e9")), 0, 20, -1), func(s string) []byte { return []byte(s) }),
		rapid.SampledFrom([][]byte{nil, {}, []byte("null"), []byte("true"), []byte(`"x"`), []byte(`{"a": [1, null]}`), []byte("1e9"), []byte("-"), []byte(" 1 ")}),
	)
	rapid.Check(t, func(t *rapid.T) {
		in := record.Record{Timestamp: rapid.Int64Range(minTimestamp, maxTimestamp).Draw(t, "time"),
			Key: bytesOf.Draw(t, "key"), Value: bytesOf.Draw(t, "value")}
		if rapid.Bool().Draw(t, "header") {
			in.Headers = []record.RecordHeader{{Key: append([]byte{}, bytesOf.Draw(t, "header key")...), Value: bytesOf.Draw(t, "header value")}}
		}
		text := append(AppendContents([]byte("{"), &in), '}')
		if !json.Valid(text) || !utf8.Valid(text) || bytes.ContainsAny(text, "\n\r") {
			t.Fatalf("not a line of JSON: %q", text)
		}
		r := newReader()
		if err := r.ReadLines(bytes.Clone(text)); err != nil {
			if in.Timestamp < 0 {
				return // cannot be produced as a bare number either
			}
			t.Fatalf("%s: %v", text, err)
		}
		out := r.records[0]
		same(t, "key", in.Key, out.Key)
		same(t, "value", in.Value, out.Value)
		if out.Timestamp != in.Timestamp && in.Timestamp != -1 {
			t.Errorf("timestamp %d became %d", in.Timestamp, out.Timestamp)
		}
		if len(out.Headers) != len(in.Headers) {
			t.Fatalf("%d headers became %d", len(in.Headers), len(out.Headers))
		}
		for i := range in.Headers {
			same(t, "header key", in.Headers[i].Key, out.Headers[i].Key)
			same(t, "header value", in.Headers[i].Value, out.Headers[i].Value)
		}
	})
}

func same(t *rapid.T, what string, in, out []byte) {
	var compact bytes.Buffer
	if utf8.Valid(in) && json.Compact(&compact, in) == nil && compact.String() != "null" && in[0] != '"' && what != "header value" && what != "header key" {
		in = compact.Bytes()
	}
	if !bytes.Equal(in, out) || (in == nil) != (out == nil) {
		t.Errorf("%s %q became %q", what, in, out)
	}
}

// Whatever comes, parsing neither panics nor reads records out of text that is not JSON.
func FuzzRecords(f *testing.F) {
	for _, s := range []string{`{"records":[{"key":"a","value":{"x":[1]},"headers":{"h":"v"},"timestamp":1,"partition":2}]}`,
		"{\"value_b64\":\"AAAA\"}\n{\"headers\":[{\"key\":\"k\",\"value\":null}]}\n", `{"records":[`, "\n\n{}\r\n", `{"timestamp":"2026-01-02T03:04:05Z"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := newReader()
		if err := r.Read(bytes.Clone(body)); err == nil && !json.Valid(body) {
			t.Errorf("%q is taken for JSON", body)
		}
		r = newReader()
		if err := r.ReadLines(bytes.Clone(body)); err == nil {
			n := 0
			for line := range bytes.Lines(body) {
				if line = bytes.TrimSpace(line); len(line) > 0 {
					n++
					if !json.Valid(line) {
						t.Errorf("line %q is taken for JSON", line)
					}
				}
			}
			if n != len(r.records) {
				t.Errorf("%d records on %d lines", len(r.records), n)
			}
		}
		if req, err := newReader().ReadDryRun(bytes.Clone(body)); err == nil && req.Config != nil && !json.Valid(req.Config) {
			t.Errorf("config %q", req.Config)
		}
	})
}
