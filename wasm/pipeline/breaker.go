package pipeline

import (
	"sync"
	"time"
)

const (
	breakerThreshold = 16 // records in a row that a module fails on alone
	breakerMinPause  = time.Second
	breakerMaxPause  = time.Minute
)

// breaker pauses a stage that keeps failing, so that a broken module does not cost a new instance for every
// record. It counts records on which the module failed in a call of their own; any call that succeeds
// resets the count. After a pause one more such record begins the next pause, twice as long, until a call
// succeeds.
type breaker struct {
	threshold int

	// mu covers the fields below. Runs on many goroutines share a stage's breaker.
	mu     sync.Mutex
	row    int
	pause  time.Duration // of the last opening; 0: has not opened since the last success
	until  time.Time
	reason string
}

// open reports whether the stage is paused, until when, and what the last failure was.
func (b *breaker) open(now time.Time) (until time.Time, reason string, open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.until, b.reason, now.Before(b.until)
}

func (b *breaker) success() {
	b.mu.Lock()
	b.row, b.pause = 0, 0
	b.mu.Unlock()
}

// failure counts one record that the module failed on alone. trip opens the breaker whatever the count.
func (b *breaker) failure(now time.Time, reason string, trip bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.row++
	if now.Before(b.until) || b.row < b.threshold && b.pause == 0 && !trip {
		return // open already, by another run, or not yet to be opened
	}
	b.pause = min(max(2*b.pause, breakerMinPause), breakerMaxPause)
	b.until, b.reason, b.row = now.Add(b.pause), reason, 0
}
