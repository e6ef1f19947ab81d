package telemetry

import (
	"context"
	"log/slog"
	"testing"

	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/httpapi"
)

var lateRequest = &httpapi.Request{Method: "GET", Route: "/v1/topics", Status: 200}

// TestRealBrokerIsObserved holds the metrics against what a broker did.
func TestRealBrokerIsObserved(t *testing.T) {
	tel := start(t, Options{})
	b, err := broker.Open(t.Context(), broker.Options{DataDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler), Observer: tel})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if _, err := b.CreateTopic(t.Context(), broker.TopicSpec{Name: "orders", Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := b.ProduceBatches(t.Context(), "orders", 1, batches(t, 1, 10)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"orders", "missing"} {
		resp, err := b.Fetch(t.Context(), broker.FetchRequest{Partitions: []broker.FetchPartition{{Topic: name, Partition: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		resp.Release()
	}
	got := values(t, scrape(t, tel))
	wantValues(t, got, map[string]float64{
		"wasmill_topic_written_records_total{topic=orders}":                     30,
		"wasmill_topic_fetched_batches_total{topic=orders}":                     3,
		"wasmill_topic_fetched_records_total{topic=orders}":                     30,
		"wasmill_stage_duration_seconds_count{stage=produce}":                   3,
		"wasmill_stage_duration_seconds_count{stage=fetch}":                     2,
		"wasmill_errors_total{code=UNKNOWN_TOPIC_OR_PARTITION,operation=fetch}": 1,
	})
	if got["wasmill_log_appended_bytes_total{partition=1,topic=orders}"] <= got["wasmill_log_appended_bytes_total{partition=0,topic=orders}"] {
		t.Errorf("the partition that was written to has not the larger log: %v", got)
	}
	if got["wasmill_log_syncs_total{partition=1,topic=orders}"] < 3 {
		t.Error("not every acknowledgement was synced")
	}
}
