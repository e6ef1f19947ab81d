package record

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/semaphore"
)

const (
	// budgetLeast bounds, on a small machine, the memory of all compressed batches that are being looked
	// into at a time; a large one gets room for two small batches per processor.
	budgetLeast = 64 << 20
	// budgetSmall is what nearly every batch unpacks to at most.
	budgetSmall = 4 << 20
)

// ErrBusy says that too many compressed batches were being unpacked until the context ended. It comes
// wrapped with the context's error.
var ErrBusy = errors.New("compressed batches wait to be unpacked")

// Budget keeps clients from making a process unpack many batches at once that grow out of all
// proportion. How much a batch unpacks to is known only afterwards: it first gets a small share, and
// when that does not suffice waits for as much as its limit allows, and is unpacked anew. Whoever holds
// a share must not wait for another one: two that did could wait for each other without end. Safe for
// concurrent use.
type Budget struct {
	bytes *semaphore.Weighted
	most  int64
}

// NewBudget makes a budget that suits the machine's processors.
func NewBudget() *Budget {
	most := max(budgetLeast, 2*int64(runtime.GOMAXPROCS(0))*budgetSmall)
	return &Budget{semaphore.NewWeighted(most), most}
}

func compressed(b Batch) bool { return len(b) >= HeaderSize && b.Codec() != CodecNone }

// ValidateProduced is batch.ValidateProduced within the budget. ErrBusy when ctx ends first. An Unpacked
// keeps the records besides.
func (b *Budget) ValidateProduced(ctx context.Context, batch Batch, limits Limits) error {
	if !compressed(batch) {
		return batch.ValidateProduced(limits)
	}
	share, err := b.unpack(ctx, limits, b.acquire, batch.ValidateProduced)
	b.bytes.Release(share)
	return err
}

// acquire takes n bytes of the budget, and waits for them until ctx ends.
func (b *Budget) acquire(ctx context.Context, n int64) error {
	if b.bytes.TryAcquire(n) {
		return nil
	}
	if err := b.bytes.Acquire(ctx, n); err != nil {
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	return nil
}

// acquireFunc takes bytes of a budget.
type acquireFunc func(ctx context.Context, n int64) error

// unpack calls read with a small share of the budget, and again with as much as the limits allow if that
// does not suffice. The share stands after a success: the caller gives it back. After an error it is 0.
func (b *Budget) unpack(ctx context.Context, limits Limits, acquire acquireFunc, read func(Limits) error) (share int64, err error) {
	most := limits.orDefault().MaxDecompressedBytes
	limits.MaxDecompressedBytes = min(budgetSmall, most)
	share, err = b.within(ctx, limits, acquire, read)
	if limits.MaxDecompressedBytes < most && errors.Is(err, ErrDecompressedTooLarge) {
		limits.MaxDecompressedBytes = most
		share, err = b.within(ctx, limits, acquire, read)
	}
	return share, err
}

func (b *Budget) within(ctx context.Context, limits Limits, acquire acquireFunc, read func(Limits) error) (share int64, err error) {
	share = min(int64(limits.MaxDecompressedBytes), b.most)
	if err := acquire(ctx, share); err != nil {
		return 0, err
	}
	if err := read(limits); err != nil {
		b.bytes.Release(share)
		return 0, err
	}
	return share, nil
}
