package record

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// checkSame compares what a batch decodes to with the records that it should hold.
func checkSame(b Batch, want []Record) error {
	if err := b.Validate(Limits{}); err != nil {
		return err
	}
	got, err := new(Decoder).Decode(b, nil)
	if err != nil {
		return err
	}
	if !slices.EqualFunc(got, want, sameRecord) {
		return fmt.Errorf("decoded %+v, want %+v", got, want)
	}
	return nil
}

// checkRebuild rebuilds a valid batch in both ways, record by record and raw, and compares.
func checkRebuild(b Batch, records []Record) error {
	d, err := decodeBatch(b)
	if err != nil {
		return err
	}
	var w, rawWriter Builder
	w.Replace(d)
	rawWriter.Replace(d)
	for i := range d.Records {
		w.Append(records[i])
		rawWriter.AppendFrom(d, i)
	}
	for name, from := range map[string]*Builder{"records": &w, "raw": &rawWriter} {
		out, err := from.Build(nil)
		if err != nil {
			return fmt.Errorf("rebuild from %s: %w", name, err)
		}
		again := Batch(out)
		if err := checkSame(again, records); err != nil {
			return fmt.Errorf("rebuilt from %s: %w", name, err)
		}
		if again.NextOffset() != b.NextOffset() || again.ProducerID() >= 0 && again.LastSequence() != b.LastSequence() {
			return fmt.Errorf("rebuilt from %s: next offset %d, want %d", name, again.NextOffset(), b.NextOffset())
		}
	}
	return nil
}

func drawRecords(t *rapid.T, keepDeltas bool) []Record {
	nullable := rapid.OneOf(rapid.Just([]byte(nil)), rapid.SliceOfN(rapid.Byte(), 0, 300))
	header := rapid.Custom(func(t *rapid.T) RecordHeader {
		return RecordHeader{Key: rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "name"), Value: nullable.Draw(t, "content")}
	})
	delta := int32(-1)
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Record {
		step := int32(1)
		if keepDeltas {
			step = rapid.Int32Range(1, 1<<20).Draw(t, "step")
		}
		delta += step
		return Record{
			OffsetDelta: delta, Attributes: rapid.Int8().Draw(t, "attributes"), Timestamp: rapid.Int64().Draw(t, "timestamp"),
			Key: nullable.Draw(t, "key"), Value: nullable.Draw(t, "value"),
			Headers: rapid.SliceOfN(header, 0, 4).Draw(t, "headers"),
		}
	}), 1, 40).Draw(t, "records")
}

func TestRoundTripOfAnything(t *testing.T) {
	var w Builder // reused throughout: nothing may leak from one batch to the next
	var out []byte
	rapid.Check(t, func(t *rapid.T) {
		o := BuilderOptions{
			Codec:         rapid.SampledFrom(codecs).Draw(t, "codec"),
			KeepDeltas:    rapid.Bool().Draw(t, "keep deltas"),
			BaseTimestamp: rapid.SampledFrom([]int64{0, 0, 1, -1, 1_700_000_000_000}).Draw(t, "base timestamp"),
		}
		if rapid.Bool().Draw(t, "idempotent") {
			o.Producer = &Producer{ID: rapid.Int64Min(0).Draw(t, "id"), Epoch: rapid.Int16Min(0).Draw(t, "epoch"), BaseSequence: rapid.Int32Min(0).Draw(t, "sequence")}
		}
		want := drawRecords(t, o.KeepDeltas)
		w.Reset(o)
		most := want[0].Timestamp
		for _, r := range want {
			w.Append(r)
			most = max(most, r.Timestamp)
		}
		var err error
		if out, err = w.Build(out[:0]); err != nil {
			t.Fatal(err)
		}
		b := Batch(out)
		if err := checkSame(b, want); err != nil {
			t.Fatal(err)
		}
		if b.MaxTimestamp() != most || w.Len() != len(want) || o.Codec == CodecNone && w.Bytes() != len(b) {
			t.Fatalf("max timestamp %d, want %d; %d records, %d bytes", b.MaxTimestamp(), most, w.Len(), w.Bytes())
		}
		if err := b.ValidateProduced(Limits{}); !o.KeepDeltas && err != nil {
			t.Fatal(err)
		}
		checkFilter(t, b, want)
	})
}

// checkFilter keeps a random part of the records in both ways.
func checkFilter(t *rapid.T, b Batch, records []Record) {
	keep := rapid.SliceOfN(rapid.Bool(), len(records), len(records)).Draw(t, "keep")
	var w Builder
	var want []Record
	d, err := decodeBatch(b)
	if err != nil {
		t.Fatal(err)
	}
	w.Replace(d)
	for i := range d.Records {
		if keep[i] {
			want = append(want, records[i])
			if i%2 == 0 {
				w.AppendFrom(d, i)
			} else {
				w.Append(records[i])
			}
		}
	}
	out, err := w.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	filtered := Batch(out)
	if err := checkSame(filtered, want); err != nil {
		t.Fatal(err)
	}
	if filtered.NextOffset() != b.NextOffset() || filtered.LastSequence() != b.LastSequence() {
		t.Fatalf("next offset %d, want %d", filtered.NextOffset(), b.NextOffset())
	}
	if len(want) == 0 && filtered.MaxTimestamp() != NoTimestamp {
		t.Fatalf("max timestamp %d of no records", filtered.MaxTimestamp())
	}
}

// TestModelCatchesFaults gives the comparison batches that are sound in themselves but wrong.
func TestModelCatchesFaults(t *testing.T) {
	want := sample(10, 20)
	faults := map[string]func(records []Record) []Record{
		"record lost":      func(r []Record) []Record { return r[:9] },
		"record twice":     func(r []Record) []Record { return append(r, Record{OffsetDelta: 10}) },
		"value changed":    func(r []Record) []Record { r[4].Value = []byte("other"); return r },
		"null for empty":   func(r []Record) []Record { r[0].Key = nil; return r },
		"timestamp off":    func(r []Record) []Record { r[9].Timestamp++; return r },
		"offset moved":     func(r []Record) []Record { r[9].OffsetDelta++; return r },
		"header lost":      func(r []Record) []Record { r[3].Headers = r[3].Headers[:1]; return r },
		"header not null":  func(r []Record) []Record { r[3].Headers[1].Value = []byte{}; return r },
		"attributes wrong": func(r []Record) []Record { r[0].Attributes = 1; return r },
	}
	if err := checkSame(build(t, BuilderOptions{KeepDeltas: true}, sample(10, 20)), want); err != nil {
		t.Fatal(err)
	}
	for name, fault := range faults {
		if err := checkSame(build(t, BuilderOptions{KeepDeltas: true}, fault(sample(10, 20))), want); err == nil {
			t.Errorf("%s: not noticed", name)
		}
	}
}

func TestLogAppendTime(t *testing.T) {
	b := with(build(t, BuilderOptions{}, sample(5, 10)), put16(offAttributes, uint16(AttrLogAppendTime)))
	for _, r := range decode(t, b) {
		if r.Timestamp != b.MaxTimestamp() {
			t.Fatalf("timestamp %d, want the batch's %d", r.Timestamp, b.MaxTimestamp())
		}
	}
	var w Builder
	w.resetLike(b)
	w.Append(Record{OffsetDelta: 2, Timestamp: 5})
	out, err := w.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := decode(t, Batch(out)); got[0].Timestamp != b.MaxTimestamp() {
		t.Fatalf("rebuilt timestamp %d", got[0].Timestamp)
	}
}
