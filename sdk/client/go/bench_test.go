package client

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/wasmill/wasmill/core/record"
	"github.com/wasmill/wasmill/core/record/recordtest"
)

// sink is a server that answers every request with the same bytes: what is measured is the client.
func sink(b *testing.B, answer string) *Client {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	full := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				var req fasthttp.Request
				r := bufio.NewReaderSize(c, 64<<10)
				for req.Read(r) == nil {
					if _, err := c.Write(full); err != nil {
						return
					}
				}
			}()
		}
	}()
	c, err := New(Options{Server: ln.Addr().String()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = c.Close()
		_ = ln.Close()
	})
	return c
}

const produced = `{"topic":"t","partitions":[{"partition":0,"base_offset":12345,"count":63}]}`

func BenchmarkProduceBatches(b *testing.B) {
	c := sink(b, produced)
	batch := recordtest.Batch(b, slices.Repeat([]string{string(make([]byte, 1024))}, 64)...)
	b.SetBytes(int64(len(batch)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.ProduceBatches(b.Context(), "t", 0, batch); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkProducer is one record of 1 KiB, from Send to its report.
func BenchmarkProducer(b *testing.B) {
	c := sink(b, produced)
	p := &Producer{c: c, o: ProducerOptions{Topic: "t", NotIdempotent: true, Linger: time.Millisecond}.withDefaults()}
	p.open(4)
	value := make([]byte, 1024)
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Send(b.Context(), record.Record{Value: value, Timestamp: 1}, nil); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}
