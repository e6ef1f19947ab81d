package derive

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/partition"
	"github.com/wasmill/wasmill/core/transform"
)

const (
	// stretchBytes is how much of its source a task takes at a time.
	stretchBytes = 1 << 20
	// saveEvery is how often a busy task saves its position. A restart runs what came after again, and the
	// outputs leave out what they have already.
	saveEvery = time.Second
	// A task that fails tries again after a pause that doubles up to the longest.
	firstPause, longestPause = 50 * time.Millisecond, 5 * time.Second
	// maxKeptBuffer is the largest buffer that is kept for the next stretch.
	maxKeptBuffer = 8 << 20
)

// buffers are what tasks read into: there may be many tasks, and few of them busy.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// task derives from one partition of the source.
type task struct {
	*Options
	meta     *metadata.Derivation
	pipeline *transform.Pipeline
	number   int32
	source   Source
	origin   string // under which positions are kept
	logger   *slog.Logger

	begin  int64                  // where the source begins for it while it has no saved position
	next   atomic.Int64           // source offset that comes next
	failed atomic.Pointer[string] // why the last attempt failed; nil when it did not

	// Of the task's goroutine alone:
	resumed bool  // the saved position has been read, or made: only then are next and saved the task's own
	saved   int64 // the saved position; -1 for none
	savedAt time.Time
	written written // since the saved position
}

// settle decides where to begin without a saved position.
func (t *task) settle(latest bool) {
	bounds := t.source.Bounds()
	t.begin = bounds.LogStart
	if latest {
		t.begin = bounds.HighWatermark
	}
	t.next.Store(t.begin)
}

func (t *task) progress() Progress {
	next := t.next.Load()
	p := Progress{Partition: t.number, NextOffset: next, Lag: t.source.Bounds().HighWatermark - next}
	if text := t.failed.Load(); text != nil {
		p.Err = *text
	}
	return p
}

// run derives until ctx ends.
func (t *task) run(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		err := t.attempt(ctx)
		if ctx.Err() != nil {
			break
		}
		text := err.Error()
		if t.failed.Swap(&text) == nil {
			pause = firstPause // it has come further since the last failure
		}
		level := slog.LevelWarn
		if errcode.Is(err, errcode.NotLeaderOrFollower) {
			level = slog.LevelDebug // the broker that leads a partition derives from it
		}
		t.logger.Log(ctx, level, "derivation failed; retrying", "error", err, "pause", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
	}
	if err := t.end(context.WithoutCancel(ctx)); err != nil {
		t.logger.Warn("the position of a derivation was not saved: its last second is repeated", "error", err)
	}
}

// end saves the position. A task that ends before its first attempt has come so far knows only where it would
// begin without a saved position: that may not replace one that there is, and must be saved if there is none,
// as the next task would decide anew what "latest" is.
func (t *task) end(ctx context.Context) error {
	if !t.resumed {
		return t.resume(ctx)
	}
	return t.save(ctx)
}

// attempt derives until something fails or ctx ends.
func (t *task) attempt(ctx context.Context) error {
	if err := t.resume(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		moved, err := t.advance(ctx)
		if err != nil {
			return err
		}
		if !moved || time.Since(t.savedAt) > saveEvery {
			if err := t.save(ctx); err != nil {
				return err
			}
		}
		if !moved {
			if err := t.awaitMore(ctx, t.next.Load()); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// resume finds where to go on.
func (t *task) resume(ctx context.Context) error {
	saved, ok, err := t.source.Position(ctx, t.origin)
	if err != nil {
		return fmt.Errorf("read the saved position: %w", err)
	}
	t.written = written{} // what is behind the saved position is derived, or found, again
	if ok {
		t.saved, t.resumed = saved.Next, true
		t.next.Store(saved.Next)
		return nil
	}
	t.saved = -1
	t.next.Store(t.begin)
	if err := t.save(ctx); err != nil { // a restart must not decide anew what "latest" is
		return err
	}
	t.resumed = true
	return nil
}

// own returns an error unless this broker leads the source and the saved position is this task's. A broker that has
// led it meanwhile may have gone on from there, with another version: then this task begins where that one ended.
func (t *task) own(ctx context.Context) error {
	saved, _, err := t.source.Position(ctx, t.origin)
	if err != nil {
		return fmt.Errorf("read the saved position: %w", err)
	}
	if saved.Next != t.saved {
		return fmt.Errorf("the saved position is %d, this task saved %d: another has gone on; resuming there", saved.Next, t.saved)
	}
	return nil
}

// save writes the position into the source partition, unless it has it, once what was derived before it is durable.
func (t *task) save(ctx context.Context) error {
	next := t.next.Load()
	if next <= t.saved {
		return nil
	}
	if err := t.syncWritten(ctx); err != nil {
		return err
	}
	if _, err := t.source.Append(ctx, partition.Append{Positions: t.positions(next)}); err != nil {
		return fmt.Errorf("save the position: %w", err)
	}
	t.saved, t.savedAt = next, time.Now()
	return nil
}

// positions says that everything before the source offset next has been derived.
func (t *task) positions(next int64) []partition.Position {
	return []partition.Position{partition.OffsetPosition(t.origin, next)}
}

// advance derives the next stretch of the source; false when there is none.
func (t *task) advance(ctx context.Context) (moved bool, err error) {
	buf := buffers.Get().(*[]byte)
	defer func() {
		if cap(*buf) <= maxKeptBuffer {
			buffers.Put(buf)
		}
	}()
	if err := t.own(ctx); err != nil {
		return false, err
	}
	next := t.next.Load()
	f, err := t.source.FetchDurable((*buf)[:0], next, stretchBytes)
	if errcode.Is(err, errcode.OffsetOutOfRange) && next < f.LogStart {
		t.logger.Warn("a derivation fell behind retention: records are lost to it", "from", next, "to", f.LogStart)
		t.next.Store(f.LogStart)
		return true, nil
	}
	if err != nil || len(f.Batches) == 0 {
		return false, err
	}
	*buf = f.Batches
	if err := t.derive(ctx, f); err != nil {
		return false, err
	}
	t.next.Store(f.Next)
	t.failed.Store(nil)
	return true, nil
}
