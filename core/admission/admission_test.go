package admission

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
)

const kib = 1 << 10

// small is a controller with budgets of 16 KiB for answers, 32 for bodies, 8 each for the others.
func small(t *testing.T) *Controller {
	t.Helper()
	c, err := New(64 * kib)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *Controller) each() map[string]*Budget {
	return map[string]*Budget{"answers": c.Answers, "bodies": c.Bodies, "unpack": c.Unpack, "appends": c.Appends}
}

// expectRefusal checks an OVERLOADED error.
func expectRefusal(t *testing.T, err error, retryMillis int64, says ...string) {
	t.Helper()
	var e *errcode.Error
	if !errors.As(err, &e) || e.Code != errcode.Overloaded || e.Fields["retry_after_ms"] != retryMillis {
		t.Fatalf("error %#v; want OVERLOADED with retry_after_ms %d", err, retryMillis)
	}
	for _, s := range says {
		if !strings.Contains(e.Detail, s) {
			t.Errorf("no %q in %q", s, e.Detail)
		}
	}
}

// expectEmpty checks that everything was given back.
func expectEmpty(t *testing.T, budgets ...*Budget) {
	t.Helper()
	for _, b := range budgets {
		if n := b.InUse(); n != 0 {
			t.Errorf("%s: %d bytes are still held", b.rule.name, n)
		}
		if !b.TryAcquire(b.Limit()) {
			t.Errorf("%s: not all of it can be held any more", b.rule.name)
			continue
		}
		b.Release(b.Limit())
	}
}

func TestTheSumOfAllBudgetsIsBounded(t *testing.T) {
	for _, total := range []int64{MinTotal, 1 << 20, DefaultTotal, 1<<40 + 12345} {
		c, err := New(total)
		if err != nil {
			t.Fatal(err)
		}
		sum := int64(0)
		for _, u := range c.Usage() {
			if u.Limit <= 0 || u.InUse != 0 {
				t.Errorf("%d: %+v", total, u)
			}
			sum += u.Limit
		}
		if sum > total || sum < total-4 {
			t.Errorf("the budgets of %d have %d bytes together", total, sum)
		}
	}
	if _, err := New(MinTotal - 1); err == nil {
		t.Error("a total that cannot be divided is taken")
	}
}

func TestOneFullBudgetLeavesTheOthersAlone(t *testing.T) {
	for name := range small(t).each() {
		c := small(t)
		full := c.each()[name]
		if err := full.Acquire(t.Context(), full.Limit()); err != nil {
			t.Fatal(err)
		}
		for other, b := range c.each() {
			if got := b.TryAcquire(1); got == (other == name) {
				t.Errorf("%s is full: one byte of %s is given: %v", name, other, got)
			}
		}
		for _, u := range c.Usage() {
			want := int64(1)
			if u.Budget == name {
				want = u.Limit
			}
			if u.InUse != want {
				t.Errorf("%s is full: %+v, want %d in use", name, u, want)
			}
		}
	}
}

func TestBodiesAreRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := small(t).Bodies
		if !b.Fits(32*kib) || b.Fits(32*kib+1) {
			t.Error("Fits does not know the limit")
		}
		if err := b.Acquire(t.Context(), 30*kib); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		expectRefusal(t, b.Acquire(t.Context(), 3*kib), 250, "request bodies", "32768", "65536 bytes", "Retry-After")
		if waited := time.Since(began); waited != 0 {
			t.Errorf("refused after %v", waited)
		}
		if b.Fits(3*kib) || !b.Fits(2*kib) || b.InUse() != 30*kib {
			t.Errorf("a refused body holds something: %d bytes in use", b.InUse())
		}
		b.Release(30 * kib)
		expectEmpty(t, b)
	})
}

func TestOthersWaitForTheirTurn(t *testing.T) {
	for name := range small(t).each() {
		if name != "answers" && name != "appends" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := small(t).each()[name]
				if err := b.Acquire(t.Context(), b.Limit()); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				expectRefusal(t, b.Acquire(t.Context(), 1), 1000, "65536", "Retry-After")
				if waited := time.Since(began); waited != queueWait {
					t.Errorf("refused after %v, want %v", waited, queueWait)
				}
				served := make(chan error)
				go func() { served <- b.Acquire(t.Context(), 1) }()
				synctest.Wait()
				b.Release(b.Limit())
				if err := <-served; err != nil {
					t.Error(err)
				}
				b.Release(1)
				expectEmpty(t, b)
			})
		})
	}
}

// Whoever waits to decompress is served in the end, or gives up itself.
func TestUnpackingWaitsAsLongAsTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := small(t).Unpack
		if err := b.Acquire(t.Context(), b.Limit()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		expectRefusal(t, b.Acquire(ctx, 1), 1000, "65536", "Retry-After")
		if waited := time.Since(began); waited != time.Hour {
			t.Errorf("gave up after %v, want %v", waited, time.Hour)
		}
		served := make(chan error)
		go func() { served <- b.Acquire(t.Context(), 1) }()
		time.Sleep(time.Hour)
		b.Release(b.Limit())
		if err := <-served; err != nil {
			t.Error(err)
		}
		b.Release(1)
		expectEmpty(t, b)
	})
}

// A wait that is cancelled holds nothing afterwards and does not keep those behind it waiting.
func TestCancelledWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := small(t).Answers
		if err := b.Acquire(t.Context(), 10*kib); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		first, second := make(chan error), make(chan error)
		go func() { first <- b.Acquire(ctx, 16*kib) }()
		synctest.Wait()
		go func() { second <- b.Acquire(t.Context(), 2*kib) }() // would fit, but is not first
		synctest.Wait()
		cancel()
		err := <-first
		expectRefusal(t, err, 1000)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the refusal does not say that the wait was cancelled: %v", err)
		}
		if err := <-second; err != nil {
			t.Error(err)
		}
		b.Release(12 * kib)
		expectEmpty(t, b)
	})
}

// Who asks for more than there is would wait for ever.
func TestMoreThanABudgetHasIsRefusedAtOnce(t *testing.T) {
	for name, b := range small(t).each() {
		err := b.Acquire(t.Context(), b.Limit()+1)
		if !errcode.Is(err, errcode.RecordListTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
		if err := b.Acquire(t.Context(), b.Clip(b.Limit()+1)); err != nil {
			t.Errorf("%s: clipped: %v", name, err)
		}
		b.Release(b.Limit())
		expectEmpty(t, b)
	}
}

// What a part of a budget gives out is taken from the whole.
func TestSub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		whole := small(t).Appends // 8 KiB
		one, other := whole.Sub(6*kib), whole.Sub(100*kib)
		if one.Limit() != 6*kib || other.Limit() != 8*kib {
			t.Errorf("limits %d and %d", one.Limit(), other.Limit())
		}
		if err := one.Acquire(t.Context(), 6*kib); err != nil {
			t.Fatal(err)
		}
		if one.TryAcquire(1) || other.TryAcquire(3*kib) || other.Fits(3*kib) || !other.TryAcquire(2*kib) || whole.InUse() != 8*kib {
			t.Errorf("%d bytes of the whole are held", whole.InUse())
		}
		served := make(chan error)
		go func() { served <- other.Acquire(t.Context(), 4*kib) }()
		synctest.Wait()
		expectRefusal(t, one.Acquire(t.Context(), 1), 1000) // after the wait, which one's own limit causes
		err := <-served
		expectRefusal(t, err, 1000) // the whole was full all the time
		if other.InUse() != 2*kib {
			t.Errorf("a refused wait left %d bytes held", other.InUse())
		}
		go func() { served <- other.Acquire(t.Context(), 4*kib) }()
		synctest.Wait()
		one.Release(6 * kib)
		if err := <-served; err != nil {
			t.Error(err)
		}
		other.Release(6 * kib)
		expectEmpty(t, one, other, whole)
	})
}

// Under load from all sides, with waits that are cancelled, the limits hold and nothing leaks.
func TestConcurrentUse(t *testing.T) {
	c := small(t)
	subs := []*Budget{c.Appends.Sub(5 * kib), c.Appends.Sub(5 * kib)}
	budgets := []*Budget{c.Answers, c.Bodies, c.Unpack, subs[0], subs[1]}
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(i)))
			for range 500 {
				b := budgets[rng.IntN(len(budgets))]
				n := 1 + rng.Int64N(b.Limit())
				ctx, cancel := context.WithCancel(t.Context())
				if rng.IntN(2) == 0 {
					cancel()
				}
				if b.Acquire(ctx, n) == nil {
					if used := b.InUse(); used > b.Limit() || used < n {
						t.Errorf("%s: %d bytes of %d in use", b.rule.name, used, b.Limit())
					}
					b.Release(n)
				}
				cancel()
			}
		})
	}
	group.Wait()
	expectEmpty(t, append(budgets, c.Appends)...)
}

func BenchmarkAcquire(b *testing.B) {
	sub := Default().Appends.Sub(16 << 20)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := sub.Acquire(b.Context(), 1<<15); err != nil {
				b.Fatal(err)
			}
			sub.Release(1 << 15)
		}
	})
}
