package cli

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/wasmill/wasmill/core/record"
	client "github.com/wasmill/wasmill/sdk/client/go"
)

// recordWriter writes records in one of the formats. flush writes what a format holds back.
type recordWriter interface {
	record(*client.ConsumedRecord) error
	flush() error
	close() error
}

func newRecordWriter(w *bufio.Writer, format string, colors bool) (recordWriter, error) {
	switch format {
	case "value":
		return each(func(r *client.ConsumedRecord) error { return writeParts(w, r.Value, newline) }), nil
	case "kv":
		return each(func(r *client.ConsumedRecord) error { return writeParts(w, r.Key, tab, r.Value, newline) }), nil
	case "raw":
		return each(func(r *client.ConsumedRecord) error { return writeParts(w, r.Value) }), nil
	case "json":
		return each(func(r *client.ConsumedRecord) error { return writeJSONRecord(w, r) }), nil
	case "pretty":
		return each(func(r *client.ConsumedRecord) error { return writePretty(w, r, colors) }), nil
	case "batches":
		return &batchWriter{w: w}, nil
	}
	return nil, fmt.Errorf("unknown --format %q: one of value, kv, json, pretty, raw, batches", format)
}

var newline, tab = []byte{'\n'}, []byte{'\t'}

// each is a format that holds nothing back.
type each func(*client.ConsumedRecord) error

func (e each) record(r *client.ConsumedRecord) error { return e(r) }
func (e each) flush() error                          { return nil }
func (e each) close() error                          { return nil }

func writeParts(w *bufio.Writer, parts ...[]byte) error {
	for _, p := range parts {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// jsonOutput is a record as the HTTP API shows it.
type jsonOutput struct {
	Topic     string          `json:"topic,omitempty"`
	Partition int32           `json:"partition"`
	Offset    int64           `json:"offset"`
	Timestamp string          `json:"timestamp"`
	Key       json.RawMessage `json:"key,omitempty"`
	KeyB64    *string         `json:"key_b64,omitempty"`
	Value     json.RawMessage `json:"value,omitempty"`
	ValueB64  *string         `json:"value_b64,omitempty"`
	Headers   []jsonHeader    `json:"headers,omitempty"`
}

type jsonHeader struct {
	Key      string          `json:"key"`
	Value    json.RawMessage `json:"value,omitempty"`
	ValueB64 *string         `json:"value_b64,omitempty"`
}

const timeMillis = "2006-01-02T15:04:05.000Z07:00"

func writeJSONRecord(w *bufio.Writer, r *client.ConsumedRecord) error {
	return writeJSONLine(w, recordOutput(r))
}

func recordOutput(r *client.ConsumedRecord) jsonOutput {
	out := jsonOutput{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset,
		Timestamp: time.UnixMilli(r.Timestamp).UTC().Format(timeMillis),
	}
	out.Key, out.KeyB64 = bytesToJSON(r.Key)
	out.Value, out.ValueB64 = bytesToJSON(r.Value)
	for _, h := range r.Headers {
		jh := jsonHeader{Key: string(h.Key)}
		jh.Value, jh.ValueB64 = bytesToJSON(h.Value)
		out.Headers = append(out.Headers, jh)
	}
	return out
}

// bytesToJSON shows bytes so that jsonToBytes gives them back: compact JSON other than a string as
// it is, other text as a string, the rest in base64; null is null.
func bytesToJSON(b []byte) (json.RawMessage, *string) {
	switch {
	case b == nil:
		return json.RawMessage("null"), nil
	case len(b) > 0 && b[0] != '"' && json.Valid(b) && string(b) != "null" && isCompact(b):
		return b, nil
	case utf8.Valid(b):
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		if enc.Encode(string(b)) == nil {
			return bytes.TrimSuffix(buf.Bytes(), newline), nil
		}
	}
	s := base64.StdEncoding.EncodeToString(b)
	return nil, &s
}

// isCompact reports whether valid JSON has no blanks between its tokens, which a round trip would lose.
func isCompact(b []byte) bool {
	var buf bytes.Buffer
	return json.Compact(&buf, b) == nil && bytes.Equal(buf.Bytes(), b)
}

func writeJSONLine(w *bufio.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// writePretty shows one record to a person; control characters cannot reach the terminal.
func writePretty(w *bufio.Writer, r *client.ConsumedRecord, colors bool) error {
	paint := func(c text.Color, s string) string {
		if !colors {
			return s
		}
		return c.Sprint(s)
	}
	head := fmt.Sprintf("%s/%d @%d  %s", r.Topic, r.Partition, r.Offset, time.UnixMilli(r.Timestamp).UTC().Format(timeMillis))
	if r.Key != nil {
		head += "  key " + visible(r.Key)
	}
	fmt.Fprintln(w, paint(text.FgCyan, head))
	for _, h := range r.Headers {
		fmt.Fprintln(w, paint(text.FgHiBlack, "  "+visible(h.Key)+": "+visible(h.Value)))
	}
	var buf bytes.Buffer
	switch {
	case r.Value == nil:
		buf.WriteString("(null)")
	case json.Valid(r.Value) && json.Indent(&buf, r.Value, "  ", "  ") == nil:
	default:
		buf.Reset()
		buf.WriteString(visible(r.Value))
	}
	_, err := fmt.Fprintf(w, "  %s\n", buf.Bytes())
	return err
}

// visible is text as it is, and everything else quoted.
func visible(b []byte) string {
	if b == nil {
		return "(null)"
	}
	for _, c := range string(b) {
		if c == utf8.RuneError || !strconv.IsPrint(c) && c != '\n' && c != '\t' {
			return strconv.Quote(string(b))
		}
	}
	return string(b)
}

// batchWriter writes record batches of about outBatchBytes; a batch has records of one partition.
type batchWriter struct {
	w         *bufio.Writer
	b         record.Builder
	partition int32
	buf       []byte
}

const outBatchBytes = 64 << 10

func (bw *batchWriter) record(r *client.ConsumedRecord) error {
	if bw.b.Len() > 0 && (bw.partition != r.Partition || bw.b.Bytes() >= outBatchBytes) {
		if err := bw.flush(); err != nil {
			return err
		}
	}
	bw.partition = r.Partition
	bw.b.Append(record.Record{Timestamp: r.Timestamp, Key: r.Key, Value: r.Value, Headers: r.Headers})
	return nil
}

func (bw *batchWriter) flush() (err error) {
	if bw.b.Len() == 0 {
		return nil
	}
	if bw.buf, err = bw.b.Build(bw.buf[:0]); err != nil {
		return err
	}
	bw.b.Reset(record.BuilderOptions{})
	_, err = bw.w.Write(bw.buf)
	return err
}

func (bw *batchWriter) close() error { return bw.flush() }
