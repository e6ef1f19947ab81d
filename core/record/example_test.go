package record_test

import (
	"context"
	"fmt"

	"golang.org/x/sync/semaphore"

	"github.com/wasmill/wasmill/core/record"
)

// exampleBatch is a batch of three records.
func exampleBatch(codec record.Codec) record.Batch {
	var b record.Builder
	b.Reset(record.BuilderOptions{Codec: codec})
	for _, value := range []string{"one", "two", "three"} {
		b.Append(record.Record{Timestamp: 1_700_000_000_000, Key: []byte("k"), Value: []byte(value)})
	}
	data, err := b.Build(nil)
	if err != nil {
		panic(err)
	}
	return data
}

func ExampleBuilder() {
	var b record.Builder
	b.Reset(record.BuilderOptions{
		Codec:    record.CodecZstd,
		Producer: &record.Producer{ID: 7, Epoch: 0, BaseSequence: 40},
	})
	b.Append(record.Record{Timestamp: 1_700_000_000_000, Key: []byte("k"), Value: []byte("v")})
	b.Append(record.Record{Timestamp: 1_700_000_000_001, Key: []byte("k"), Value: nil}) // null
	data, err := b.Build(nil)
	if err != nil {
		panic(err)
	}
	batch := record.Batch(data)
	batch.SetBaseOffset(100) // the leader does so; the checksum does not cover it
	fmt.Println(batch.Count(), "records,", batch.Codec(), "offsets", batch.BaseOffset(), "to", batch.LastOffset())
	fmt.Println("sequence", batch.BaseSequence(), "to", batch.LastSequence())
	fmt.Println(batch.ValidateProduced(record.DefaultLimits()))
	// Output:
	// 2 records, zstd offsets 100 to 101
	// sequence 40 to 41
	// <nil>
}

// A fetch returns batches back to back. All walks them, a Decoder reads the records.
func ExampleAll() {
	second := exampleBatch(record.CodecGzip)
	second.SetBaseOffset(3)
	fetched := append(exampleBatch(record.CodecNone), second...)

	var d record.Decoder
	var records []record.Record
	for batch, err := range record.All(fetched) {
		if err == nil {
			err = batch.Validate(record.DefaultLimits())
		}
		if err == nil {
			records, err = d.Decode(batch, records[:0]) // valid until the next call
		}
		if err != nil {
			panic(err)
		}
		for _, r := range records {
			fmt.Printf("%d %s\n", batch.BaseOffset()+int64(r.OffsetDelta), r.Value)
		}
	}
	// Output:
	// 0 one
	// 1 two
	// 2 three
	// 3 one
	// 4 two
	// 5 three
}

// memory is 64 MiB for a Budget. A broker uses package admission.
type memory struct{ *semaphore.Weighted }

const memoryBytes = 64 << 20

func (memory) Limit() int64 { return memoryBytes }

// A broker checks the batches of a request, and keeps their records decoded for a transform. What is left of
// a batch replaces it: the records that stay are copied as they are encoded, and keep their offsets.
func ExampleUnpacked() {
	budget := record.NewBudget(memory{semaphore.NewWeighted(memoryBytes)})
	var u record.Unpacked
	defer u.Release()
	if err := u.Add(context.Background(), budget, exampleBatch(record.CodecLZ4), record.DefaultLimits()); err != nil {
		panic(err)
	}
	if !u.Kept() {
		return // no room: the records must be decoded again, one batch at a time
	}
	decoded := u.Batch(0)
	var b record.Builder
	b.Replace(decoded)
	for i, r := range decoded.Records {
		if len(r.Value) > 3 {
			b.AppendFrom(decoded, i)
		}
	}
	data, err := b.Build(nil)
	if err != nil {
		panic(err)
	}
	left := record.Batch(data)
	fmt.Println(left.Count(), "record,", left.Codec(), "it spans", left.NextOffset(), "offsets")
	// Output:
	// 1 record, lz4 it spans 3 offsets
}

// A Draft collects records that are encoded only after a transform.
func ExampleDraft() {
	var d record.Draft
	d.Reset(record.CodecNone)
	d.Append(record.Record{Timestamp: 1_700_000_000_000, Value: []byte("a")})
	d.Append(record.Record{Timestamp: 1_700_000_000_000, Value: []byte("b")})
	fmt.Println(d.Len(), "records,", d.Bytes(), "bytes")

	decoded := d.Decoded()
	changed := decoded.Records[1]
	changed.Value = []byte("B")
	var b record.Builder
	b.Replace(&decoded)
	b.AppendFrom(&decoded, 0)
	b.Append(changed)
	data, err := b.Build(nil)
	fmt.Println(len(data), "bytes,", err)
	// Output:
	// 2 records, 77 bytes
	// 77 bytes, <nil>
}

// Records with a key go where Kafka's clients send them.
func ExamplePartitionForKey() {
	for _, key := range []string{"a", "b", "c"} {
		fmt.Println(key, record.PartitionForKey([]byte(key), 12))
	}
	// Output:
	// a 4
	// b 8
	// c 10
}
