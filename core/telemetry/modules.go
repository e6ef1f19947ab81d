package telemetry

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/wasmill/wasmill/wasm/engine"
)

// Verdicts of a module, in the order of moduleCell.verdicts.
const (
	verdictSeen = iota
	verdictKept
	verdictEmitted
	verdictRouted
	verdictDropped
	verdictRejected
	verdictFailed
	verdictCount
)

var verdictNames = [verdictCount]string{"seen", "kept", "emitted", "routed", "dropped", "rejected", "failed"}

// verdictCell counts records of one verdict.
type verdictCell struct {
	labels metric.MeasurementOption
	count  atomic.Int64
}

// moduleCell counts what one version of a module does.
type moduleCell struct {
	labels   metric.MeasurementOption
	duration []metric.RecordOption
	ok, bad  metric.MeasurementOption

	calls, failures, input atomic.Int64
	instances, memory      atomic.Int64
	verdicts               [verdictCount]verdictCell
	guest                  *cells[string, guestCell]
}

func newModuleCell(module string) *moduleCell {
	name := attribute.String("module", module)
	outcome := func(o string) metric.MeasurementOption { return labels(name, attribute.String("outcome", o)) }
	c := &moduleCell{labels: labels(name), ok: outcome("ok"), bad: outcome("failed")}
	c.duration = []metric.RecordOption{c.labels}
	for i := range c.verdicts {
		c.verdicts[i].labels = labels(name, attribute.String("verdict", verdictNames[i]))
	}
	c.guest = newCells(maxGuestMetrics, other, func(metric string) *guestCell {
		return &guestCell{labels: labels(name, attribute.String("name", metric))}
	})
	return c
}

// guestCell is a sum of the module's own.
type guestCell struct {
	labels metric.MeasurementOption
	sum    atomic.Int64
}

func (c *moduleCell) observe(i *instruments, o metric.Observer) {
	failures := c.failures.Load()
	o.ObserveInt64(i.moduleCalls, max(c.calls.Load()-failures, 0), c.ok)
	o.ObserveInt64(i.moduleCalls, failures, c.bad)
	o.ObserveInt64(i.moduleInput, c.input.Load(), c.labels)
	o.ObserveInt64(i.moduleInstances, c.instances.Load(), c.labels)
	o.ObserveInt64(i.moduleMemory, c.memory.Load(), c.labels)
	for v := range c.verdicts {
		o.ObserveInt64(i.moduleRecords, c.verdicts[v].count.Load(), c.verdicts[v].labels)
	}
	for g := range c.guest.each() {
		o.ObserveInt64(i.moduleMetrics, g.sum.Load(), g.labels)
	}
}

// Call implements engine.Observer.
func (t *Telemetry) Call(module string, took time.Duration, _, inputBytes int, err error) {
	c := t.modules.of(module)
	if err != nil {
		c.failures.Add(1)
	}
	c.calls.Add(1)
	c.input.Add(int64(inputBytes))
	t.instruments.moduleDuration.Record(context.Background(), took.Seconds(), c.duration...)
}

// Outcome implements engine.Observer.
func (t *Telemetry) Outcome(module string, o engine.Outcome) {
	c := t.modules.of(module)
	for v, n := range [verdictCount]int{
		verdictSeen: o.In, verdictKept: o.Kept, verdictEmitted: o.Emitted, verdictRouted: o.Routed,
		verdictDropped: o.Dropped, verdictRejected: o.Rejected, verdictFailed: o.Failed,
	} {
		if n != 0 {
			c.verdicts[v].count.Add(int64(n))
		}
	}
}

// Instances implements engine.Observer.
func (t *Telemetry) Instances(module string, delta int) {
	t.modules.of(module).instances.Add(int64(delta))
}

// Memory implements engine.Observer.
func (t *Telemetry) Memory(module string, delta int64) { t.modules.of(module).memory.Add(delta) }

// GuestMetric implements engine.Observer.
func (t *Telemetry) GuestMetric(module, name string, delta int64) {
	t.modules.of(module).guest.of(name).sum.Add(delta)
}
