package telemetry

import (
	"context"
	"log/slog"
	"testing"

	"go.opentelemetry.io/otel/codes"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/httpapi"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

var lateRequest = &httpapi.Request{Method: "GET", Route: "/v1/topics", Status: 200}

// openBroker starts a broker that telemetry observes, with a topic "orders" of two partitions.
func openBroker(t *testing.T, tel *Telemetry) *broker.Broker {
	t.Helper()
	b, err := broker.Open(t.Context(), broker.Options{
		DataDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler), Observer: tel, Tracer: tel.Tracer(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if _, err := b.CreateTopic(t.Context(), api.TopicSpec{Name: "orders", Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	return b
}

func produce(t *testing.T, b *broker.Broker, body []byte) {
	t.Helper()
	if _, err := b.ProduceBatches(t.Context(), "orders", 1, body); err != nil {
		t.Fatal(err)
	}
}

func fetch(t *testing.T, b *broker.Broker, topic string) {
	t.Helper()
	resp, err := b.Fetch(t.Context(), broker.FetchRequest{Partitions: []broker.FetchPartition{{Topic: topic, Partition: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Release()
}

// TestRealBrokerIsObserved holds the metrics against what a broker did.
func TestRealBrokerIsObserved(t *testing.T) {
	tel := start(t, Options{})
	b := openBroker(t, tel)
	body := batches(t, 2, 10)
	size := len(body)
	for range 3 {
		produce(t, b, body)
	}
	fetch(t, b, "orders")
	fetch(t, b, "missing")
	got := values(t, scrape(t, tel))
	wantValues(t, got, map[string]float64{
		"wasmill_topic_produced_bytes_total{topic=orders}":                      float64(3 * size),
		"wasmill_topic_produced_batches_total{topic=orders}":                    6,
		"wasmill_topic_produced_records_total{topic=orders}":                    60,
		"wasmill_topic_written_records_total{topic=orders}":                     60,
		"wasmill_topic_fetched_batches_total{topic=orders}":                     6,
		"wasmill_topic_fetched_records_total{topic=orders}":                     60,
		"wasmill_phase_duration_seconds_count{phase=produce}":                   3,
		"wasmill_phase_duration_seconds_count{phase=append}":                    3,
		"wasmill_phase_duration_seconds_count{phase=fetch}":                     2,
		"wasmill_phase_duration_seconds_count{phase=read}":                      2,
		"wasmill_errors_total{code=UNKNOWN_TOPIC_OR_PARTITION,operation=fetch}": 1,
	})
	if got["wasmill_log_appended_bytes_total{partition=1,topic=orders}"] <= got["wasmill_log_appended_bytes_total{partition=0,topic=orders}"] {
		t.Errorf("the partition that was written to has not the larger log: %v", got)
	}
	if got["wasmill_log_syncs_total{partition=1,topic=orders}"] < 3 {
		t.Error("not every acknowledgement was synced")
	}
}

// TestSpansOfRecords follows records through a write pipeline into the log and out again.
func TestSpansOfRecords(t *testing.T) {
	tel, exporter := tracing(t, 100)
	b := openBroker(t, tel)
	if _, _, err := b.PutModule(t.Context(), "keep", wasmtest.Identity()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.SetPipeline(t.Context(), "orders", api.PipelineSpec{Stages: []api.Stage{{Module: "keep@1"}}}, nil); err != nil {
		t.Fatal(err)
	}
	ctx, root := tel.Tracer().Start(t.Context(), "root")
	if _, err := b.ProduceBatches(ctx, "orders", 1, batches(t, 1, 3)); err != nil {
		t.Fatal(err)
	}
	resp, err := b.Fetch(ctx, broker.FetchRequest{Partitions: []broker.FetchPartition{{Topic: "orders", Partition: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Release()
	root.End()

	spans := recorded(t, tel, exporter)
	for name, parent := range map[string]string{
		"produce": "root", "pipeline": "produce", "append": "produce", "fetch": "root", "read": "fetch",
	} {
		s, ok := spans[name]
		switch {
		case !ok:
			t.Errorf("there is no span %s", name)
		case s.Parent.SpanID() != spans[parent].SpanContext.SpanID():
			t.Errorf("span %s is no child of %s", name, parent)
		case s.Status.Code != codes.Unset:
			t.Errorf("span %s has status %v", name, s.Status)
		}
	}
	if spans["append"].StartTime.Before(spans["pipeline"].EndTime) {
		t.Error("records were appended before the pipeline was through")
	}
	wantValues(t, values(t, scrape(t, tel)), map[string]float64{
		"wasmill_module_calls_total{module=keep@1,outcome=ok}":     1,
		"wasmill_module_records_total{module=keep@1,verdict=kept}": 3,
		"wasmill_module_instances{module=keep@1}":                  1,
		"wasmill_phase_duration_seconds_count{phase=pipeline}":     1,
	})
}
