package admission

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/wasmill/wasmill/core/errcode"
)

// rule is what budgets differ in.
type rule struct {
	name   string
	limit  int64
	total  int64         // that limit is a share of
	wait   time.Duration // at most; 0: what does not fit is refused at once; patient: as long as the context lasts
	retry  time.Duration // what a refusal advises
	full   string        // what fills the budget, for a refusal
	advice string        // what to do, for a refusal
}

// Budget is a number of bytes that can be held at once. Whoever is first to wait is first to be served,
// so that large requests are not overtaken for ever. Safe for concurrent use.
type Budget struct {
	rule   rule
	bytes  *semaphore.Weighted
	inUse  atomic.Int64 // what bytes has given out: the semaphore does not say
	parent *Budget      // nil: none
}

func newBudget(r rule) *Budget {
	return &Budget{rule: r, bytes: semaphore.NewWeighted(r.limit)}
}

// Sub returns a budget for one of several users of b: what it gives out is taken from b too. Its limit is
// at most b's.
func (b *Budget) Sub(limit int64) *Budget {
	r := b.rule
	r.limit = min(limit, r.limit)
	sub := newBudget(r)
	sub.parent = b
	return sub
}

// Limit is how many bytes can be held at once.
func (b *Budget) Limit() int64 { return b.rule.limit }

// InUse is how many bytes are held.
func (b *Budget) InUse() int64 { return b.inUse.Load() }

// Clip is what to acquire for n bytes that must be admitted however many they are: n, or the whole
// budget, which then is held by nobody else.
func (b *Budget) Clip(n int64) int64 { return min(n, b.rule.limit) }

// Fits reports whether n bytes could be held just now.
func (b *Budget) Fits(n int64) bool {
	return b.InUse()+n <= b.rule.limit && (b.parent == nil || b.parent.Fits(n))
}

// TryAcquire holds n bytes if there is room at once.
func (b *Budget) TryAcquire(n int64) bool {
	if !b.bytes.TryAcquire(n) {
		return false
	}
	if b.parent != nil && !b.parent.TryAcquire(n) {
		b.bytes.Release(n)
		return false
	}
	b.inUse.Add(n)
	return true
}

// Acquire holds n bytes, waiting for room as long as the budget's rule allows and ctx lasts. The error is
// an *errcode.Error: OVERLOADED with retry_after_ms, and RECORD_LIST_TOO_LARGE at once for more than the
// budget has. After an error nothing is held.
func (b *Budget) Acquire(ctx context.Context, n int64) error {
	switch {
	case n > b.rule.limit:
		return b.tooLarge(n)
	case b.TryAcquire(n):
		return nil
	case b.rule.wait == 0:
		return b.Refusal(nil)
	}
	if b.rule.wait != patient {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, b.rule.wait)
		defer cancel()
	}
	if err := b.acquire(ctx, n); err != nil {
		return b.Refusal(err)
	}
	return nil
}

// acquire waits for room in b, and with that for room in its parent: who waits for the parent holds a
// part of b, but of nothing that others need to finish.
func (b *Budget) acquire(ctx context.Context, n int64) error {
	if err := b.bytes.Acquire(ctx, n); err != nil {
		return err
	}
	if b.parent != nil {
		if err := b.parent.acquire(ctx, n); err != nil {
			b.bytes.Release(n)
			return err
		}
	}
	b.inUse.Add(n)
	return nil
}

// Release gives back n bytes that were acquired.
func (b *Budget) Release(n int64) {
	b.inUse.Add(-n)
	b.bytes.Release(n)
	if b.parent != nil {
		b.parent.Release(n)
	}
}

// Refusal is the error for a request that finds no room; cause, which may be nil, is what ended its wait.
func (b *Budget) Refusal(cause error) *errcode.Error {
	r := b.rule
	e := errcode.New(errcode.Overloaded,
		"%s fill their share of %d out of the %d bytes that the broker has for all requests; %s after the time in Retry-After",
		r.full, r.limit, r.total, r.advice).With("retry_after_ms", r.retry.Milliseconds())
	e.Cause = cause
	return e
}

func (b *Budget) tooLarge(n int64) *errcode.Error {
	r := b.rule
	return errcode.New(errcode.RecordListTooLarge,
		"the request needs %d bytes at once; %s share %d out of the %d bytes that the broker has for all requests: send less at once",
		n, r.full, r.limit, r.total)
}
