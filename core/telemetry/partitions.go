package telemetry

import (
	"strconv"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/wasmill/wasmill/core/admission"
	"github.com/wasmill/wasmill/raftstore/log"
)

// PartitionStat is the state of one partition of this broker.
type PartitionStat struct {
	Topic          string
	Partition      int32
	LogStartOffset int64
	HighWatermark  int64 // exclusive
	SizeBytes      int64
	Failed         bool // takes no writes for good
}

// RegisterPartitions names the function that lists the broker's partitions. It is called whenever
// metrics are read, from several goroutines, until Shutdown has returned. A partition that it once
// listed must stay listed as long as its log is open: what was counted for one that is listed no more
// is forgotten, so that deleted topics leave the metrics. nil means that the list is not known now.
func (t *Telemetry) RegisterPartitions(list func() []PartitionStat) { t.partitionsNow.Store(&list) }

type partitionKey struct {
	topic     string
	partition int32 // -1: all
}

// partitionCell counts for one partition's log. It is that log's observer.
type partitionCell struct {
	telemetry *Telemetry
	labels    metric.MeasurementOption
	listed    atomic.Bool // it was among the broker's partitions

	bytes, entries, syncs atomic.Int64
}

func (t *Telemetry) newPartitionCell(k partitionKey) *partitionCell {
	number := other
	if k.partition >= 0 {
		number = strconv.Itoa(int(k.partition))
	}
	return &partitionCell{telemetry: t, labels: labels(attribute.String("topic", k.topic), attribute.String("partition", number))}
}

// Log implements broker.Observer. It is called when a partition is opened.
func (t *Telemetry) Log(topic string, partition int32) log.Observer {
	c := t.partitions.of(partitionKey{topic, partition})
	c.listed.Store(false) // a topic of this name may have gone: the cell stays until the new one is listed
	return c
}

// Appended implements log.Observer.
func (c *partitionCell) Appended(entries int, bytes int64) {
	c.entries.Add(int64(entries))
	c.bytes.Add(bytes)
}

// Synced implements log.Observer.
func (c *partitionCell) Synced(took time.Duration) {
	c.syncs.Add(1)
	c.telemetry.Phase(phaseSync, took)
}

// collectPartitions observes offsets and sizes as they are now, and what the logs counted.
func (t *Telemetry) collectPartitions(o metric.Observer) {
	i := &t.instruments
	if list := t.partitionsNow.Load(); list != nil {
		if stats := (*list)(); stats != nil {
			t.forgetDeleted(stats)
			for _, s := range stats {
				t.collectPartition(o, s)
			}
		}
	}
	for c := range t.partitions.each() {
		o.ObserveInt64(i.appendedBytes, c.bytes.Load(), c.labels)
		o.ObserveInt64(i.appendedEntries, c.entries.Load(), c.labels)
		o.ObserveInt64(i.syncs, c.syncs.Load(), c.labels)
	}
}

func (t *Telemetry) collectPartition(o metric.Observer, s PartitionStat) {
	i := &t.instruments
	c := t.partitions.of(partitionKey{s.Topic, s.Partition})
	if c == t.partitions.rest {
		return // offsets of different partitions cannot be shown as one
	}
	failed := int64(0)
	if s.Failed {
		failed = 1
	}
	o.ObserveInt64(i.logStart, s.LogStartOffset, c.labels)
	o.ObserveInt64(i.highWatermark, s.HighWatermark, c.labels)
	o.ObserveInt64(i.size, s.SizeBytes, c.labels)
	o.ObserveInt64(i.failed, failed, c.labels)
}

// forgetDeleted drops the cells of partitions and topics that were listed once and are no more.
func (t *Telemetry) forgetDeleted(stats []PartitionStat) {
	live := make(map[partitionKey]bool, len(stats))
	topics := map[string]bool{}
	for _, s := range stats {
		live[partitionKey{s.Topic, s.Partition}] = true
		topics[s.Topic] = true
	}
	t.partitions.forget(func(k partitionKey, c *partitionCell) bool {
		if live[k] {
			c.listed.Store(true)
			return false
		}
		return c.listed.Load()
	})
	t.topics.forget(func(name string, c *topicCell) bool {
		if topics[name] {
			c.isTopic.Store(true)
			return false
		}
		return c.isTopic.Load() // a view never is
	})
}

// RegisterMemory names the function that returns the state of the memory budgets. As RegisterPartitions',
// it is called until Shutdown has returned.
func (t *Telemetry) RegisterMemory(usage func() []admission.Usage) { t.memoryUsage.Store(&usage) }

func (t *Telemetry) collectRequests(o metric.Observer) {
	i := &t.instruments
	o.ObserveInt64(i.activeRequests, t.activeRequests.Load())
	for c := range t.requests.each() {
		o.ObserveInt64(i.requestBytes, c.received.Load(), c.labels)
		o.ObserveInt64(i.answerBytes, c.sent.Load(), c.labels)
	}
	if usage := t.memoryUsage.Load(); usage != nil {
		for _, u := range (*usage)() {
			budget := labels(attribute.String("budget", u.Budget))
			o.ObserveInt64(i.memoryInUse, u.InUse, budget)
			o.ObserveInt64(i.memoryLimit, u.Limit, budget)
		}
	}
}
