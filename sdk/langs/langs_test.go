//go:build langs

// Package langs_test runs the guests that sdk/test-langs.sh has built with the toolchains of
// other languages. GUESTS names the directory with one directory per language.
package langs_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/sdk/conformance"
	"github.com/wasmill/wasmill/wasm/pipeline"
)

// each runs a test for every language that has a guest of that name, and fails without any.
func each(t *testing.T, guest string, test func(t *testing.T, wasm []byte)) {
	files, err := filepath.Glob(filepath.Join(os.Getenv("GUESTS"), "*", guest+".wasm"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no guests in GUESTS=%q (%v): run sdk/test-langs.sh", os.Getenv("GUESTS"), err)
	}
	for _, file := range files {
		wasm, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) { test(t, wasm) })
	}
}

func kinds(r *pipeline.Result) []pipeline.Kind {
	var kinds []pipeline.Kind
	for _, v := range r.Verdicts {
		kinds = append(kinds, v.Kind)
	}
	return kinds
}

func TestVectors(t *testing.T) {
	each(t, "mirror", func(t *testing.T, wasm []byte) {
		conformance.Mirror(t, os.DirFS("../spec/vectors"), wasm)
	})
}

// TestProject runs what "wasmill plugin new" writes: the same transform in every language.
func TestProject(t *testing.T) {
	each(t, "project", func(t *testing.T, wasm []byte) {
		conformance.Project(t, wasm)
	})
}

func TestFilter(t *testing.T) {
	each(t, "filter", func(t *testing.T, wasm []byte) {
		got := conformance.Run(t, wasm, `{"prefix":"eu-"}`,
			record.Record{Key: []byte("eu-1")}, record.Record{Key: []byte("us-1")}, record.Record{Key: []byte("eu")}, record.Record{})
		want := []pipeline.Kind{pipeline.Kept, pipeline.Dropped, pipeline.Dropped, pipeline.Dropped}
		if !slices.Equal(kinds(got), want) {
			t.Errorf("verdicts %v, want %v", kinds(got), want)
		}
		if _, err := conformance.Load(t, wasm, `{}`); err == nil || !strings.Contains(err.Error(), `needs a "prefix"`) {
			t.Errorf("without its configuration: %v", err)
		}
	})
}

func TestTransform(t *testing.T) {
	each(t, "transform", func(t *testing.T, wasm []byte) {
		trace := []record.RecordHeader{{Key: []byte("trace"), Value: nil}}
		got := conformance.Run(t, wasm, `{}`,
			record.Record{Key: []byte("k"), Value: []byte("aé{z"), Headers: trace, Timestamp: 9},
			record.Record{Value: []byte("")})
		if len(got.Own) != 1 || got.Verdicts[1].Kind != pipeline.Rejected || got.Verdicts[1].Message != "the value is empty" {
			t.Fatalf("own %+v, verdicts %+v", got.Own, got.Verdicts)
		}
		r := got.Own[0]
		if string(r.Key) != "k" || string(r.Value) != "Aé{Z" || r.Timestamp != 9 {
			t.Errorf("key %q, value %q, timestamp %d", r.Key, r.Value, r.Timestamp)
		}
		if len(r.Headers) != 2 || string(r.Headers[0].Key) != "trace" || r.Headers[0].Value != nil || string(r.Headers[1].Value) != "5" {
			t.Errorf("headers %q", r.Headers)
		}
	})
}

func TestRouter(t *testing.T) {
	each(t, "router", func(t *testing.T, wasm []byte) {
		to := func(topic string) []record.RecordHeader {
			return []record.RecordHeader{{Key: []byte("topic"), Value: []byte(topic)}}
		}
		got := conformance.Run(t, wasm, `{}`,
			record.Record{Value: []byte("a"), Headers: to("other")}, record.Record{Value: []byte("b")})
		if len(got.Routed) != 1 || got.Routed[0].Topic != "other" || string(got.Routed[0].Value) != "a" || len(got.Own) != 1 {
			t.Errorf("routed %+v, own %+v", got.Routed, got.Own)
		}
	})
}

// TestManyBatches lets buffers grow and be reused.
func TestManyBatches(t *testing.T) {
	each(t, "transform", func(t *testing.T, wasm []byte) {
		g, err := conformance.Load(t, wasm, `{}`)
		if err != nil {
			t.Fatal(err)
		}
		value, upper := strings.Repeat("some text ", 100), strings.Repeat("SOME TEXT ", 100)
		for round := range 20 {
			records := make([]record.Record, 1+round*50)
			for i := range records {
				records[i].Value = []byte(value)
			}
			got := g.Run(records...)
			for _, r := range got.Own {
				if string(r.Value) != upper {
					t.Fatalf("round %d, record %d: %q", round, r.Source, r.Value)
				}
			}
			if len(got.Own) != len(records) {
				t.Fatalf("round %d: %d of %d records", round, len(got.Own), len(records))
			}
		}
	})
}
