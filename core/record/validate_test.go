package record

import (
	"encoding/binary"
	"errors"
	"math"
	"sync"
	"testing"
)

// seal writes a right length and checksum, so that a test reaches what lies behind those checks.
func seal(b Batch) Batch {
	binary.BigEndian.PutUint32(b[offLength:], uint32(len(b)-prefixSize))
	binary.BigEndian.PutUint32(b[offCRC:], b.checksum())
	return b
}

func clone(b Batch) Batch { return append(Batch(nil), b...) }

// with is a sealed copy of b whose bytes were changed by set.
func with(b Batch, set func(b Batch)) Batch {
	c := clone(b)
	set(c)
	return seal(c)
}

func put32(at int, v int32) func(Batch) {
	return func(b Batch) { binary.BigEndian.PutUint32(b[at:], uint32(v)) }
}

func put16(at int, v uint16) func(Batch) {
	return func(b Batch) { binary.BigEndian.PutUint16(b[at:], v) }
}

// raw is a sealed batch of count records whose section is given byte by byte.
func raw(t testing.TB, count, last int32, section ...byte) Batch {
	b := build(t, BuilderOptions{}, sample(1, 1))[:HeaderSize:HeaderSize]
	return with(append(b, section...), func(b Batch) {
		put32(offCount, count)(b)
		put32(offLastOffsetDelta, last)(b)
	})
}

func TestCheckHeader(t *testing.T) {
	good := build(t, BuilderOptions{Producer: &Producer{ID: 1}}, sample(10, 20))
	unsealed := func(set func(Batch)) Batch {
		c := clone(good)
		set(c)
		return c
	}
	cases := []struct {
		name   string
		b      Batch
		limits Limits
		want   error
	}{
		{"good", good, Limits{}, nil},
		{"empty", Batch{}, Limits{}, ErrTooShort},
		{"part of a header", good[:HeaderSize-1], Limits{}, ErrTooShort},
		{"cut", good[:len(good)-1], Limits{}, ErrLength},
		{"two batches", append(clone(good), good...), Limits{}, ErrLength},
		{"length lies", unsealed(put32(offLength, -5)), Limits{}, ErrLength},
		{"message set v1", unsealed(func(b Batch) { b[offMagic] = 1 }), Limits{}, ErrMagic},
		{"wrong checksum", unsealed(func(b Batch) { b[offCRC] ^= 1 }), Limits{}, ErrCRC},
		{"flipped payload", unsealed(func(b Batch) { b[len(b)-1] ^= 1 }), Limits{}, ErrCRC},
		{"codec 5", with(good, put16(offAttributes, 5)), Limits{}, ErrCodec},
		{"negative count", with(good, put32(offCount, -1)), Limits{}, ErrCount},
		{"more records than offsets", with(good, put32(offCount, 11)), Limits{}, ErrCount},
		{"negative last delta", with(good, put32(offLastOffsetDelta, -1)), Limits{}, ErrCount},
		{"too large", good, Limits{MaxBatchBytes: len(good) - 1}, ErrTooLarge},
		{"just not too large", good, Limits{MaxBatchBytes: len(good)}, nil},
		{"too many records", good, Limits{MaxRecords: 9}, ErrTooLarge},
		{"just not too many", good, Limits{MaxRecords: 10}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := c.b.CheckHeader(c.limits); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err := c.b.Validate(c.limits); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("Validate got %v, want %v", err, c.want)
			}
		})
	}
}

// TestEveryFlippedBitIsFound is the proof that the checksum covers what it must: no bit beyond base
// offset and leader epoch can change unnoticed.
func TestEveryFlippedBitIsFound(t *testing.T) {
	for _, codec := range codecs {
		b := build(t, BuilderOptions{Codec: codec}, sample(4, 10))
		for i := range b {
			patchable := i < offLength || i >= offLeaderEpoch && i < offMagic
			for bit := range 8 {
				c := clone(b)
				c[i] ^= 1 << bit
				if err := c.Validate(Limits{}); (err == nil) != patchable {
					t.Fatalf("%s: byte %d bit %d: %v", codec, i, bit, err)
				}
			}
		}
	}
}

func TestValidateRecords(t *testing.T) {
	good := build(t, BuilderOptions{}, sample(10, 20))
	cases := []struct {
		name   string
		b      Batch
		limits Limits
		want   error
	}{
		{"fewer records than claimed", with(good, func(b Batch) {
			put32(offCount, 11)(b)
			put32(offLastOffsetDelta, 10)(b)
		}), Limits{}, ErrRecord},
		{"more records than claimed", with(good, put32(offCount, 9)), Limits{}, ErrRecord},
		{"count beyond the bytes", with(good, func(b Batch) {
			put32(offCount, 200_000)(b)
			put32(offLastOffsetDelta, 200_000)(b)
		}), Limits{}, ErrCount},
		{"last delta too small", with(build(t, BuilderOptions{KeepDeltas: true},
			[]Record{{OffsetDelta: 1}, {OffsetDelta: 5}}), put32(offLastOffsetDelta, 4)), Limits{}, ErrOffsets},
		{"smallest record", raw(t, 1, 0, 12, 0, 0, 0, 1, 1, 0), Limits{}, nil},
		{"length 0", raw(t, 1, 0, 0, 0, 0, 0, 1, 1, 0), Limits{}, ErrRecord},
		{"length negative", raw(t, 1, 0, 11, 0, 0, 0, 1, 1, 0), Limits{}, ErrRecord},
		{"length beyond the batch", raw(t, 1, 0, 14, 0, 0, 0, 1, 1, 0), Limits{}, ErrRecord},
		{"length too small", raw(t, 1, 0, 10, 0, 0, 0, 1, 1, 0), Limits{}, ErrRecord},
		{"length too large for an int32", raw(t, 1, 0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0x7f, 0), Limits{}, ErrRecord},
		{"length of five bytes", raw(t, 1, 0, 0x8c, 0x80, 0x80, 0x80, 0, 0, 0, 0, 1, 1, 0), Limits{}, nil},
		{"length of six bytes", raw(t, 1, 0, 0x8c, 0x80, 0x80, 0x80, 0x80, 0, 0, 0, 0, 1, 1, 0), Limits{}, ErrRecord},
		{"varint without end", raw(t, 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), Limits{}, ErrRecord},
		{"key length -2", raw(t, 1, 0, 12, 0, 0, 0, 3, 1, 0), Limits{}, ErrRecord},
		{"key beyond the record", raw(t, 1, 0, 12, 0, 0, 0, 20, 1, 0), Limits{}, ErrRecord},
		{"value beyond the record", raw(t, 1, 0, 12, 0, 0, 0, 1, 4, 0), Limits{}, ErrRecord},
		{"value reaches the next record", raw(t, 2, 1, 12, 0, 0, 0, 1, 14, 0, 12, 0, 0, 2, 1, 1, 0), Limits{}, ErrRecord},
		{"negative header count", raw(t, 1, 0, 12, 0, 0, 0, 1, 1, 1), Limits{}, ErrRecord},
		{"headers that are not there", raw(t, 1, 0, 12, 0, 0, 0, 1, 1, 2), Limits{}, ErrRecord},
		{"header", raw(t, 1, 0, 18, 0, 0, 0, 1, 1, 2, 2, 'k', 1), Limits{}, nil},
		{"header with a null key", raw(t, 1, 0, 16, 0, 0, 0, 1, 1, 2, 1, 1), Limits{}, ErrRecord},
		{"byte after the headers", raw(t, 1, 0, 18, 0, 0, 0, 1, 1, 2, 0, 1, 0), Limits{}, ErrRecord},
		{"byte after no headers", raw(t, 1, 0, 14, 0, 0, 0, 1, 1, 0, 0), Limits{}, ErrRecord},
		{"byte after the records", raw(t, 1, 0, 12, 0, 0, 0, 1, 1, 0, 0), Limits{}, ErrRecord},
		{"offsets equal", raw(t, 2, 5, 12, 0, 0, 2, 1, 1, 0, 12, 0, 0, 2, 1, 1, 0), Limits{}, ErrOffsets},
		{"offsets with holes", raw(t, 2, 5, 12, 0, 0, 2, 1, 1, 0, 12, 0, 0, 6, 1, 1, 0), Limits{}, nil},
		{"offset negative", raw(t, 1, 0, 12, 0, 0, 1, 1, 1, 0), Limits{}, ErrOffsets},
		{"no records", raw(t, 0, 5), Limits{}, nil},
		{"no records but bytes", raw(t, 0, 5, 0), Limits{}, ErrRecord},
		{"record too large", good, Limits{MaxRecordBytes: 20}, ErrTooLarge},
		{"too many headers of a record", good, Limits{MaxHeaders: 1}, ErrTooLarge},
		{"too many headers of the batch", good, Limits{MaxBatchHeaders: 3}, ErrTooLarge},
		{"just enough headers", good, Limits{MaxHeaders: 2, MaxBatchHeaders: 4}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := c.b.Validate(c.limits); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			// The decoder refuses the same, but for the order of offsets, which it leaves to Validate.
			_, err := NewDecoder(c.limits).Decode(c.b, nil)
			if want := c.want; want != ErrOffsets && (!errors.Is(err, want) || (err == nil) != (want == nil)) {
				t.Fatalf("Decode got %v, want %v", err, want)
			}
		})
	}
}

func TestValidateProduced(t *testing.T) {
	good := build(t, BuilderOptions{Producer: &Producer{ID: 1}}, sample(10, 20))
	plain := build(t, BuilderOptions{}, sample(10, 20))
	put64 := func(at int, v int64) func(Batch) {
		return func(b Batch) { binary.BigEndian.PutUint64(b[at:], uint64(v)) }
	}
	cases := []struct {
		name string
		b    Batch
		want error
	}{
		{"idempotent", good, nil},
		{"plain", plain, nil},
		{"transactional", with(good, put16(offAttributes, uint16(AttrTransactional))), nil},
		{"transactional without producer", with(plain, put16(offAttributes, uint16(AttrTransactional))), ErrProducer},
		{"control", with(good, put16(offAttributes, uint16(AttrControl))), ErrAttributes},
		{"log append time", with(good, put16(offAttributes, uint16(AttrLogAppendTime))), ErrAttributes},
		{"delete horizon", with(good, put16(offAttributes, uint16(AttrDeleteHorizon))), ErrAttributes},
		{"unknown flag", with(good, put16(offAttributes, 1<<9)), ErrAttributes},
		{"producer id -2", with(good, put64(offProducerID, -2)), ErrProducer},
		{"negative epoch", with(good, put16(offProducerEpoch, math.MaxUint16)), ErrProducer},
		{"negative sequence", with(good, put32(offBaseSequence, -1)), ErrProducer},
		{"sequence without a producer is ignored", with(plain, put32(offBaseSequence, 0)), nil},
		{"no records", raw(t, 0, 5), ErrCount},
		{"spans more offsets", with(good, put32(offLastOffsetDelta, 10)), ErrCount},
		{"hole", raw(t, 2, 1, 12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 4, 1, 1, 0), ErrOffsets},
		{"first is not 0", raw(t, 2, 1, 12, 0, 0, 2, 1, 1, 0, 12, 0, 0, 4, 1, 1, 0), ErrOffsets},
		{"bad record", raw(t, 1, 0, 12, 0, 0, 0, 3, 1, 0), ErrRecord},
		{"bad checksum", Batch(append(clone(good)[:len(good)-1], 0xee)), ErrCRC},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := c.b.ValidateProduced(Limits{}); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			checkUnpacked(t, new(Unpacked), c.b, Limits{})
		})
	}
}

// TestConcurrentValidation shares batches and the pooled decompressors; the race detector judges.
func TestConcurrentValidation(t *testing.T) {
	var wg sync.WaitGroup
	for _, codec := range codecs {
		good := build(t, BuilderOptions{Codec: codec}, sample(300, 100))
		bad := with(good, func(b Batch) { b[len(b)-1] ^= 0xff; b[len(b)/2] ^= 0xff })
		for range 3 {
			wg.Go(func() {
				for range 20 {
					if err := good.ValidateProduced(Limits{}); err != nil {
						t.Errorf("%s: %v", codec, err)
					}
					// What is wrong must not spoil the decompressor for the next batch.
					_ = bad.Validate(Limits{})
				}
			})
		}
	}
	wg.Wait()
}

func TestNoAllocations(t *testing.T) {
	b := build(t, BuilderOptions{}, sample(100, 100))
	d := NewDecoder(Limits{})
	w := new(Builder)
	var records []Record
	var out []byte
	checks := map[string]func() error{
		"CheckHeader":      func() error { return b.CheckHeader(Limits{}) },
		"Validate":         func() error { return b.Validate(Limits{}) },
		"ValidateProduced": func() error { return b.ValidateProduced(Limits{}) },
		"Split":            func() error { _, _, err := Split(b); return err },
		"Decode": func() (err error) {
			records, err = d.Decode(b, records[:0])
			return err
		},
		"filter": func() (err error) {
			if records, err = d.Decode(b, records[:0]); err != nil {
				return err
			}
			decoded := d.decoded(b, records)
			w.Replace(&decoded)
			for i := range records {
				w.AppendFrom(&decoded, i)
			}
			out, err = w.Build(out[:0])
			return err
		},
		"rebuild": func() (err error) {
			w.resetLike(b)
			if records, err = d.Decode(b, records[:0]); err != nil {
				return err
			}
			for _, r := range records {
				w.Append(r)
			}
			out, err = w.Build(out[:0])
			return err
		},
	}
	for name, check := range checks {
		t.Run(name, func(t *testing.T) {
			if n := testing.AllocsPerRun(50, func() {
				if err := check(); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Fatalf("%v allocations a run", n)
			}
		})
	}
}
