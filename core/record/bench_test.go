package record

import (
	"fmt"
	"testing"
)

// Shapes of batches: 64 KiB of 1 KiB records is what the produce path is measured with, small
// records are what parsing costs most.
var shapes = []struct {
	name        string
	count, size int
}{{"64x1KiB", 64, 1 << 10}, {"640x100B", 640, 100}, {"6400x10B", 6400, 10}}

// plainSample is sample without headers and nulls.
func plainSample(n, size int) []Record {
	records := sample(n, size)
	for i := range records {
		records[i] = Record{OffsetDelta: int32(i), Timestamp: records[i].Timestamp, Key: []byte("key"), Value: make([]byte, size)}
		copy(records[i].Value, fmt.Sprintf("value %d of something that compresses", i))
	}
	return records
}

func eachBatch(b *testing.B, run func(b *testing.B, batch Batch)) {
	for _, shape := range shapes {
		for _, codec := range codecs {
			batch := build(b, BuilderOptions{Codec: codec}, plainSample(shape.count, shape.size))
			b.Run(fmt.Sprintf("%s/%s", shape.name, codec), func(b *testing.B) {
				b.SetBytes(int64(shape.count * shape.size))
				b.ReportAllocs()
				run(b, batch)
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(shape.count), "ns/record")
			})
		}
	}
}

func BenchmarkCheckHeader(b *testing.B) {
	batch := build(b, BuilderOptions{}, plainSample(64, 1<<10))
	b.SetBytes(int64(len(batch)))
	b.ReportAllocs()
	for b.Loop() {
		if err := batch.CheckHeader(Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValidateProduced(b *testing.B) {
	eachBatch(b, func(b *testing.B, batch Batch) {
		for b.Loop() {
			if err := batch.ValidateProduced(Limits{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	eachBatch(b, func(b *testing.B, batch Batch) {
		d, records := NewDecoder(Limits{}), []Record(nil)
		for b.Loop() {
			var err error
			if records, err = d.Decode(batch, records[:0]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkUnpacked checks a batch and keeps its records: what ValidateProduced and Decode do one after the
// other.
func BenchmarkUnpacked(b *testing.B) {
	eachBatch(b, func(b *testing.B, batch Batch) {
		budget, u := newBudget(), new(Unpacked)
		for b.Loop() {
			if err := u.Add(b.Context(), budget, batch, Limits{}); err != nil || !u.Kept() {
				b.Fatal(err)
			}
			u.Release()
		}
	})
}

func BenchmarkBuild(b *testing.B) {
	eachBatch(b, func(b *testing.B, batch Batch) {
		records, err := NewDecoder(Limits{}).Decode(batch, nil)
		if err != nil {
			b.Fatal(err)
		}
		var w Builder
		var out []byte
		for b.Loop() {
			w.Reset(BuilderOptions{Codec: batch.Codec()})
			for i := range records {
				w.Append(records[i])
			}
			if out, err = w.Build(out[:0]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkFilterRaw drops every second record by copying the others' encoded bytes; the batch is decoded already.
func BenchmarkFilterRaw(b *testing.B) {
	eachBatch(b, func(b *testing.B, batch Batch) {
		d, err := decodeBatch(batch)
		if err != nil {
			b.Fatal(err)
		}
		w, out := new(Builder), []byte(nil)
		for b.Loop() {
			w.Replace(d)
			for i := 0; i < len(d.Records); i += 2 {
				w.AppendFrom(d, i)
			}
			if out, err = w.Build(out[:0]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkMurmur2(b *testing.B) {
	key := []byte("a key of usual length")
	b.SetBytes(int64(len(key)))
	for b.Loop() {
		_ = PartitionForKey(key, 12)
	}
}
