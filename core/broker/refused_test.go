package broker

import (
	"fmt"
	"slices"
	"testing"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

// TestNothingIsRoutedOfARefusedBatch: of a batch whose sequence is refused nothing is written anywhere. If the
// destination had its records, it would take those of the missing batches before it for duplicates. Once they
// have come, each batch is there once, at the source and at the destination.
func TestNothingIsRoutedOfARefusedBatch(t *testing.T) {
	b := start(t, Options{})
	stages := pushCommands(t, b)
	makeTopic(t, b, "orders", 1)
	makeTopic(t, b, wasmtest.CommandTopic, 3)
	if _, _, err := b.SetPipeline(t.Context(), "orders", api.PipelineSpec{Stages: stages}, nil); err != nil {
		t.Fatal(err)
	}
	produce := func(sequence int32) error { // a record that is kept and routed
		t.Helper()
		batch := recordtest.Build(t, recordtest.Sequence(9, 0, sequence), recordtest.Values(fmt.Sprint("c", sequence))...)
		result, err := b.ProduceBatches(t.Context(), "orders", 0, batch)
		if err == nil && result.Partitions[0].Error != nil {
			err = result.Partitions[0].Error
		}
		return err
	}
	want := func(what string, values ...string) {
		t.Helper()
		for topicName, number := range map[string]int32{"orders": 0, wasmtest.CommandTopic: 2} {
			if got, err := fetchOne(t, b, topicName, number); err != nil || !slices.Equal(got, values) {
				t.Errorf("%s, %s holds %q, %v; want %q", what, topicName, got, err, values)
			}
		}
	}
	if err := produce(0); err != nil {
		t.Fatal(err)
	}
	e := wantCode(t, "sequence 5 after 0", produce(5), errcode.OutOfOrderSequence)
	if e.Fields["expected_sequence"] != int32(1) {
		t.Errorf("fields %v", e.Fields)
	}
	want("with 5 refused", "c0")
	for sequence := int32(1); sequence <= 5; sequence++ {
		if err := produce(sequence); err != nil {
			t.Fatalf("sequence %d: %v", sequence, err)
		}
	}
	want("with all", "c0", "c1", "c2", "c3", "c4", "c5")
}
