package record

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
)

var codecs = []Codec{CodecNone, CodecGzip, CodecSnappy, CodecLZ4, CodecZstd}

// sample is n records of about size value bytes, compressible, some with nulls and headers.
func sample(n, size int) []Record {
	records := make([]Record, n)
	for i := range records {
		r := Record{
			OffsetDelta: int32(i), Timestamp: 1_700_000_000_000 + int64(i%7),
			Key:   fmt.Appendf(nil, "key-%d", i),
			Value: bytes.Repeat(fmt.Appendf(nil, "value %d of the sample; ", i), 1+size/20)[:size],
		}
		switch i % 5 {
		case 1:
			r.Key = nil
		case 2:
			r.Value = nil
		case 3:
			r.Headers = []RecordHeader{{Key: []byte("trace"), Value: []byte("abc")}, {Key: []byte{}, Value: nil}}
		}
		records[i] = r
	}
	return records
}

func build(t testing.TB, o BuilderOptions, records []Record) Batch {
	t.Helper()
	var w Builder
	w.Reset(o)
	for _, r := range records {
		w.Append(r)
	}
	out, err := w.Build(nil)
	if err != nil {
		t.Fatalf("build: %v", err)
	}
	return Batch(out)
}

func decode(t testing.TB, b Batch) []Record {
	t.Helper()
	var d Decoder
	records, err := d.Decode(b, nil)
	if err != nil {
		t.Fatalf("decode: %v", err)
	}
	return records
}

// decodeBatch decodes b with memory of its own.
func decodeBatch(b Batch) (*Decoded, error) {
	var d Decoder
	records, err := d.Decode(b, nil)
	decoded := d.decoded(b, records)
	return &decoded, err
}

func sameBytes(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func sameRecord(a, b Record) bool {
	return a.OffsetDelta == b.OffsetDelta && a.Timestamp == b.Timestamp && a.Attributes == b.Attributes &&
		sameBytes(a.Key, b.Key) && sameBytes(a.Value, b.Value) &&
		slices.EqualFunc(a.Headers, b.Headers, func(x, y RecordHeader) bool {
			return bytes.Equal(x.Key, y.Key) && sameBytes(x.Value, y.Value)
		})
}

func wantRecords(t testing.TB, got, want []Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d records, want %d", len(got), len(want))
	}
	for i := range want {
		if !sameRecord(got[i], want[i]) {
			t.Fatalf("record %d: got %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestBuildDecode(t *testing.T) {
	for _, codec := range codecs {
		for _, n := range []int{1, 2, 100, 5000} {
			t.Run(fmt.Sprintf("%s/%d", codec, n), func(t *testing.T) {
				want := sample(n, 100)
				b := build(t, BuilderOptions{Codec: codec, Producer: &Producer{ID: 7, Epoch: 2, BaseSequence: 11}}, want)
				if err := b.ValidateProduced(Limits{}); err != nil {
					t.Fatal(err)
				}
				wantRecords(t, decode(t, b), want)
				if b.Count() != int32(n) || b.LastOffsetDelta() != int32(n-1) || b.Codec() != codec ||
					b.ProducerID() != 7 || b.ProducerEpoch() != 2 || b.BaseSequence() != 11 ||
					b.LastSequence() != int32(11+n-1) || b.BaseTimestamp() != want[0].Timestamp ||
					b.MaxTimestamp() != want[0].Timestamp+int64(min(n-1, 6)) {
					t.Fatalf("header: %v", []byte(b[:HeaderSize]))
				}
			})
		}
	}
}

func TestBuilderMisuse(t *testing.T) {
	cases := map[string]func(w *Builder){
		"nothing appended": func(w *Builder) {},
		"deltas go back": func(w *Builder) {
			w.Reset(BuilderOptions{KeepDeltas: true})
			w.Append(Record{OffsetDelta: 5})
			w.Append(Record{OffsetDelta: 5})
		},
		"negative delta": func(w *Builder) {
			w.Reset(BuilderOptions{KeepDeltas: true})
			w.Append(Record{OffsetDelta: -1})
		},
		"last delta below": func(w *Builder) {
			w.resetLike(build(t, BuilderOptions{}, sample(1, 1)))
			w.Append(Record{})
			w.Append(Record{OffsetDelta: 1})
		},
		"record of another batch": func(w *Builder) {
			d, err := decodeBatch(build(t, BuilderOptions{}, sample(1, 1)))
			if err != nil {
				t.Fatal(err)
			}
			w.AppendFrom(d, 0)
		},
	}
	for name, use := range cases {
		t.Run(name, func(t *testing.T) {
			var w Builder
			use(&w)
			out, err := w.Build([]byte("kept"))
			if !errors.Is(err, ErrBuilder) || string(out) != "kept" {
				t.Fatalf("got %q, %v", out, err)
			}
		})
	}
}
