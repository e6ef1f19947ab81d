package record

import (
	"errors"
	"testing"
)

// fuzzLimits are low, so that a fuzzer's small inputs can reach them.
var fuzzLimits = Limits{
	MaxBatchBytes: 1 << 20, MaxRecordBytes: 1 << 16, MaxDecompressedBytes: 1 << 18,
	MaxRecords: 1000, MaxHeaders: 16, MaxBatchHeaders: 100,
}

func fuzzSeeds(f *testing.F, add func(Batch)) {
	for _, codec := range codecs {
		add(build(f, BuilderOptions{Codec: codec}, sample(1, 5)))
		add(build(f, BuilderOptions{Codec: codec, Producer: &Producer{}}, sample(20, 50)))
	}
	for _, b := range foreign(f, append([]byte{0, 0, 0, 9}, build(f, BuilderOptions{}, sample(9, 30)).Payload()...)) {
		add(b)
	}
	add(raw(f, 0, 5))
	add(raw(f, 2, 5, 12, 0, 0, 2, 1, 1, 0, 12, 0, 0, 6, 1, 1, 0))
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 200))
	fuzzSeeds(f, func(b Batch) { f.Add([]byte(append(clone(b), b...))) })
	f.Fuzz(func(t *testing.T, buf []byte) {
		total := 0
		for b, err := range All(buf) {
			if err != nil {
				if !errors.Is(err, ErrTooShort) && !errors.Is(err, ErrLength) {
					t.Fatal(err)
				}
				return
			}
			if len(b) < HeaderSize || int(b.Length()) != len(b)-prefixSize {
				t.Fatalf("%d bytes, length field %d", len(b), b.Length())
			}
			total += len(b)
			checkAnyBatch(t, b)
		}
		if total != len(buf) {
			t.Fatalf("%d of %d bytes in batches", total, len(buf))
		}
	})
}

// FuzzRecords seals what the fuzzer makes, so that the checksum does not keep it from the records.
func FuzzRecords(f *testing.F) {
	fuzzSeeds(f, func(b Batch) {
		f.Add(uint16(b.Attributes()), b.Count(), b.LastOffsetDelta(), b.BaseSequence(), []byte(b.Payload()))
	})
	header := build(f, BuilderOptions{}, sample(1, 1))[:HeaderSize:HeaderSize]
	f.Fuzz(func(t *testing.T, attributes uint16, count, last, sequence int32, payload []byte) {
		checkAnyBatch(t, with(append(header, payload...), func(b Batch) {
			put16(offAttributes, attributes)(b)
			put32(offCount, count)(b)
			put32(offLastOffsetDelta, last)(b)
			put32(offBaseSequence, sequence)(b)
		}))
	})
}

// checkAnyBatch holds for every batch that Split lets through.
func checkAnyBatch(t *testing.T, b Batch) {
	valid := b.Validate(fuzzLimits)
	if b.ValidateProduced(fuzzLimits) == nil && valid != nil {
		t.Fatalf("fit to be produced, yet invalid: %v", valid)
	}
	d := NewDecoder(fuzzLimits)
	records, err := d.Decode(b, nil)
	if cap(d.scratch) > 2*fuzzLimits.MaxDecompressedBytes || cap(records) > 2*fuzzLimits.MaxRecords || cap(d.headers) > 2*fuzzLimits.MaxBatchHeaders {
		t.Fatalf("memory of %d bytes, %d records, %d headers", cap(d.scratch), cap(records), cap(d.headers))
	}
	checkUnpacked(t, new(Unpacked), b, fuzzLimits)
	if valid != nil {
		return
	}
	if err != nil || len(records) != int(b.Count()) {
		t.Fatalf("valid, yet %d of %d records and %v", len(records), b.Count(), err)
	}
	if err := checkRebuild(b, records); err != nil {
		t.Fatal(err)
	}
}
