package conformance

import (
	"strings"
	"testing"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/wasm/pipeline"
)

// Project runs the transform that the templates of new projects hold, which is the same in
// every language: it rejects records without a value, routes by a prefix of the key, and
// keeps the rest.
func Project(t *testing.T, wasm []byte) {
	t.Helper()
	got := Run(t, wasm, `{"prefix":"eu-","topic":"orders-eu"}`,
		record.Record{Key: []byte("eu-1"), Value: []byte("a")},
		record.Record{Key: []byte("us-1"), Value: []byte("b")},
		record.Record{Key: []byte("eu-2"), Value: []byte{}},
		record.Record{Value: []byte("c")},
	)
	want := []pipeline.Kind{pipeline.Routed, pipeline.Kept, pipeline.Rejected, pipeline.Kept}
	for i, v := range got.Verdicts {
		if v.Kind != want[i] {
			t.Errorf("record %d is %v, want %v", i, v.Kind, want[i])
		}
	}
	if v := got.Verdicts[2]; v.Code != 1 || v.Message != "the record has no value" {
		t.Errorf("rejected with %d %q", v.Code, v.Message)
	}
	if len(got.Routed) != 1 || got.Routed[0].Topic != "orders-eu" || string(got.Routed[0].Value) != "a" {
		t.Errorf("routed %+v", got.Routed)
	}
	if kept := Run(t, wasm, `{}`, record.Record{Key: []byte("eu-1"), Value: []byte("a")}); !kept.Unchanged() {
		t.Errorf("without a configuration: %+v", kept.Verdicts)
	}
	if _, err := Load(t, wasm, `{"prefix":"eu-"}`); err == nil || !strings.Contains(err.Error(), `needs a "topic"`) {
		t.Errorf("a prefix without a topic: %v", err)
	}
}
