package record

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"testing"

	"pgregory.net/rapid"
)

// ended is a context that waits for nothing.
func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// checkUnpacked compares what an Unpacked finds in a batch with ValidateProduced and Decode.
func checkUnpacked(t testing.TB, u *Unpacked, b Batch, limits Limits) {
	t.Helper()
	budget := newBudget()
	want := b.ValidateProduced(limits)
	err := u.Add(t.Context(), budget, b, limits)
	if (err == nil) != (want == nil) || err != nil && err.Error() != want.Error() {
		t.Fatalf("Add says %v, ValidateProduced says %v", err, want)
	}
	if err == nil {
		records, err := NewDecoder(limits).Decode(b, nil)
		if err != nil || !u.Kept() {
			t.Fatalf("decode: %v; kept: %t", err, u.Kept())
		}
		d := u.Batch(0)
		wantRecords(t, d.Records, records)
		if &d.Batch()[0] != &b[0] {
			t.Fatal("another batch")
		}
		if held := u.batches[0].memory(); u.held != held {
			t.Fatalf("%d bytes are counted, %d are held", u.held, held)
		}
	}
	u.Release()
	u.Release()
	checkGivenBack(t, budget)
}

func checkGivenBack(t testing.TB, b *Budget) {
	t.Helper()
	if !b.bytes.TryAcquire(b.most) {
		t.Fatal("not everything was given back to the budget")
	}
	b.bytes.Release(b.most)
}

func TestUnpackedIsValidateAndDecode(t *testing.T) {
	u := new(Unpacked) // reused throughout: nothing may leak from one batch to the next
	for _, codec := range codecs {
		good := build(t, BuilderOptions{Codec: codec, Producer: &Producer{ID: 1}}, sample(100, 50))
		checkUnpacked(t, u, good, Limits{})
		checkUnpacked(t, u, good, Limits{MaxBatchHeaders: 3})
		checkUnpacked(t, u, good, Limits{MaxRecords: 99})
		checkUnpacked(t, u, good, Limits{MaxDecompressedBytes: 100})
		checkUnpacked(t, u, with(good, put32(offLastOffsetDelta, 100)), Limits{})
		checkUnpacked(t, u, with(good, put16(offAttributes, uint16(AttrControl)|uint16(codec))), Limits{})
		checkUnpacked(t, u, Batch(append(clone(good)[:len(good)-1], 0xee)), Limits{})
		checkUnpacked(t, u, with(good, func(b Batch) { b[len(b)/2] ^= 0xff }), Limits{})
		checkUnpacked(t, u, packedBatch(t, codec, 6<<20), Limits{})
	}
	for name, b := range foreign(t, append([]byte{0, 0, 0, 9}, build(t, BuilderOptions{}, sample(9, 30)).Payload()...)) {
		t.Run(name, func(t *testing.T) { checkUnpacked(t, u, b, Limits{}) })
	}
	for _, b := range []Batch{
		{}, make(Batch, HeaderSize-1), raw(t, 0, 5), raw(t, 2, 1, 12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 4, 1, 1, 0),
		with(build(t, BuilderOptions{}, sample(3, 3)), put32(offCount, -1)),
		with(build(t, BuilderOptions{}, sample(3, 3)), put32(offCount, 1<<30)),
	} {
		checkUnpacked(t, u, b, Limits{})
	}
}

// TestUnpackedBombs: what grows out of proportion costs no more memory than with ValidateProduced.
func TestUnpackedBombs(t *testing.T) {
	const limit = 1 << 20
	const most = 4*limit + 12<<20 // as in TestBombsAreRefusedInBounds
	limits := Limits{MaxDecompressedBytes: limit, MaxBatchBytes: 64 << 20}
	for name, b := range bombs(t) {
		t.Run(name, func(t *testing.T) {
			budget, u := newBudget(), new(Unpacked)
			var err error
			if n := allocated(func() { err = u.Add(t.Context(), budget, b, limits) }); n > most {
				t.Errorf("%d bytes allocated", n)
			}
			if !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrCompressed) {
				t.Errorf("Add: %v", err)
			}
			u.Release()
			checkGivenBack(t, budget)
			loose := Limits{MaxDecompressedBytes: 64 << 20, MaxBatchBytes: 64 << 20}
			if n := allocated(func() { _ = u.Add(t.Context(), budget, b, loose) }); name == "zstd zeros" && n <= most {
				t.Errorf("without the limit it took %d bytes: the test measures nothing", n)
			}
		})
	}
}

// TestUnpackedHoldsWhatItCounts measures the memory that kept batches occupy.
func TestUnpackedHoldsWhatItCounts(t *testing.T) {
	b := build(t, BuilderOptions{Codec: CodecZstd}, sample(20_000, 20))
	budget, u := newBudget(), new(Unpacked)
	defer u.Release()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 3 {
		if err := u.Add(t.Context(), budget, b, DefaultLimits()); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); !u.Kept() || u.held < 3*20_000*perRecord || grown > u.held+u.held/8+1<<20 {
		t.Errorf("%d bytes are counted, the heap grew by %d", u.held, grown)
	}
}

// TestUnpackedNeverWaitsWhileItHolds: only the first compressed batch waits for the budget. Requests that
// held shares and waited for more could wait for each other without end.
func TestUnpackedNeverWaitsWhileItHolds(t *testing.T) {
	budget := newBudget()
	small, plain := packedBatch(t, CodecZstd, 1000), packedBatch(t, CodecNone, 1000)
	first, second := new(Unpacked), new(Unpacked)
	if err := first.Add(ended(t), budget, small, DefaultLimits()); err != nil {
		t.Fatal(err)
	}
	rest := budget.most - first.held
	if rest <= budgetSmall || !budget.bytes.TryAcquire(rest) { // somebody else's
		t.Fatalf("a batch of 1000 bytes holds %d", first.held)
	}
	if err := second.Add(ended(t), budget, small, DefaultLimits()); !errors.Is(err, errFull) {
		t.Errorf("the first batch without room: %v", err)
	}
	second.Release()
	if err := second.Add(ended(t), budget, plain, DefaultLimits()); err != nil || second.Kept() {
		t.Errorf("a batch that is not compressed, without room: %v, kept: %t", err, second.Kept())
	}
	second.Release()

	// first has the only bytes left, gives them back, and finds that they are too few for a share.
	if err := first.Add(ended(t), budget, small, DefaultLimits()); !errors.Is(err, errFull) || first.held != 0 || first.Kept() {
		t.Errorf("a further batch without room: %v, %d bytes held", err, first.held)
	}
	first.Release()
	budget.bytes.Release(rest)
	for range 3 {
		if err := first.Add(ended(t), budget, small, DefaultLimits()); err != nil || !first.Kept() {
			t.Errorf("with room: %v, kept: %t", err, first.Kept())
		}
	}
	first.Release()
	checkGivenBack(t, budget)
}

// TestUnpackedLeavesRoomForOthers: one request of many batches does not fill the budget.
func TestUnpackedLeavesRoomForOthers(t *testing.T) {
	budget, u := newBudget(), new(Unpacked)
	b := packedBatch(t, CodecZstd, 2<<20)
	n, most := 0, int64(0)
	for ; u.Kept() && n < 1000; n++ {
		if err := u.Add(ended(t), budget, b, DefaultLimits()); err != nil {
			t.Fatal(err)
		}
		most = max(most, u.held)
	}
	if want := budget.most / keepPart; n == 1000 || most > want || most < want-budgetSmall || u.held != 0 {
		t.Errorf("%d batches of 2 MiB, %d bytes held of %d that may be, %d at the end", n, most, want, u.held)
	}
	bad := with(b, put32(offLastOffsetDelta, 7))
	if err := u.Add(ended(t), budget, bad, DefaultLimits()); !errors.Is(err, ErrCount) {
		t.Errorf("a batch that is not kept is not checked: %v", err)
	}
	u.Release()
	if !u.Kept() {
		t.Error("the next request is not kept")
	}
	// One batch alone may be as large as the limits allow.
	if err := u.Add(ended(t), budget, build(t, BuilderOptions{Codec: CodecGzip}, sample(20, 1<<20)), DefaultLimits()); err != nil || !u.Kept() || u.held < 16<<20 {
		t.Errorf("a giant: %v, %d bytes held", err, u.held)
	}
	u.Release()
	if n := u.batches[0].memory(); n > maxKeptScratch {
		t.Errorf("a giant's memory is kept: %d bytes", n)
	}
	checkGivenBack(t, budget)
}

// TestDraft: a batch that is built from a draft is the one that a Builder makes at once, and what is
// filtered out of it the same as what is filtered out of the batch.
func TestDraft(t *testing.T) {
	var draft Draft
	var at, whole, fromDraft, fromBatch Builder
	rapid.Check(t, func(t *rapid.T) {
		codec := rapid.SampledFrom(codecs).Draw(t, "codec")
		draft.Reset(codec)
		at.Reset(BuilderOptions{Codec: codec})
		records := drawRecords(t, false)
		for _, r := range records {
			r.OffsetDelta = -1
			draft.Append(r)
			at.Append(r)
			if draft.Len() != at.Len() || draft.Bytes() != at.Bytes() {
				t.Fatalf("draft of %d records, %d bytes; builder of %d, %d", draft.Len(), draft.Bytes(), at.Len(), at.Bytes())
			}
		}
		want, err := at.Build(nil)
		if err != nil {
			t.Fatal(err)
		}
		d := draft.Decoded()
		whole.Replace(&d)
		for i := range d.Records {
			whole.AppendFrom(&d, i)
		}
		got, err := whole.Build(nil)
		if err != nil || !bytes.Equal(got, want) || d.Batch() != nil {
			t.Fatalf("%v\n%x\n%x", err, got, want)
		}
		decoder := NewDecoder(Limits{})
		decodedRecords, err := decoder.Decode(want, nil)
		if err != nil {
			t.Fatal(err)
		}
		b := decoder.decoded(want, decodedRecords)
		fromDraft.Replace(&d)
		fromBatch.Replace(&b)
		keep := rapid.SliceOfN(rapid.Bool(), len(records), len(records)).Draw(t, "keep")
		for i := range records {
			if keep[i] {
				fromDraft.AppendFrom(&d, i)
				fromBatch.AppendFrom(&b, i)
			}
		}
		got, err = fromDraft.Build(nil)
		want, err2 := fromBatch.Build(nil)
		if errors.Join(err, err2) != nil || !bytes.Equal(got, want) {
			t.Fatalf("filtered: %v, %v\n%x\n%x", err, err2, got, want)
		}
	})
}

func TestAppendFromAnotherBatch(t *testing.T) {
	decoder := NewDecoder(Limits{})
	records, err := decoder.Decode(build(t, BuilderOptions{}, sample(1, 1)), nil)
	if err != nil {
		t.Fatal(err)
	}
	d := decoder.decoded(build(t, BuilderOptions{}, sample(1, 1)), records)
	var w Builder
	w.AppendFrom(&d, 0)
	if out, err := w.Build([]byte("kept")); !errors.Is(err, ErrBuilder) || string(out) != "kept" {
		t.Errorf("got %q, %v", out, err)
	}
}
