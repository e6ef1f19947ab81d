package partition

import (
	"context"

	"github.com/wasmill/wasmill/core/errcode"
)

// DurableEnd is the offset below which every record is applied, and durable in this broker's log: no power loss
// takes one. Under the relaxed flush mode it lies behind the high watermark until a sync. It is safe for
// concurrent use, and holds whatever the flush mode was when the records were written.
func (p *Partition) DurableEnd() int64 { return min(p.highWatermark.Load(), p.log.DurableOffset()) }

// FetchDurable is Fetch of the records below DurableEnd: between that and the high watermark it appends nothing.
func (p *Partition) FetchDurable(dst []byte, offset int64, maxBytes int) (Fetched, error) {
	return p.fetch(dst, offset, maxBytes, p.DurableEnd())
}

// Sync makes durable in this broker's log what was applied before the call; without unsynced entries it costs
// nothing. It takes a context because a destination may be led by another broker. Errors are *errcode.Error:
// STORAGE_FAILED, SHUTTING_DOWN and UNKNOWN_TOPIC_OR_PARTITION.
func (p *Partition) Sync(context.Context) error {
	if s, entered := p.life.enter(); !entered {
		return p.refusal(p.ops.sync, s)
	}
	defer p.life.work.Done()
	if err := p.log.Sync(); err != nil {
		return errcode.New(errcode.StorageFailed, "%s: %w", p.ops.sync, err)
	}
	return nil
}
