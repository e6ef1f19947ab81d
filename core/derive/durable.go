package derive

import (
	"context"
	"errors"
	"fmt"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/metadata"
	"github.com/wasmill/wasmill/core/transform"
)

// errBehind says that a partition no longer has what was derived into it.
var errBehind = errors.New("it ends before what was derived into it; that is derived again")

// written is which partitions hold records from behind the saved position, and up to which source offset. They are
// to be durable before a greater position is saved: a power loss could otherwise take the records and leave the
// position, and the records would never be derived again. Also a partition that had its records already counts:
// an earlier task wrote them, and may have ended before it made them durable.
type written map[outputPartition]reach

// outputPartition identifies a partition of an output; a topic made again under the same name is another.
type outputPartition struct {
	id     metadata.TopicID
	name   string
	number int32
}

// reach is where a partition is found, and the source offset up to which it has everything.
type reach struct {
	topic transform.Topic
	next  int64
}

// note notes that a partition has everything up to the source offset next.
func (w written) note(to transform.Topic, number int32, next int64) {
	key := outputPartition{id: to.ID, name: to.Name, number: number}
	w[key] = reach{topic: to, next: max(next, w[key].next)}
}

// syncWritten makes durable what was written, whatever the flush modes of the topics are or were, and forgets it.
func (t *task) syncWritten(ctx context.Context) error {
	for key, r := range t.written {
		if err := t.syncOutput(ctx, r, key.number); err != nil {
			return fmt.Errorf("make %s/%d durable: %w", r.topic.Name, key.number, err)
		}
		delete(t.written, key)
	}
	return nil
}

// syncOutput makes one partition durable. Its position is read first: a partition that was opened anew after a
// failed sync may have lost what was acknowledged, and then there is nothing to make durable.
func (t *task) syncOutput(ctx context.Context, r reach, number int32) error {
	d, err := t.Topics.Destination(r.topic, number)
	if errcode.Is(err, errcode.UnknownTopicOrPartition) {
		return nil // the topic was deleted, and all that was derived into it
	}
	if err != nil {
		return err
	}
	p, _, err := d.Position(ctx, t.origin)
	if err == nil && p.Next < r.next {
		err = errBehind
	}
	if err == nil {
		err = d.Sync(ctx)
	}
	if errcode.Is(err, errcode.UnknownTopicOrPartition) {
		return nil
	}
	return err
}

// awaitMore waits for records behind the source offset next, and makes them durable: nothing is derived before,
// as an output would keep what a power loss takes from the source, and take the records that come in its place for
// what it has. A sync is made only when there is something new, so that an idle source costs none.
func (t *task) awaitMore(ctx context.Context, next int64) error {
	select {
	case <-t.source.Advanced(next):
	case <-ctx.Done():
		return ctx.Err()
	}
	if t.source.DurableEnd() > next {
		return nil
	}
	if err := t.source.Sync(ctx); err != nil {
		return fmt.Errorf("make the source durable: %w", err)
	}
	if t.source.DurableEnd() <= next {
		return fmt.Errorf("make %s durable: it is not, after a sync", t.source.Name())
	}
	return nil
}
