package broker

import (
	"context"
	"errors"

	"golang.org/x/sync/semaphore"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
)

const (
	// unpackBytes bounds the memory of all compressed batches that are being looked into at a time.
	unpackBytes = 64 << 20
	// unpackSmall is what nearly every batch unpacks to at most.
	unpackSmall = 4 << 20
)

// unpackBudget keeps producers from making the broker unpack many batches at once that grow out of all
// proportion. How much a batch unpacks to is known only afterwards: it first gets a small share, and
// when that does not suffice waits for as much as its limit allows, and is unpacked anew.
type unpackBudget struct{ bytes *semaphore.Weighted }

func newUnpackBudget() unpackBudget { return unpackBudget{semaphore.NewWeighted(unpackBytes)} }

// validate is batch.ValidateProduced within the budget.
func (u unpackBudget) validate(ctx context.Context, batch record.Batch, limits record.Limits) error {
	if len(batch) < record.HeaderSize || batch.Codec() == record.CodecNone {
		return batch.ValidateProduced(limits)
	}
	most := limits.MaxDecompressedBytes
	limits.MaxDecompressedBytes = min(unpackSmall, most)
	err := u.within(ctx, batch, limits)
	if limits.MaxDecompressedBytes < most && errors.Is(err, record.ErrDecompressedTooLarge) {
		limits.MaxDecompressedBytes = most
		err = u.within(ctx, batch, limits)
	}
	return err
}

func (u unpackBudget) within(ctx context.Context, batch record.Batch, limits record.Limits) error {
	share := int64(min(limits.MaxDecompressedBytes, unpackBytes))
	if err := u.bytes.Acquire(ctx, share); err != nil {
		return errcode.New(errcode.Overloaded, "compressed batches wait to be looked into; slow down and retry: %w", err).
			With("retry_after_ms", 1000)
	}
	defer u.bytes.Release(share)
	return batch.ValidateProduced(limits)
}
