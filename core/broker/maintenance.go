package broker

import (
	"context"
	"log/slog"
	"time"
)

// maintenance is what partitions need now and then.
type maintenance struct {
	catalog    *catalog
	reconciler *reconciler
	rolled     <-chan struct{} // has an element when some partition sealed a segment
	every      time.Duration
	logger     *slog.Logger
	lifetime   context.Context // of the broker
}

// run runs retention and snapshots, each partition's own when a segment rolled and all of them at an
// interval, at which what could not be reconciled is tried again too.
func (m *maintenance) run() {
	tick := time.NewTicker(m.every)
	defer tick.Stop()
	for {
		var all bool
		select {
		case <-m.lifetime.Done():
			return
		case <-tick.C:
			all = true
			m.reconciler.retry()
		case <-m.rolled:
		}
		m.partitions(all)
	}
}

// partitions maintains those that rolled, or all.
func (m *maintenance) partitions(all bool) {
	for s := range m.catalog.states {
		for _, p := range s.replicas {
			if !all && !p.Rolled() {
				continue
			}
			if err := p.Maintain(time.Now()); err != nil && m.lifetime.Err() == nil {
				m.logger.Warn("maintenance failed; retrying", "partition", p.Name(), "error", err)
			}
		}
	}
}
