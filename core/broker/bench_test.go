package broker_test

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/record/recordtest"
)

// BenchmarkProduce counts what one produced batch of 64 records of 1 KiB costs from the broker's door
// to the acknowledgement, Raft and the file system included. benchmarks/RESULTS.md explains the
// allocations.
func BenchmarkProduce(b *testing.B) {
	for _, c := range []struct {
		name  string
		guest string
	}{{"plain", ""}, {"filter", "../../sdk/c/examples/filter/filter.wasm"}} {
		b.Run(c.name, func(b *testing.B) { benchmarkProduce(b, c.guest) })
	}
}

func benchmarkProduce(b *testing.B, guest string) {
	br := open(b, b.TempDir())
	_, err := br.CreateTopic(b.Context(), api.TopicSpec{Name: "load", Config: map[string]string{
		"flush": "relaxed", "retention.bytes": "67108864", "segment.bytes": "16777216",
	}})
	if err != nil {
		b.Fatal(err)
	}
	if guest != "" {
		usePipeline(b, br, guest)
	}
	sent := recordtest.Batch(b, slices.Repeat([]string{strings.Repeat("x", 1000) + `"level":"error"`}, 64)...)
	body := bytes.Clone(sent)
	b.SetBytes(int64(len(sent)))
	b.ReportAllocs()
	for b.Loop() {
		copy(body, sent) // the broker patched offsets into the last one
		if _, err := br.ProduceBatches(b.Context(), "load", 0, body); err != nil {
			b.Fatal(err)
		}
	}
}

func usePipeline(b *testing.B, br *broker.Broker, guest string) {
	b.Helper()
	wasm, err := os.ReadFile(guest)
	if err != nil {
		b.Fatal(err)
	}
	if _, _, err := br.PutModule(b.Context(), "filter", wasm); err != nil {
		b.Fatal(err)
	}
	_, _, err = br.SetPipeline(b.Context(), "load", api.PipelineSpec{Stages: []api.Stage{
		{Module: "filter", Config: json.RawMessage(`{"contains": "\"level\":\"error\""}`)},
	}}, nil)
	if err != nil {
		b.Fatal(err)
	}
}
