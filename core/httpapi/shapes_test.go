package httpapi

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
)

// TestHandWrittenAnswersFitTheShapes reads what is encoded by hand into the shapes of core/api, strictly,
// and writes it again from there: both must be the same JSON.
func TestHandWrittenAnswersFitTheShapes(t *testing.T) {
	failure := errcode.New(errcode.DiskFull, "full").With("free", 1)
	produced := &broker.ProduceResult{
		Topic: "orders",
		Partitions: []broker.ProducedPartition{
			{Partition: 1, BaseOffset: 2, Count: 3, Duplicate: true},
			{Partition: 2, BaseOffset: -1, Error: failure},
		},
		Dropped:  []int{4},
		Rejected: []broker.RejectedRecord{{Index: 5, Code: 6, Message: `"no"`, Module: "m@1"}},
		Routed:   []broker.RoutedRecord{{Index: 7, Topic: "other", Partition: 8, Offset: 9}},
	}
	fetched := &broker.FetchedPartition{Topic: "orders", Partition: 1, HighWatermark: 4, LogStartOffset: 2, NextOffset: 3}
	dryRun := &broker.DryRunResult{Module: "m@1", Elapsed: 5, Verdicts: []broker.DryRunVerdict{
		{Index: 0, Verdict: "rejected", Code: 42, Message: "no key"},
		{Index: 1, Verdict: "kept", Outputs: []broker.DryRunOutput{{
			Topic: "orders", Partition: -1, Record: record.Record{
				Timestamp: 7, Key: []byte("k"), Value: []byte{0xff},
				Headers: []record.RecordHeader{{Key: []byte("h"), Value: []byte("v")}},
			},
		}}},
	}}
	for _, c := range []struct {
		name  string
		text  []byte
		shape any
	}{
		{"produced", appendProduced(nil, produced), &api.ProduceResult{}},
		{"nothing produced", appendProduced(nil, &broker.ProduceResult{}), &api.ProduceResult{}},
		{"fetched", append(appendPartitionHead(nil, fetched), `,"length":0}`...), &api.FetchedHead{}},
		{"dry run", appendDryRun(nil, dryRun), &api.DryRunResult{}},
	} {
		dec := json.NewDecoder(bytes.NewReader(c.text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(c.shape); err != nil {
			t.Errorf("%s: %v in %s", c.name, err, c.text)
			continue
		}
		again, err := json.Marshal(c.shape)
		if err != nil || !reflect.DeepEqual(asValue(t, again), asValue(t, c.text)) {
			t.Errorf("%s: %v\nanswer %s\nshape  %s", c.name, err, c.text, again)
		}
	}
}

func asValue(t *testing.T, text []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
