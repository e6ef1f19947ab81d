package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sync/semaphore"
)

// packedBatch is a batch of one record with a value of n bytes that compresses well.
func packedBatch(t testing.TB, codec Codec, n int) Batch {
	t.Helper()
	var b Builder
	b.Reset(BuilderOptions{Codec: codec})
	b.Append(Record{Timestamp: 1, Key: []byte("k"), Value: bytes.Repeat([]byte{'x'}, n)})
	data, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// errFull says that a wait for memory ended without it.
var errFull = errors.New("no memory")

// memory is a Memory whose waits end with the context alone.
type memory struct {
	*semaphore.Weighted
	limit int64
}

func (m memory) Limit() int64 { return m.limit }

func (m memory) Acquire(ctx context.Context, n int64) error {
	if m.TryAcquire(n) {
		return nil
	}
	if err := m.Weighted.Acquire(ctx, n); err != nil {
		return fmt.Errorf("%w: %w", errFull, err)
	}
	return nil
}

// NewTestBudget is newBudget for the tests outside of the package.
func NewTestBudget() *Budget { return newBudget() }

func newBudget() *Budget {
	const limit = 64 << 20
	return NewBudget(memory{semaphore.NewWeighted(limit), limit})
}

// holdAll unpacks a batch until the budget has no room for it, and keeps it each time.
func holdAll(t *testing.T, budget *Budget, batch Batch) []*Unpacker {
	t.Helper()
	var held []*Unpacker
	for {
		u := new(Unpacker)
		err := u.Decode(ended(t), budget, batch)
		if errors.Is(err, errFull) {
			return held
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(u.Records) != 1 || len(u.Records[0].Value) != 1000 {
			t.Fatalf("records %v", u.Records)
		}
		held = append(held, u)
	}
}

// TestBudgetSharesMemory holds batches until the budget is used up: no more are unpacked at a time, and
// what is given back can be used again.
func TestBudgetSharesMemory(t *testing.T) {
	budget := newBudget()
	small, large := packedBatch(t, CodecZstd, 1000), packedBatch(t, CodecZstd, 6<<20)
	held := holdAll(t, budget, small)
	if most := int(budget.most / budgetSmall); len(held) != most {
		t.Errorf("%d batches were unpacked at a time, %d should be", len(held), most)
	}
	u := new(Unpacker)
	if err := u.Decode(ended(t), budget, packedBatch(t, CodecNone, 1000)); err != nil {
		t.Errorf("a batch that is not compressed waits for the budget: %v", err)
	}
	u.Release()
	if err := budget.ValidateProduced(ended(t), small, DefaultLimits()); !errors.Is(err, errFull) || !errors.Is(err, context.Canceled) {
		t.Errorf("validated beyond the budget: %v", err)
	}
	held[0].Release()
	if err := budget.ValidateProduced(ended(t), small, DefaultLimits()); err != nil {
		t.Errorf("validated with room: %v", err)
	}
	if err := u.Decode(ended(t), budget, large); !errors.Is(err, errFull) {
		t.Errorf("a large batch without room for it: %v", err)
	}
	for _, h := range held[1:] {
		h.Release()
	}
	checkGivenBack(t, budget)
}

// TestLargeBatchTakesTheBudget: a batch that unpacks to more than a small share has all the budget, and its
// memory is not kept.
func TestLargeBatchTakesTheBudget(t *testing.T) {
	budget, u := newBudget(), new(Unpacker)
	small, large := packedBatch(t, CodecZstd, 1000), packedBatch(t, CodecZstd, 6<<20)
	if err := u.Decode(t.Context(), budget, large); err != nil {
		t.Fatal(err)
	}
	var w Builder
	w.Replace(&u.Decoded)
	w.AppendFrom(&u.Decoded, 0)
	if again, err := w.Build(nil); err != nil || !bytes.Equal(again, large) {
		t.Errorf("its encoded record is not there: %v", err)
	}
	if err := new(Unpacker).Decode(ended(t), budget, small); !errors.Is(err, errFull) {
		t.Errorf("beside a large batch: %v", err)
	}
	u.Release()
	if slices.ContainsFunc(u.Records, func(r Record) bool { return r.Value != nil }) {
		t.Error("a large batch's memory is kept")
	}
	if err := budget.ValidateProduced(t.Context(), large, DefaultLimits()); err != nil {
		t.Error(err)
	}
	limits := DefaultLimits()
	limits.MaxDecompressedBytes = 1 << 20
	if err := budget.ValidateProduced(t.Context(), large, limits); !errors.Is(err, ErrDecompressedTooLarge) {
		t.Errorf("over the limit: %v", err)
	}
	checkGivenBack(t, budget)
}
