package httpapi

import (
	"sync/atomic"

	"github.com/wasmill/wasmill/core/errcode"
)

// budget bounds bytes that are held at once. It refuses, it never waits: a client that is told to
// come back costs nothing in the meantime.
type budget struct {
	limit int64
	used  atomic.Int64
}

// take holds n bytes, or reports that they do not fit.
func (b *budget) take(n int64) bool {
	for {
		used := b.used.Load()
		if used+n > b.limit {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// fits tells whether n bytes could be held just now.
func (b *budget) fits(n int64) bool { return b.used.Load()+n <= b.limit }

func (b *budget) give(n int64) { b.used.Add(-n) }

// Milliseconds after which a refused request is worth another try. Bodies leave the broker within
// one group commit; answers leave at the pace of their readers.
const (
	retryBodyMillis   = 250
	retryAnswerMillis = 1000
)

func errBodyBudget(limit int64) error {
	return errcode.New(errcode.Overloaded,
		"request bodies in flight fill the broker's budget of %d bytes; send this one again after the time in Retry-After", limit).
		With("retry_after_ms", retryBodyMillis)
}

func errAnswerBudget(limit int64) error {
	return errcode.New(errcode.Overloaded,
		"fetched answers that wait for their readers fill the broker's budget of %d bytes; fetch again after the time in Retry-After, or ask for fewer bytes", limit).
		With("retry_after_ms", retryAnswerMillis)
}
