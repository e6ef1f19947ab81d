package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wasmill/wasmill/core/errcode"
	"github.com/wasmill/wasmill/core/record"
	client "github.com/wasmill/wasmill/sdk/client/go"
	"github.com/wasmill/wasmill/tests/harness"
)

// SIGTERM while producers are at work: every request that the broker took is answered, what was
// acknowledged is there after a restart, and nothing else but what may have been.
func TestShutdownAnswersWhatItAccepted(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	w := newWitness(t, b)
	topic(t, b.Client(t), "orders", 4)
	const producers = 16
	var acked, refused, unheard atomic.Int64
	var all sync.Map // value -> acknowledged
	ready := make(chan struct{}, producers)
	var group sync.WaitGroup
	for p := range producers {
		c := b.ClientWith(t, client.Options{Retries: -1})
		group.Go(func() {
			for i := 0; ; i++ {
				value := fmt.Sprintf("producer %d record %d", p, i)
				_, err := c.ProduceBatches(deadline(t), "orders", int32(p%4), batch(t, record.BuilderOptions{}, value))
				var conn *client.ConnError
				switch {
				case err == nil:
					all.Store(value, true)
					acked.Add(1)
				case client.IsCode(err, errcode.ShuttingDown):
					refused.Add(1)
					return
				case errors.As(err, &conn):
					// It listens no more, or closed the idle connection at the moment that the request set
					// out. Then the request was not taken: its record must not be there.
					unheard.Add(1)
					return
				default:
					t.Errorf("producer %d: %v", p, err)
					return
				}
				if i == 5 {
					ready <- struct{}{}
				}
			}
		})
	}
	for range producers {
		<-ready
	}
	b.Signal(t, syscall.SIGTERM)
	group.Wait()
	b.Wait(t)
	if code := b.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	t.Logf("%d acknowledged, %d told to come back, %d not heard", acked.Load(), refused.Load(), unheard.Load())
	again := b.Restart(t)
	seen := map[string]int{}
	for _, v := range everywhere(t, again.Client(t), "orders") {
		seen[v]++
	}
	for v := range seen {
		if _, ok := all.Load(v); !ok {
			t.Errorf("%q is there although its producer got no such answer", v)
		}
	}
	all.Range(func(v, _ any) bool {
		if seen[v.(string)] != 1 {
			t.Errorf("%q was acknowledged and is there %d times", v, seen[v.(string)])
		}
		return true
	})
	w.check(t, again)
}

// Requests that wait at the end of a log are answered at once when the broker stops; so are streams.
func TestShutdownEndsWaitingReaders(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	topic(t, b.Client(t), "orders", 1)
	const readers = 8
	var group sync.WaitGroup
	stream := follow(t, b, "/v1/topics/orders/partitions/0/records?follow=true&offset=0", typeNDJSON)
	produce(t, b.Client(t), "orders", 0, "one")
	if line := stream.line(t); !strings.Contains(line, `"one"`) {
		t.Errorf("the stream said %q", line)
	}
	for range readers {
		c := b.ClientWith(t, client.Options{Retries: -1})
		group.Go(func() {
			res, err := c.FetchPartition(deadline(t), client.PartitionFetch{Topic: "orders", Offset: "1", Wait: 50 * time.Second})
			var conn *client.ConnError
			switch {
			case err == nil:
				if n := len(res.Partitions[0].Batches); n != 0 {
					t.Errorf("%d bytes of nothing", n)
				}
				res.Release()
			case client.IsCode(err, errcode.ShuttingDown), errors.As(err, &conn): // it came too late
			default:
				t.Errorf("a long poll ended with %v", err)
			}
		})
	}
	// Another poll that is answered says that those before it have long been sent.
	res := must(b.Client(t).FetchPartition(deadline(t), client.PartitionFetch{Topic: "orders", Offset: "1", Wait: 300 * time.Millisecond}))(t)
	res.Release()
	begun := time.Now()
	b.Stop(t)
	group.Wait()
	stream.end(t)
	if d := time.Since(begun); d > 20*time.Second {
		t.Errorf("the broker waited %v for readers", d)
	}
}

// A second signal ends the process at once, and loses nothing that was acknowledged.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	w := newWitness(t, b)
	b.Signal(t, syscall.SIGTERM)
	b.Signal(t, syscall.SIGTERM)
	b.Wait(t)
	w.check(t, b.Restart(t))
}

// A producer of the SDK survives a restart on the same address: it tries again, and each record is there
// once and in order.
func TestSDKProducerRidesOutARestart(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	topic(t, b.Client(t), "orders", 2)
	ctx := deadline(t)
	p := must(client.NewProducer(ctx, b.ClientWith(t, client.Options{Retries: 50, MaxBackoff: 100 * time.Millisecond}), client.ProducerOptions{Topic: "orders"}))(t)
	const n = 4000
	var delivered atomic.Int64
	half := make(chan struct{})
	var sender sync.WaitGroup
	sender.Go(func() {
		for i := range n {
			err := p.Send(ctx, record.Record{Key: fmt.Appendf(nil, "%d", i%10), Value: fmt.Appendf(nil, "%06d", i)}, func(r client.Report) {
				if r.Outcome != client.Kept {
					t.Errorf("record: %+v", r)
				}
				if delivered.Add(1) == n/10 {
					close(half)
				}
			})
			if err != nil {
				t.Errorf("send: %v", err)
				return
			}
			if i == n/2 {
				<-half // let the restart come between
			}
		}
	})
	<-half
	b.Kill(t)
	again := harness.Start(t, harness.Options{Data: b.Data, HTTP: strings.TrimPrefix(b.URL, "http://")})
	sender.Wait()
	if err := errors.Join(p.Flush(ctx), p.Close(context.WithoutCancel(ctx))); err != nil {
		t.Fatal(err)
	}
	last, count := map[string]string{}, 0
	for partition := range int32(2) {
		for _, r := range rows(t, again.Client(t), "orders", partition) {
			if r.Value <= last[r.Key] {
				t.Errorf("key %s: %s after %s", r.Key, r.Value, last[r.Key])
			}
			last[r.Key] = r.Value
			count++
		}
	}
	if count != n || delivered.Load() != n {
		t.Errorf("%d records are there and %d were reported instead of %d", count, delivered.Load(), n)
	}
}
