package broker_test

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/api"
	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/record/recordtest"
	"github.com/wasmill/wasmill/wasm/wasmtest"
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

// BenchmarkFetch counts what one fetched batch of 64 records of 1 KiB costs, as it lies in the log and through
// a view.
func BenchmarkFetch(b *testing.B) {
	for _, name := range []string{"load", "seen"} {
		b.Run(name, func(b *testing.B) {
			br := open(b, b.TempDir())
			createTopic(b, br, "load", 1)
			stage := push(b, br, "identity", wasmtest.Identity())
			if _, _, err := br.PutView(b.Context(), "seen", api.ViewSpec{Topic: "load", Stages: []api.Stage{stage}}, nil); err != nil {
				b.Fatal(err)
			}
			produce(b, br, "load", 0, slices.Repeat([]string{strings.Repeat("x", 1000)}, 64)...)
			b.ReportAllocs()
			for b.Loop() {
				resp, err := br.Fetch(b.Context(), fetchOf(name, 0, 0))
				if err != nil || len(resp.Partitions[0].Batches) < 64000 {
					b.Fatal(resp.Partitions[0].Err, err)
				}
				resp.Release()
			}
		})
	}
}

// BenchmarkDerive counts what a batch of 64 records of 1 KiB costs from the producer to a derivation's output.
func BenchmarkDerive(b *testing.B) {
	br := open(b, b.TempDir())
	for _, name := range []string{"load", "derived"} {
		_, err := br.CreateTopic(b.Context(), api.TopicSpec{Name: name, Config: map[string]string{
			"flush": "relaxed", "retention.bytes": "67108864", "segment.bytes": "16777216",
		}})
		if err != nil {
			b.Fatal(err)
		}
	}
	stage := push(b, br, "identity", wasmtest.Identity())
	spec := api.DerivationSpec{Topic: "load", Output: "derived", Stages: []api.Stage{stage}}
	if _, _, err := br.PutDerivation(b.Context(), "d", spec, nil); err != nil {
		b.Fatal(err)
	}
	sent := recordtest.Batch(b, slices.Repeat([]string{strings.Repeat("x", 1000)}, 64)...)
	body := bytes.Clone(sent)
	b.ReportAllocs()
	next := int64(0)
	for b.Loop() {
		copy(body, sent)
		if _, err := br.ProduceBatches(b.Context(), "load", 0, body); err != nil {
			b.Fatal(err)
		}
		req := fetchOf("derived", 0, next)
		req.Wait = time.Minute
		resp, err := br.Fetch(b.Context(), req)
		if err != nil || resp.Partitions[0].Err != nil {
			b.Fatal(err)
		}
		next = resp.Partitions[0].NextOffset
		resp.Release()
	}
}
