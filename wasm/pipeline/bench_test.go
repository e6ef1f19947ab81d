package pipeline

import (
	"context"
	"os"
	"testing"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/wasm/abi"
	"github.com/wasmill/wasmill/wasm/wasmtest"
)

// records makes n records with values of size bytes; every other one passes the filters.
func records(n, size int) []record.Record {
	list := make([]record.Record, n)
	for i := range list {
		value := make([]byte, size)
		value[size-1] = byte(i % 2)
		list[i] = record.Record{OffsetDelta: int32(i), Timestamp: 5, Key: []byte{byte(i)}, Value: value}
	}
	return list
}

func benchmarkRun(b *testing.B, n, size int, guests ...[]byte) {
	benchmarkStages(b, n, size, nil, guests...)
}

func benchmarkStages(b *testing.B, n, size int, config []byte, guests ...[]byte) {
	f := newFixture(b, nil)
	var stages []StageSpec
	for _, wasm := range guests {
		stages = append(stages, StageSpec{Module: "guest", Version: 1, Hash: f.shelf.put(wasm), Config: config})
	}
	p := f.compile(b, abi.PlaceWrite, stages...)
	in := Input{Topic: "t", BaseOffset: -1, Records: records(n, size)}
	out := &Result{}
	b.ReportAllocs()
	b.SetBytes(int64(n * size))
	for b.Loop() {
		if err := p.Run(context.Background(), in, out); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
}

func BenchmarkIdentity(b *testing.B) { benchmarkRun(b, 64, 1024, wasmtest.Commands(5000)) }

func BenchmarkFilterValue(b *testing.B) { benchmarkRun(b, 64, 1024, wasmtest.FilterValue()) }

func BenchmarkFilterKey(b *testing.B) { benchmarkRun(b, 64, 1024, wasmtest.FilterKey()) }

func BenchmarkFilterKeyOfLargeValues(b *testing.B) {
	benchmarkRun(b, 64, 64<<10, wasmtest.FilterKey())
}

// BenchmarkFilterInC runs the C SDK's example: it searches each value for a text, here one at the end of
// every other value.
func BenchmarkFilterInC(b *testing.B) {
	wasm, err := os.ReadFile("../../sdk/c/examples/filter/filter.wasm")
	if err != nil {
		b.Fatal(err)
	}
	benchmarkStages(b, 64, 1024, []byte(`{"contains":"\u0001"}`), wasm)
}

func BenchmarkThreeStages(b *testing.B) {
	benchmarkRun(b, 64, 1024, wasmtest.Identity(), wasmtest.FilterKey(), wasmtest.Commands(5000))
}

// The fast path, filters that leave the batch's bytes alone, allocates nothing once its buffers have grown.
func TestFilterAllocatesNothingInSteadyState(t *testing.T) {
	f := newFixture(t, nil)
	stage := StageSpec{Module: "filter", Version: 1, Hash: f.shelf.put(wasmtest.FilterKey())}
	p := f.compile(t, abi.PlaceWrite, stage, stage)
	in := Input{Topic: "t", BaseOffset: -1, Records: records(64, 1024)}
	out := &Result{}
	n := testing.AllocsPerRun(100, func() {
		if err := p.Run(context.Background(), in, out); err != nil {
			t.Fatal(err)
		}
	})
	if n > 0 {
		t.Errorf("%v allocations per batch", n)
	}
}
