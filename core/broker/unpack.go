package broker

import (
	"context"
	"errors"
	"runtime"

	"golang.org/x/sync/semaphore"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
)

const (
	// unpackLeast bounds, on a small machine, the memory of all compressed batches that are being looked
	// into at a time; a large one gets room for two small batches per processor.
	unpackLeast = 64 << 20
	// unpackSmall is what nearly every batch unpacks to at most.
	unpackSmall = 4 << 20
)

// unpackBudget keeps clients from making the broker unpack many batches at once that grow out of all
// proportion. How much a batch unpacks to is known only afterwards: it first gets a small share, and
// when that does not suffice waits for as much as its limit allows, and is unpacked anew. Nobody who
// holds a share waits for another one, or for anything that those who hold one may keep.
type unpackBudget struct {
	bytes *semaphore.Weighted
	most  int64
}

func newUnpackBudget() unpackBudget {
	most := max(unpackLeast, 2*int64(runtime.GOMAXPROCS(0))*unpackSmall)
	return unpackBudget{semaphore.NewWeighted(most), most}
}

func packed(batch record.Batch) bool {
	return len(batch) >= record.HeaderSize && batch.Codec() != record.CodecNone
}

// validate is batch.ValidateProduced within the budget.
func (u unpackBudget) validate(ctx context.Context, batch record.Batch, limits record.Limits) error {
	if !packed(batch) {
		return batch.ValidateProduced(limits)
	}
	most := limits.MaxDecompressedBytes
	limits.MaxDecompressedBytes = min(unpackSmall, most)
	share, err := u.within(ctx, limits, func() error { return batch.ValidateProduced(limits) })
	if limits.MaxDecompressedBytes < most && errors.Is(err, record.ErrDecompressedTooLarge) {
		limits.MaxDecompressedBytes = most
		share, err = u.within(ctx, limits, func() error { return batch.ValidateProduced(limits) })
	}
	u.bytes.Release(share)
	return err
}

// within runs f with a share as large as the limits, which stands after a success: the caller gives it
// back. After an error the share is 0.
func (u unpackBudget) within(ctx context.Context, limits record.Limits, f func() error) (share int64, err error) {
	share = min(int64(limits.MaxDecompressedBytes), u.most)
	if err := u.bytes.Acquire(ctx, share); err != nil {
		return 0, errcode.New(errcode.Overloaded, "compressed batches wait to be looked into; slow down and retry: %w", err).
			With("retry_after_ms", 1000)
	}
	if err := f(); err != nil {
		u.bytes.Release(share)
		return 0, err
	}
	return share, nil
}

// unpacker decodes batches within the budget. Not for concurrent use; the zero value works.
type unpacker struct {
	records []record.Record
	used    *record.Decoder // by the batch at hand
	small   *record.Decoder
	plain   record.Decoder
}

// decode reads a batch into x.records, which are valid until the next call or until share is given back
// to the budget.
func (x *unpacker) decode(ctx context.Context, u unpackBudget, batch record.Batch) (share int64, err error) {
	x.used = &x.plain
	read := func() error {
		x.records, err = x.used.Decode(batch, x.records[:0])
		return err
	}
	if !packed(batch) {
		return 0, read()
	}
	limits := record.DefaultLimits()
	most := limits.MaxDecompressedBytes
	limits.MaxDecompressedBytes = unpackSmall
	if x.small == nil {
		x.small = record.NewDecoder(limits)
	}
	x.used = x.small
	share, err = u.within(ctx, limits, read)
	if errors.Is(err, record.ErrDecompressedTooLarge) {
		limits.MaxDecompressedBytes = most
		x.used = record.NewDecoder(limits) // not kept: giants are rare
		share, err = u.within(ctx, limits, read)
	}
	return share, err
}

// done gives back what decode took.
func (x *unpacker) done(u unpackBudget, share int64) {
	if x.used != x.small && x.used != &x.plain {
		clear(x.records) // they keep a giant's memory
	}
	x.used = nil
	u.bytes.Release(share)
}
