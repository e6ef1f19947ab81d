package telemetry

import (
	"context"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/httpapi"
	"github.com/wasmill/wasmill/wasm/engine"
)

// The observations of requests must cost next to nothing beside the requests, and allocate nothing.
func BenchmarkObserve(b *testing.B) {
	t := start(b, Options{})
	result := &broker.ProduceResult{Topic: "orders", Partitions: []broker.ProducedPartition{{Count: 64}}}
	fetched := broker.NewFetchResponse([]broker.FetchedPartition{{Topic: "orders", Batches: batches(b, 4, 16)}}, nil)
	request := &httpapi.Request{Method: "POST", Route: "/v1/topics/{topic}/records", Status: 200, Duration: time.Millisecond}
	log := t.Log("orders", 0)
	ctx := context.Background()
	for _, c := range []struct {
		name string
		do   func()
	}{
		{"Produced", func() { t.Received("orders", 1, 64, 65536); t.Produced("orders", result) }},
		{"Fetched", func() { t.Fetched(fetched) }},
		{"Phase", func() { t.Phase("append", time.Millisecond) }},
		{"Appended", func() { log.Appended(1, 65536) }},
		{"Synced", func() { log.Synced(time.Millisecond) }},
		{"Call", func() { t.Call("redact@1", time.Millisecond, 64, 65536, nil) }},
		{"Outcome", func() { t.Outcome("redact@1", engine.Outcome{In: 64, Kept: 60, Dropped: 4}) }},
		{"GuestMetric", func() { t.GuestMetric("redact@1", "redacted", 3) }},
		{"Request", func() { t.RequestFinished(t.RequestStarted(ctx, request), request) }},
		{"SilentSpan", func() { _, span := t.Tracer().Start(ctx, "append"); span.End() }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.do()
			}
		})
		b.Run(c.name+"Parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					c.do()
				}
			})
		})
	}
}

// A scrape of a broker with a thousand partitions.
func BenchmarkScrape(b *testing.B) {
	t := start(b, Options{})
	stats := make([]PartitionStat, 1000)
	for i := range stats {
		stats[i] = PartitionStat{Topic: "orders", Partition: int32(i), HighWatermark: 1 << 40, SizeBytes: 1 << 30}
		t.Log("orders", int32(i)).Appended(1, 1)
	}
	t.RegisterPartitions(func() []PartitionStat { return stats })
	b.ReportAllocs()
	size := 0
	for b.Loop() {
		size = len(scrape(b, t))
	}
	b.ReportMetric(float64(size), "B/scrape")
}
