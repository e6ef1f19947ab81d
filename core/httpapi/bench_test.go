package httpapi

import (
	"bytes"
	"context"
	"net"
	"slices"
	"testing"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"

	"github.com/wasmill/wasmill/core/broker"
	"github.com/wasmill/wasmill/core/httpapi/apitest"
	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
)

// still is a broker that does nothing: what is measured is the way to it and back.
type still struct {
	*apitest.Fake
	produced broker.ProduceResult
	fetched  []broker.FetchedPartition
}

func (s *still) ProduceBatches(context.Context, string, int32, []byte) (*broker.ProduceResult, error) {
	return &s.produced, nil
}

func (s *still) ProduceRecords(context.Context, string, []broker.InputRecord) (*broker.ProduceResult, error) {
	return &s.produced, nil
}

func (s *still) Fetch(context.Context, broker.FetchRequest) (*broker.FetchResponse, error) {
	return broker.NewFetchResponse(s.fetched, nil), nil
}

// benchBatch is a batch of 64 records of 1 KiB.
func benchBatch(b *testing.B) []byte {
	value := bytes.Repeat([]byte(`,{"some":"js"}  `), 64)
	value[0], value[len(value)-1] = '[', ']'
	one := record.Record{Timestamp: 1, Key: []byte("key"), Value: value}
	return recordtest.Build(b, record.BuilderOptions{}, slices.Repeat([]record.Record{one}, 64)...)
}

// connection runs requests over one in-memory connection.
func connection(b *testing.B, request *fasthttp.Request) func() {
	raw := benchBatch(b)
	s, err := New(Options{}, &still{
		Fake:     apitest.NewFake(),
		produced: broker.ProduceResult{Topic: "t", Partitions: []broker.ProducedPartition{{Partition: 3, BaseOffset: 123456, Count: 64}}},
		fetched:  []broker.FetchedPartition{{Topic: "t", Partition: 3, Batches: raw, HighWatermark: 64, NextOffset: 64}},
	})
	if err != nil {
		b.Fatal(err)
	}
	ln := fasthttputil.NewInmemoryListener()
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	client := &fasthttp.HostClient{Addr: "x", Dial: func(string) (net.Conn, error) { return ln.Dial() }, MaxConns: 1}
	b.Cleanup(func() {
		client.CloseIdleConnections()
		if err := s.Shutdown(context.Background()); err != nil {
			b.Error(err)
		}
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	var resp fasthttp.Response
	return func() {
		if err := client.Do(request, &resp); err != nil || resp.StatusCode() != fasthttp.StatusOK {
			b.Fatalf("status %d: %v", resp.StatusCode(), err)
		}
	}
}

// benchRequest is what a benchmark sends.
type benchRequest struct {
	method, path, contentType, accept string
	body                              []byte
}

func (r benchRequest) run(b *testing.B) {
	var req fasthttp.Request
	req.Header.SetMethod(r.method)
	req.SetRequestURI("http://x" + r.path)
	req.Header.SetContentType(r.contentType)
	req.Header.Set("Accept", r.accept)
	req.SetBodyRaw(r.body)
	do := connection(b, &req)
	do()
	b.ReportAllocs()
	b.SetBytes(64 << 10)
	for b.Loop() {
		do()
	}
}

func BenchmarkProduceBatches(b *testing.B) {
	benchRequest{"POST", "/v1/topics/t/records?partition=3", mediaBatches, mediaJSON, benchBatch(b)}.run(b)
}

func BenchmarkProduceNDJSON(b *testing.B) {
	line := append(append([]byte(`{"key":"key","value":`), bytes.Repeat([]byte("1"), 980)...), "}\n"...)
	benchRequest{"POST", "/v1/topics/t/records", mediaNDJSON, mediaJSON, bytes.Repeat(line, 64)}.run(b)
}

func BenchmarkFetchBatches(b *testing.B) {
	benchRequest{"GET", "/v1/topics/t/partitions/3/records?offset=0", "", mediaBatches, nil}.run(b)
}

func BenchmarkFetchMany(b *testing.B) {
	benchRequest{"POST", "/v1/fetch", mediaJSON, mediaFetch, []byte(`{"partitions":[{"topic":"t","partition":3,"offset":0}]}`)}.run(b)
}

func BenchmarkFetchNDJSON(b *testing.B) {
	benchRequest{"GET", "/v1/topics/t/partitions/3/records?offset=0", "", mediaNDJSON, nil}.run(b)
}
