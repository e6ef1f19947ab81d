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
// a share must not wait for another one. Safe for concurrent use.
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

// ValidateProduced is batch.ValidateProduced within the budget. ErrBusy when ctx ends first.
func (b *Budget) ValidateProduced(ctx context.Context, batch Batch, limits Limits) error {
	if !compressed(batch) {
		return batch.ValidateProduced(limits)
	}
	share, err := b.unpack(ctx, limits, batch.ValidateProduced)
	b.bytes.Release(share)
	return err
}

// unpack calls read with a small share of the budget, and again with as much as the limits allow if that
// does not suffice. The share stands after a success: the caller gives it back. After an error it is 0.
func (b *Budget) unpack(ctx context.Context, limits Limits, read func(Limits) error) (share int64, err error) {
	most := limits.orDefault().MaxDecompressedBytes
	limits.MaxDecompressedBytes = min(budgetSmall, most)
	share, err = b.within(ctx, limits, read)
	if limits.MaxDecompressedBytes < most && errors.Is(err, ErrDecompressedTooLarge) {
		limits.MaxDecompressedBytes = most
		share, err = b.within(ctx, limits, read)
	}
	return share, err
}

func (b *Budget) within(ctx context.Context, limits Limits, read func(Limits) error) (share int64, err error) {
	share = min(int64(limits.MaxDecompressedBytes), b.most)
	if !b.bytes.TryAcquire(share) {
		if err := b.bytes.Acquire(ctx, share); err != nil {
			return 0, fmt.Errorf("%w: %w", ErrBusy, err)
		}
	}
	if err := read(limits); err != nil {
		b.bytes.Release(share)
		return 0, err
	}
	return share, nil
}

// Unpacker decodes batches within a Budget, one at a time. The zero value works. Not for concurrent use.
type Unpacker struct {
	// Records are those of the batch decoded last. They alias it or the Unpacker's memory, and are valid
	// until Release.
	Records []Record

	budget *Budget
	share  int64
	used   *Decoder // by the batch at hand
	plain  Decoder
	small  *Decoder
}

// Decode reads a batch's records; after a success they are to be given back with Release. Errors: those
// of Decoder, and ErrBusy.
func (u *Unpacker) Decode(ctx context.Context, b *Budget, batch Batch) (err error) {
	u.budget, u.share, u.used = b, 0, &u.plain
	if !compressed(batch) {
		u.Records, err = u.used.Decode(batch, u.Records[:0])
		return err
	}
	u.share, err = b.unpack(ctx, DefaultLimits(), func(limits Limits) (err error) {
		u.choose(limits)
		u.Records, err = u.used.Decode(batch, u.Records[:0])
		return err
	})
	return err
}

// choose takes the decoder for batches that unpack to little, or one that is not kept: giants are rare.
func (u *Unpacker) choose(limits Limits) {
	switch {
	case limits.MaxDecompressedBytes > budgetSmall:
		u.used = NewDecoder(limits)
	case u.small == nil:
		u.small = NewDecoder(limits)
		fallthrough
	default:
		u.used = u.small
	}
}

// Cursor walks over the batch that was decoded last, before Release.
func (u *Unpacker) Cursor(batch Batch) (Cursor, error) { return u.used.Cursor(batch) }

// Release gives back what the last successful Decode took of the budget.
func (u *Unpacker) Release() {
	if u.used != &u.plain && u.used != u.small {
		clear(u.Records) // they would keep a giant's memory
	}
	u.budget.bytes.Release(u.share)
	u.used, u.share = nil, 0
}
