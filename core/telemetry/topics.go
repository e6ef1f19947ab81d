package telemetry

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
)

// Operations that errors are counted under; see requests.go for the third one.
const (
	operationProduce = "produce"
	operationFetch   = "fetch"
)

// phaseSync is observed by the logs; the broker names the other phases.
const phaseSync = "sync"

// topicCell counts what happens to one topic or view.
type topicCell struct {
	labels   metric.MeasurementOption
	dropped  metric.MeasurementOption
	rejected metric.MeasurementOption
	routed   metric.MeasurementOption

	isTopic atomic.Bool // and no view: the cell goes when the partitions go

	producedBytes, producedBatches, producedRecords  atomic.Int64
	written, drops, rejections, routings, duplicates atomic.Int64
	fetchedBytes, fetchedBatches, fetchedRecords     atomic.Int64
}

func newTopicCell(topic string) *topicCell {
	name := attribute.String("topic", topic)
	fate := func(f string) metric.MeasurementOption { return labels(name, attribute.String("fate", f)) }
	return &topicCell{labels: labels(name), dropped: fate("dropped"), rejected: fate("rejected"), routed: fate("routed")}
}

func (c *topicCell) observe(i *instruments, o metric.Observer) {
	o.ObserveInt64(i.fetchedBytes, c.fetchedBytes.Load(), c.labels)
	o.ObserveInt64(i.fetchedBatches, c.fetchedBatches.Load(), c.labels)
	o.ObserveInt64(i.fetchedRecords, c.fetchedRecords.Load(), c.labels)
	if !c.isTopic.Load() {
		return // nothing can be produced to a view
	}
	o.ObserveInt64(i.producedBytes, c.producedBytes.Load(), c.labels)
	o.ObserveInt64(i.producedBatches, c.producedBatches.Load(), c.labels)
	o.ObserveInt64(i.producedRecords, c.producedRecords.Load(), c.labels)
	o.ObserveInt64(i.writtenRecords, c.written.Load(), c.labels)
	o.ObserveInt64(i.divertedRecords, c.drops.Load(), c.dropped)
	o.ObserveInt64(i.divertedRecords, c.rejections.Load(), c.rejected)
	o.ObserveInt64(i.divertedRecords, c.routings.Load(), c.routed)
	o.ObserveInt64(i.duplicates, c.duplicates.Load(), c.labels)
}

// topic is the cell of a topic that is written to.
func (t *Telemetry) topic(name string) *topicCell {
	c := t.topics.of(name)
	if !c.isTopic.Load() {
		c.isTopic.Store(true)
	}
	return c
}

// Received implements broker.Observer.
func (t *Telemetry) Received(topic string, batches, records, bytes int) {
	c := t.topic(topic)
	c.producedBatches.Add(int64(batches))
	c.producedRecords.Add(int64(records))
	c.producedBytes.Add(int64(bytes))
}

// Produced implements broker.Observer.
func (t *Telemetry) Produced(topic string, r *broker.ProduceResult) {
	c := t.topic(topic)
	for i := range r.Partitions {
		p := &r.Partitions[i]
		switch {
		case p.Error != nil:
			t.failed(operationProduce, p.Error.Code)
		case p.Duplicate:
			c.duplicates.Add(1)
		default:
			c.written.Add(int64(p.Count))
		}
	}
	c.drops.Add(int64(len(r.Dropped)))
	c.rejections.Add(int64(len(r.Rejected)))
	c.routings.Add(int64(len(r.Routed)))
}

// Fetched implements broker.Observer.
func (t *Telemetry) Fetched(r *broker.FetchResponse) {
	for i := range r.Partitions {
		p := &r.Partitions[i]
		if p.Err != nil {
			// The name may be one that a client made up: it gets no cell.
			t.failed(operationFetch, p.Err.Code)
			continue
		}
		if len(p.Batches) == 0 {
			continue
		}
		batches, records := tally(p.Batches)
		c := t.topics.of(p.Topic)
		c.fetchedBytes.Add(int64(len(p.Batches)))
		c.fetchedBatches.Add(batches)
		c.fetchedRecords.Add(records)
	}
}

// tally counts batches and records by the batches' headers alone.
func tally(buf []byte) (batches, records int64) {
	for len(buf) > 0 {
		b, rest, err := record.Split(buf)
		if err != nil {
			return batches, records
		}
		batches++
		records += int64(b.Count())
		buf = rest
	}
	return batches, records
}

// phaseCell is one phase's place in the histogram of phases.
type phaseCell struct{ labels []metric.RecordOption }

func newPhaseCell(phase string) *phaseCell {
	return &phaseCell{[]metric.RecordOption{labels(attribute.String("phase", phase))}}
}

// Phase implements broker.Observer.
func (t *Telemetry) Phase(phase string, took time.Duration) {
	t.instruments.phaseDuration.Record(context.Background(), took.Seconds(), t.phases.of(phase).labels...)
}

// failureKey is what errors are counted by.
type failureKey struct {
	operation string // http, produce, fetch
	code      errcode.Code
}

type failureCell struct {
	labels metric.MeasurementOption
	count  atomic.Int64
}

func newFailureCell(k failureKey) *failureCell {
	code := k.code.String()
	if k.operation == other {
		code = other
	}
	return &failureCell{labels: labels(attribute.String("operation", k.operation), attribute.String("code", code))}
}

func (t *Telemetry) failed(operation string, code errcode.Code) {
	t.failures.of(failureKey{operation, code}).count.Add(1)
}
