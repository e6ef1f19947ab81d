package telemetry

import (
	"context"
	"errors"
	"runtime"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Upper bounds of the histograms' buckets, in seconds: from what memory takes to what a slow disk and
// a long poll take.
var durationBuckets = []float64{
	0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
}

// Bounds of how many labels are counted each by itself. See docs/telemetry.md.
const (
	maxTopics       = 10_000
	maxPartitions   = 20_000
	maxModules      = 1_000
	maxGuestMetrics = 64 // names of one module
	maxPhases       = 32
	maxRequests     = 2_000
	maxFailures     = 500
)

type (
	counter = metric.Int64ObservableCounter
	gauge   = metric.Int64ObservableGauge
)

// instruments are what the meter has. Counters are read from cells; histograms get every value.
type instruments struct {
	buildInfo gauge
	uptime    metric.Float64ObservableGauge

	producedBytes, producedBatches, producedRecords counter
	writtenRecords, divertedRecords, duplicates     counter
	fetchedBytes, fetchedBatches, fetchedRecords    counter

	appendedBytes, appendedEntries, syncs counter
	logStart, highWatermark, size, failed gauge

	moduleCalls, moduleInput, moduleRecords      counter
	moduleInstances, moduleMemory, moduleMetrics gauge

	requestBytes, answerBytes, failures counter
	activeRequests                      gauge
	memoryInUse, memoryLimit            gauge

	phaseDuration, moduleDuration, requestDuration metric.Float64Histogram
}

// make declares every instrument and has collect called when a reader wants their values.
func (i *instruments) make(m metric.Meter, collect metric.Callback) error {
	var errs []error
	var all []metric.Observable
	count := func(into *counter, name, unit, help string) {
		c, err := m.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(help))
		*into, all, errs = c, append(all, c), append(errs, err)
	}
	show := func(into *gauge, name, unit, help string) {
		g, err := m.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(help))
		*into, all, errs = g, append(all, g), append(errs, err)
	}
	time := func(into *metric.Float64Histogram, name, help string) {
		h, err := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(help),
			metric.WithExplicitBucketBoundaries(durationBuckets...))
		*into, errs = h, append(errs, err)
	}

	show(&i.buildInfo, "wasmill.build.info", "", "Always 1; the labels say which build runs.")
	uptime, err := m.Float64ObservableGauge("wasmill.uptime", metric.WithUnit("s"), metric.WithDescription("Time since the broker started."))
	i.uptime, all, errs = uptime, append(all, uptime), append(errs, err)

	count(&i.producedBytes, "wasmill.topic.produced", "By", "Record batches that produce requests brought, before any transform.")
	count(&i.producedBatches, "wasmill.topic.produced.batches", "{batch}", "Record batches that produce requests brought.")
	count(&i.producedRecords, "wasmill.topic.produced.records", "{record}", "Records that produce requests brought, before any transform.")
	count(&i.writtenRecords, "wasmill.topic.written.records", "{record}", "Records of produce requests that were written to the topic, after its write pipeline.")
	count(&i.divertedRecords, "wasmill.topic.diverted.records", "{record}", "Records of produce requests that the write pipeline dropped, rejected or routed to another topic.")
	count(&i.duplicates, "wasmill.topic.duplicates", "{repetition}", "Repetitions by idempotent producers, which were acknowledged and not written again.")
	count(&i.fetchedBytes, "wasmill.topic.fetched", "By", "Record batches in answers to fetches.")
	count(&i.fetchedBatches, "wasmill.topic.fetched.batches", "{batch}", "Record batches in answers to fetches.")
	count(&i.fetchedRecords, "wasmill.topic.fetched.records", "{record}", "Records in answers to fetches.")

	count(&i.appendedBytes, "wasmill.log.appended", "By", "Bytes that were written to the partition's log, its own framing included.")
	count(&i.appendedEntries, "wasmill.log.appended.entries", "{entry}", "Raft entries that were written to the partition's log.")
	count(&i.syncs, "wasmill.log.syncs", "{sync}", "Times that the partition's log was synced to disk.")
	show(&i.logStart, "wasmill.partition.log_start_offset", "", "First offset that can be read.")
	show(&i.highWatermark, "wasmill.partition.high_watermark", "", "Offset after the last committed record.")
	show(&i.size, "wasmill.partition.size", "By", "What the partition's records take on disk.")
	show(&i.failed, "wasmill.partition.failed", "", "1 when the partition takes no writes because its storage failed.")

	count(&i.moduleCalls, "wasmill.module.calls", "{call}", "Calls of a module, each with one batch.")
	count(&i.moduleInput, "wasmill.module.input", "By", "Bytes that were copied into a module.")
	count(&i.moduleRecords, "wasmill.module.records", "{record}", "Records by what a module made of them.")
	show(&i.moduleInstances, "wasmill.module.instances", "{instance}", "Instances of a module that are running.")
	show(&i.moduleMemory, "wasmill.module.memory", "By", "Linear memory of a module's instances together.")
	show(&i.moduleMetrics, "wasmill.module.guest", "", "Sums that a module keeps of its own, by metric_add.")

	count(&i.requestBytes, "wasmill.http.received", "By", "Bodies of HTTP requests.")
	count(&i.answerBytes, "wasmill.http.sent", "By", "Bodies of HTTP answers.")
	count(&i.failures, "wasmill.errors", "{error}", "Errors by where they came up and their code.")
	show(&i.activeRequests, "wasmill.http.active_requests", "{request}", "HTTP requests under way, long polls and follows included.")
	show(&i.memoryInUse, "wasmill.memory.in_use", "By", "Memory that requests hold of a budget.")
	show(&i.memoryLimit, "wasmill.memory.limit", "By", "Most that requests may hold of a budget.")

	time(&i.phaseDuration, "wasmill.phase.duration", "Time by phase of a record's path.")
	time(&i.moduleDuration, "wasmill.module.call.duration", "Time of one call of a module with one batch.")
	time(&i.requestDuration, "wasmill.http.request.duration", "Time from an HTTP request's first byte to its answer's last one.")

	if err := errors.Join(errs...); err != nil {
		return err
	}
	_, err = m.RegisterCallback(collect, all...)
	return err
}

func buildInfo(o Options) metric.MeasurementOption {
	return labels(attribute.String("version", o.Version), attribute.String("go_version", runtime.Version()))
}

func (t *Telemetry) makeCells() {
	t.topics = newCells(maxTopics, other, newTopicCell)
	t.partitions = newCells(maxPartitions, partitionKey{other, -1}, t.newPartitionCell)
	t.modules = newCells(maxModules, other, newModuleCell)
	t.phases = newCells(maxPhases, other, newPhaseCell)
	t.requests = newCells(maxRequests, requestKey{method: other, route: other}, newRequestCell)
	t.failures = newCells(maxFailures, failureKey{operation: other}, newFailureCell)
}

// collect gives a reader the present values. Readers may call it at the same time.
func (t *Telemetry) collect(_ context.Context, o metric.Observer) error {
	i := &t.instruments
	o.ObserveInt64(i.buildInfo, 1, t.build)
	o.ObserveFloat64(i.uptime, time.Since(t.started).Seconds())
	t.collectPartitions(o)
	for c := range t.topics.each() {
		c.observe(i, o)
	}
	for c := range t.modules.each() {
		c.observe(i, o)
	}
	t.collectRequests(o)
	for c := range t.failures.each() {
		o.ObserveInt64(i.failures, c.count.Load(), c.labels)
	}
	return nil
}
