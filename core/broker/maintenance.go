package broker

import (
	"time"
)

// maintain runs retention and snapshots, each partition's own when a segment rolled and all of them
// at an interval, at which it also retries what could not be reconciled.
func (b *Broker) maintain() {
	tick := time.NewTicker(b.opts.MaintainEvery)
	defer tick.Stop()
	for {
		var all bool
		select {
		case <-b.ctx.Done():
			return
		case <-tick.C:
			all = true
			b.retryReconcile()
		case <-b.opener.rolled:
		}
		b.maintainPartitions(all)
	}
}

// maintainPartitions maintains those that rolled, or all.
func (b *Broker) maintainPartitions(all bool) {
	for s := range b.catalog.states {
		for _, p := range s.replicas {
			if !all && !p.Rolled() {
				continue
			}
			if err := p.Maintain(time.Now()); err != nil && b.ctx.Err() == nil {
				b.logger.Warn("maintenance failed; retrying", "partition", p.Name(), "error", err)
			}
		}
	}
}

// retryReconcile tries again what the metadata says and could not be done: there may be space now, or a file
// that was damaged may have been put back. The reconciler logs what fails; an error is the broker's end.
func (b *Broker) retryReconcile() { _, _ = b.reconciler.reconcile(b.ctx) }

// watchMetadata reconciles the broker with every change of the metadata, whoever made it.
func (b *Broker) watchMetadata() {
	image := b.meta.Image()
	for {
		next, _, err := b.meta.WaitChange(b.ctx, image)
		if err != nil {
			return
		}
		image = next
		if _, err := b.reconciler.reconcile(b.ctx); err != nil {
			return
		}
	}
}
