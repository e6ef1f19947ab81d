package record

import (
	"context"
	"errors"
	"sync/atomic"
)

// budgetSmall is what nearly every batch unpacks to at most.
const budgetSmall = 4 << 20

// Memory is a number of bytes that can be held at once.
type Memory interface {
	// Acquire holds n bytes, at most Limit, and may wait for them until ctx ends. After an error nothing
	// is held.
	Acquire(ctx context.Context, n int64) error
	// TryAcquire holds n bytes if there is room at once.
	TryAcquire(n int64) bool
	// Release gives n bytes back.
	Release(n int64)
	// Limit is how many bytes can be held at once.
	Limit() int64
}

// Budget bounds the memory of all batches that are being unpacked at a time. How much a batch unpacks to is
// known only afterwards: it first gets a small share, and when that does not suffice it waits for as much
// as its limit allows and is unpacked again. A caller that holds a share must not wait for another one: two
// that did could wait for each other without end. Safe for concurrent use.
type Budget struct {
	bytes   Memory
	most    int64
	decodes atomic.Int64
}

// NewBudget makes a budget out of memory. A batch that needs more than all of it is unpacked alone.
func NewBudget(memory Memory) *Budget {
	return &Budget{bytes: memory, most: memory.Limit()}
}

func compressed(b Batch) bool { return len(b) >= HeaderSize && b.Codec() != CodecNone }

// ValidateProduced is batch.ValidateProduced within the budget, with the errors of Memory besides. An
// Unpacked keeps the records, too.
func (b *Budget) ValidateProduced(ctx context.Context, batch Batch, limits Limits) error {
	if !compressed(batch) {
		b.decodes.Add(1)
		return batch.ValidateProduced(limits)
	}
	share, err := b.unpack(ctx, limits, b.bytes.Acquire, batch.ValidateProduced)
	b.bytes.Release(share)
	return err
}

// Decodes is how many times the records of a batch have been read within the budget, to check or to decode
// them, compressed or not.
func (b *Budget) Decodes() int64 { return b.decodes.Load() }

// acquireFunc takes bytes of a budget.
type acquireFunc func(ctx context.Context, n int64) error

// unpack calls read with a small share of the budget, and again with as much as the limits allow if that
// does not suffice. The share stands after a success: the caller gives it back. After an error it is 0.
func (b *Budget) unpack(ctx context.Context, limits Limits, acquire acquireFunc, read func(Limits) error) (share int64, err error) {
	most := limits.withDefaults().MaxDecompressedBytes
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
	b.decodes.Add(1)
	if err := read(limits); err != nil {
		b.bytes.Release(share)
		return 0, err
	}
	return share, nil
}
